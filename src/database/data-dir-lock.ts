import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Another living process works in the data folder. */
export class DataDirInUseError extends Error {
  constructor(dataDir: string) {
    super(
      `Another process is already serving the data folder ${dataDir}. Stop it, or set STOWAGE_DATA_DIR to another folder; several processes of one registry share a PostgreSQL by DATABASE_URL.`,
    );
    this.name = 'DataDirInUseError';
  }
}

export interface DataDirLock {
  /** Does nothing when repeated. */
  release(): void;
}

const RETRY_MS = 100;

/**
 * Makes this process the only one to run the embedded database of a data folder. The lock is the kernel's: it ends with the
 * process however that ends, so nothing stale is ever left. Node offers no `flock`; an exclusive SQLite transaction is one.
 *
 * @param patienceMs how long a predecessor may take to go away
 * @throws DataDirInUseError
 */
export async function lockDataDir(dataDir: string, patienceMs: number): Promise<DataDirLock> {
  const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
  const deadline = Date.now() + patienceMs;
  const path = join(dataDir, 'postgres.lock');
  closeSync(openSync(path, 'a', 0o600));
  const file = new DatabaseSync(path, { timeout: 0 });
  for (;;) {
    try {
      // In memory, since a journal file beside it would be one more thing to clean up.
      file.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
      return { release: () => void (file.isOpen && file.close()) };
    } catch (error) {
      const busy = (error as { errcode?: number }).errcode === SQLITE_BUSY;
      if (!busy || Date.now() >= deadline) {
        file.close();
        throw busy ? new DataDirInUseError(dataDir) : error;
      }
    }
    await sleep(RETRY_MS);
  }
}

const SQLITE_BUSY = 5;
