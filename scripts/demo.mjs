/**
 * `npm run demo`: pushes an image to the registry that runs, pulls it back through both doors and compares every byte.
 *
 * Speaks to AWS_ENDPOINT_URL_ECR or AWS_ENDPOINT_URL, else http://localhost:5160. The key is what the AWS environment gives
 * (AWS_ACCESS_KEY_ID, AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE), else the file `npm start` wrote into its data folder.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import { NODE, packagesAreStale, prepare, ROOT } from './setup.mjs';

const environment = { AWS_REGION: process.env.AWS_DEFAULT_REGION ?? 'us-east-1', ...process.env };
// A machine that has no key must say so at once, not look for one in a cloud.
environment.AWS_EC2_METADATA_DISABLED = 'true';
if (!environment.AWS_ENDPOINT_URL_ECR)
  environment.AWS_ENDPOINT_URL_ECR = environment.AWS_ENDPOINT_URL || 'http://localhost:5160';

const AWS_KEY = ['AWS_ACCESS_KEY_ID', 'AWS_SHARED_CREDENTIALS_FILE', 'AWS_PROFILE'];
if (!AWS_KEY.some((name) => environment[name])) {
  const file = join(resolve(ROOT, process.env.STOWAGE_DATA_DIR || 'data'), 'credentials');
  if (!existsSync(file)) {
    console.error(
      `There is no key: ${file} is not there yet, and none of ${AWS_KEY.join(', ')} is set.\n` +
        'Start the registry first, in another terminal: npm start',
    );
    process.exit(1);
  }
  environment.AWS_SHARED_CREDENTIALS_FILE = file;
}

try {
  // Only then: a build would replace what the running service was started from.
  if (packagesAreStale()) await prepare();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

const demo = spawn(NODE, [join(ROOT, 'scripts/demo/run.mjs')], { stdio: 'inherit', env: environment });
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => demo.kill(signal));
process.on('SIGINT', () => process.stdin.isTTY || demo.kill('SIGINT'));
demo.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
