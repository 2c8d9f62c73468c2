/**
 * `npm start`: installs and builds what is missing or stale, then runs the service on the project's own Node. Signals go to
 * the service, its exit code comes back.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { NODE, NODE_FLAGS, prepare, ROOT } from './setup.mjs';

const WATCH_MS = 500;

try {
  await prepare();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

// The channel tells the service when this process dies without a word; nothing is ever sent over it.
const service = spawn(NODE, [...NODE_FLAGS, join(ROOT, 'dist/main.js')], {
  stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
});
service.on('error', (error) => {
  console.error(`The service could not be started: ${error.message}`);
  process.exit(1);
});
service.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));

for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => service.kill(signal));
// A terminal's Ctrl-C reaches the service as well as this process; handed down it would be the second one, which is a threat.
process.on('SIGINT', () => process.stdin.isTTY || service.kill('SIGINT'));

// A killed npm takes nobody along: notice that it is gone, rather than serve on as an orphan.
if (process.env.npm_lifecycle_event === 'start') {
  const npm = process.ppid;
  setInterval(() => process.ppid !== npm && service.kill('SIGTERM'), WATCH_MS).unref();
}
