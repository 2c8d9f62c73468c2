import { type Application, createApplication } from './application.js';
import { ConfigError, loadConfig } from './config/config.js';
import { greet } from './greeting.js';

/** Starts the process in the role it is given: api, worker, or both. */
async function main(): Promise<void> {
  const config = loadConfig();
  let application: Application | undefined;
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

function fail(error: unknown): void {
  if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
  else
    process.stderr.write(
      `Stowage could not start or stop: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
  process.exit(1);
}

await main().catch(fail);
