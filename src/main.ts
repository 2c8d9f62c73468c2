import { createApplication } from './application.js';
import { ConfigError, loadConfig } from './config/config.js';
import { greet } from './greeting.js';

/** Starts the process in the role it is given: api, worker, or both. */
async function main(): Promise<void> {
  const config = loadConfig();
  const application = await createApplication(config);
  const stop = async (): Promise<void> => {
    await application.close();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      // A second signal means it: the default ends the process at once.
      stop().catch((error: unknown) => fail(error));
    });
  }
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
