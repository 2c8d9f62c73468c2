/** `npm run bench`: installs and builds what is missing, then measures (docs/operations/benchmarks.md). */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { NODE, prepare, ROOT, toolEnvironment } from './setup.mjs';

try {
  await prepare();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

const bench = spawn(NODE, [join(ROOT, 'bench/main.mjs'), ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: toolEnvironment,
});
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => bench.kill(signal));
process.on('SIGINT', () => process.stdin.isTTY || bench.kill('SIGINT'));
bench.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
