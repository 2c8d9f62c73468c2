import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectTo, type RegistryClient } from './registry-client.js';
import { createEnvironment, type RegistryOptions, type TestEnvironment } from './test-environment.js';

export interface RegistryProcess extends RegistryClient {
  environment: TestEnvironment;
  /** Of the running service. */
  readonly pid: number;
  /** False once it ended, however that came. */
  readonly isRunning: boolean;
  /** Everything it wrote so far, over all its lives. */
  readonly output: string;
  /** @returns its exit code, or null when the signal ended it */
  kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null>;
  /** Starts it again on the same data, ports and keys. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

const MAIN = resolve('dist/main.js');
const NODE = resolve('node_modules/.bin/node');
const START_PATIENCE_MS = 30_000;

/**
 * The built service as a process (group) of its own, for tests that kill it.
 * @param within puts the command into another one that becomes it, such as one that first changes what the process sees
 */
export async function startRegistryProcess(
  options: RegistryOptions,
  within: (command: string[], environment: TestEnvironment) => string[] = (command) => command,
): Promise<RegistryProcess> {
  const environment = await createEnvironment(options);
  let output = '';
  let child: ChildProcess;

  const start = async (): Promise<void> => {
    const [program, ...parameters] = within([NODE, '--enable-source-maps', MAIN], environment);
    child = spawn(program!, parameters, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...environment.settings },
    });
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    for (const deadline = Date.now() + START_PATIENCE_MS; ; await sleep(50)) {
      const response = await fetch(`${environment.operatorUrl}/readyz`).catch(() => undefined);
      if (response?.ok) return;
      if (hasEnded(child) || Date.now() > deadline) throw new Error(`The service did not start:\n${output}`);
    }
  };
  const kill = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (!hasEnded(child) && child.pid !== undefined) {
      const ended = once(child, 'exit');
      process.kill(-child.pid, signal);
      await ended;
    }
    return child.exitCode;
  };

  try {
    await start();
    const client = await connectTo(environment.url, environment.credentials);
    return {
      ...client,
      environment,
      get pid() {
        return child.pid!;
      },
      get isRunning() {
        return !hasEnded(child);
      },
      get output() {
        return output;
      },
      kill,
      restart: start,
      async close() {
        client.ecr.destroy();
        await kill('SIGTERM');
        await environment.remove();
      },
    };
  } catch (error) {
    await kill('SIGKILL');
    await environment.remove();
    throw error;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
