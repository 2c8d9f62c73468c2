import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataDirInUseError } from './data-dir-lock.js';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from './embedded-postgres.js';
import { connectionUrl, DATABASE, withClient } from './postgres-connection.js';

/** A service that starts or ends at this moment holds the folder before its server answers, and after. */
const JOIN_PATIENCE_MS = 60_000;
const JOIN_RETRY_MS = 250;

/**
 * For work beside a running service: connects to the server another process runs in this folder, or starts it when nobody
 * does.
 *
 * @throws DataDirInUseError when another process holds the folder and its server does not answer
 */
export async function joinEmbeddedPostgres(
  dataDir: string,
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  for (const deadline = Date.now() + JOIN_PATIENCE_MS; ; await sleep(JOIN_RETRY_MS)) {
    try {
      return await startEmbeddedPostgres(dataDir, { ...options, lockPatienceMs: 0 });
    } catch (error) {
      if (!(error instanceof DataDirInUseError)) throw error;
      const url = await answeringUrl(join(fs.realpathSync(dataDir), 'postgres'));
      // Its life is the other process's business.
      if (url !== undefined) return { url, stop: () => Promise.resolve() };
      if (Date.now() > deadline) throw error;
    }
  }
}

/** @returns where the server that runs in this folder answers; undefined while it does not */
async function answeringUrl(home: string): Promise<string | undefined> {
  try {
    // PostgreSQL's own note of itself; its fifth line is the folder of the socket.
    const [, , , , socketFolder] = fs.readFileSync(join(home, 'data/postmaster.pid'), 'utf8').split('\n');
    if (!socketFolder) return undefined;
    const url = connectionUrl(home, socketFolder, DATABASE);
    await withClient(url, (client) => client.query('SELECT 1'));
    return url;
  } catch {
    return undefined;
  }
}
