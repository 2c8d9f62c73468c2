import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDatabase } from '../support/postgres.js';
import { startReplica, type TestRegistry } from '../support/registry.js';
import type { StoreName } from '../support/stores.js';
import type { TestEnvironment } from '../support/test-environment.js';

/** Where nothing is yet: an empty database, an empty store. */
export interface EmptyMachine {
  /** The registry's own settings, but for where its data are. */
  settings: Record<string, string>;
  /** For commands. */
  environment: TestEnvironment;
  /** Starts the service on it, for as long as the work takes. */
  serving<Result>(work: (registry: TestRegistry) => Promise<Result>): Promise<Result>;
  remove(): Promise<void>;
}

/** @param replaced what is not empty, but as given */
export async function emptyMachineFor(
  registry: TestRegistry,
  store: StoreName,
  replaced: Record<string, string> = {},
): Promise<EmptyMachine> {
  const database = await createDatabase();
  const dataDir = await mkdtemp(join(tmpdir(), 'stowage-machine-'));
  const places = {
    DATABASE_URL: database.url,
    STOWAGE_DATA_DIR: dataDir,
    ...(store === 's3' && { STOWAGE_S3_BUCKET: `test-${randomUUID()}` }),
    ...replaced,
  };
  const settings = { ...registry.environment.settings, ...places };
  return {
    settings,
    environment: { ...registry.environment, dataDir: places.STOWAGE_DATA_DIR, settings },
    async serving(work) {
      const served = await startReplica(registry, places);
      try {
        return await work(served);
      } finally {
        await served.close();
      }
    },
    async remove() {
      await database.drop();
      await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
