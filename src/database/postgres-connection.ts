import * as fs from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { USER } from './postgres-data.js';

/** The registry's database in the embedded server. */
export const DATABASE = 'stowage';
/** After a crash the server replays its log first. Milliseconds. */
export const START_PATIENCE_MS = 120_000;

/** Over the unix socket in this folder. @param home holds the server's data and its password */
export function connectionUrl(home: string, socketFolder: string, database: string): string {
  const password = fs.readFileSync(join(home, 'password'), 'utf8');
  return `postgresql://${USER}:${password}@localhost/${database}?host=${encodeURIComponent(socketFolder)}`;
}

/** A connection of its own, for as long as the work takes. */
export async function withClient(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: START_PATIENCE_MS });
  client.on('error', () => undefined); // also reported by the query or the connect that fails
  try {
    await client.connect();
    await work(client);
  } finally {
    await client.end();
  }
}
