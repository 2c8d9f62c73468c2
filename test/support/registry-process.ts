import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectTo, type RegistryClient } from './registry-client.js';
import { createEnvironment, type RegistryOptions, type TestEnvironment } from './test-environment.js';

export interface ServiceProcess {
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
  /** Ends it and removes what its environment owns. */
  close(): Promise<void>;
}

export interface RegistryProcess extends RegistryClient, ServiceProcess {}

const MAIN = resolve('dist/main.js');
/** As in the image and by `npm start`. */
const FLAGS = ['--enable-source-maps', '--max-semi-space-size=8'];
const NODE = resolve('node_modules/.bin/node');
const START_PATIENCE_MS = 30_000;

/** Puts the command into another one that becomes it, such as one that first changes what the process sees. */
type Within = (command: string[], environment: TestEnvironment) => string[];

/** The built service as a process (group) of its own, for tests that kill it. */
export async function startRegistryProcess(
  options: RegistryOptions,
  within?: Within,
): Promise<RegistryProcess> {
  return startReplicaProcess(await createEnvironment(options), within);
}

/** One more process in an environment that may have others: clients reach it by ports of its own. */
export async function startReplicaProcess(
  environment: TestEnvironment,
  within?: Within,
): Promise<RegistryProcess> {
  const service = await startServiceProcess(environment, within);
  try {
    const client = await connectTo(environment.url, environment.credentials);
    const close = service.close.bind(service);
    return Object.assign(service, client, {
      async close() {
        client.ecr.destroy();
        await close();
      },
    });
  } catch (error) {
    await service.close();
    throw error;
  }
}

/** A process that clients need not be able to reach, such as a worker. */
export async function startServiceProcess(
  environment: TestEnvironment,
  within: Within = (command) => command,
): Promise<ServiceProcess> {
  let output = '';
  let child: ChildProcess;

  const start = async (): Promise<void> => {
    const [program, ...parameters] = within([NODE, ...FLAGS, MAIN], environment);
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
    return {
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
