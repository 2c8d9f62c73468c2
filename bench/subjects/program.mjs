import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const START_PATIENCE_MS = 60_000;
const STOP_PATIENCE_MS = 30_000;

/**
 * Starts a program and waits until it answers. What it writes goes to a file, as a container engine would have it.
 * @param {string[]} command
 * @param {{ env: Record<string, string>, log: string, ready: string, cwd?: string }} options `ready`: URL that answers 2xx once it is up
 */
export async function startProgram(command, { env, log, ready, cwd }) {
  const [program, ...args] = command;
  const file = openSync(log, 'a');
  const child = spawn(program, args, {
    cwd,
    stdio: ['ignore', file, file],
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  });
  closeSync(file);
  // A failed spawn shows as a child that has ended.
  child.on('error', () => undefined);
  const hasEnded = () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  const stop = async () => {
    if (hasEnded()) return;
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_PATIENCE_MS);
    await exit;
    clearTimeout(timer);
  };
  for (const deadline = Date.now() + START_PATIENCE_MS; ; await sleep(50)) {
    const answer = await fetch(ready).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok) return { pid: child.pid, stop };
    if (hasEnded() || Date.now() > deadline) {
      await stop();
      throw new Error(`${program} did not start:\n${readFileSync(log, 'utf8').slice(-4000)}`);
    }
  }
}

/** Free a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
