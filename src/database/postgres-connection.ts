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

/** What a server may be told to end by itself. Not every release has all of them. */
const LIMITS = [
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'transaction_timeout',
];

/** A connection of its own, for as long as the work takes. */
export async function withClient<Result>(
  url: string,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: START_PATIENCE_MS,
    keepAlive: true,
  });
  client.on('error', () => undefined); // also reported by the query or the connect that fails
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * One transaction that may take hours, on a connection of its own: no limit of time ends it, and plans are made for whole tables.
 * @param mode behind BEGIN
 */
export async function inLongTransaction<Result>(
  url: string,
  work: (client: pg.Client) => Promise<Result>,
  mode = '',
): Promise<Result> {
  return withClient(url, async (client) => {
    await client.query(`BEGIN ${mode}`);
    await client.query('SELECT set_config(name, $1, true) FROM pg_settings WHERE name = ANY($2)', [
      '0',
      LIMITS,
    ]);
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  });
}
