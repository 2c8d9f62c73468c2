import { setFlagsFromString } from 'node:v8';
import { type Application, createApplication } from './application.js';
import { ConfigError, loadConfig } from './config/config.js';
import { DataDirInUseError } from './database/data-dir-lock.js';
import { MigrationError } from './database/migrate.js';
import { EmbeddedPostgresError } from './database/postgres-binaries.js';
import { PoolerError } from './database/sessions.js';
import { greet } from './greeting.js';
import { RootKeyError } from './identity/keys/root-key-binding.js';
import { StoreBindingError } from './registry/layers/collection/store-binding.js';

/**
 * Every chunk of a layer is memory outside V8's heap, whose default limits answer streams of them with a full collection per
 * 15 MiB: a third of all processor time of a push. The heap may double instead; the small young generation the process is
 * started with (`--max-semi-space-size`) lets go of chunks long before that.
 */
setFlagsFromString('--heap-growing-percent=100');

/** Starts the process in the role it is given: api, worker, or both. */
async function main(): Promise<void> {
  const config = loadConfig();
  let application: Application | undefined = undefined;
  let stopping = false;
  const stop = (): void => {
    // npm, its script and the process group may each bring the same signal; ending is bounded in time as it is.
    if (stopping) return;
    stopping = true;
    if (application) application.close().then(() => process.exit(0), fail);
    else process.exit(0); // nothing is promised to anybody yet
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  // `npm start` holds a channel to this process, which closes when it is killed.
  process.once('disconnect', stop);
  application = await createApplication(config);
  await application.listen();
  greet(config);
}

/** Their messages say what to do; where they were thrown helps nobody. */
const EXPLAINED = [
  ConfigError,
  DataDirInUseError,
  EmbeddedPostgresError,
  MigrationError,
  PoolerError,
  RootKeyError,
  StoreBindingError,
];

function fail(error: unknown): void {
  const explained = EXPLAINED.find((kind) => error instanceof kind);
  const text =
    error instanceof Error ? (explained ? error.message : (error.stack ?? error.message)) : String(error);
  process.stderr.write(`Stowage could not start or stop: ${text}\n`);
  process.exit(1);
}

await main().catch(fail);
