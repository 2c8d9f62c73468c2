/**
 * `npm run <command> -- <arguments>`: runs dist/commands/<command>.js on the project's own Node, and installs and builds first
 * what is missing. What is merely newer than the build stays unbuilt, since a service may be running from it.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { NODE, packagesAreStale, prepare, ROOT } from './setup.mjs';

const [name, ...args] = process.argv.slice(2);
const program = join(ROOT, 'dist/commands', `${name}.js`);

try {
  if (!existsSync(program) || packagesAreStale()) await prepare();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

const command = spawn(NODE, ['--enable-source-maps', program, ...args], { stdio: 'inherit' });
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => command.kill(signal));
// A terminal's Ctrl-C reaches the command as well as this process; handed down it would be the second one, which is a threat.
process.on('SIGINT', () => process.stdin.isTTY || command.kill('SIGINT'));
command.on('error', (error) => {
  console.error(`The command could not be started: ${error.message}`);
  process.exit(1);
});
command.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
