import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { builtTool } from '../support/programs.js';
import { freePort, type TestEnvironment } from '../support/test-environment.js';

const DOCUMENTED = 'docs/operations/haproxy.cfg';
const START_PATIENCE_MS = 15_000;

let found: string | undefined | null = null;

/** @returns absolute path, or undefined where there is none to be had */
export function haproxy(): string | undefined {
  if (found === null) found = builtTool('haproxy');
  return found;
}

export interface Balancer {
  url: string;
  stop(): Promise<void>;
}

/**
 * haproxy with the configuration that the documentation shows, but for the addresses. It may start before the replicas, whose
 * public URL is its own.
 */
export async function startBalancer(port: number, replicas: TestEnvironment[]): Promise<Balancer> {
  const folder = await mkdtemp(join(tmpdir(), 'stowage-balancer-'));
  const file = join(folder, 'haproxy.cfg');
  await writeFile(file, configuration(await readFile(DOCUMENTED, 'utf8'), port, replicas));
  // -db: in the foreground, whatever the file says.
  const child = spawn(haproxy()!, ['-db', '-f', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  const stop = async (): Promise<void> => {
    await ended(child);
    await rm(folder, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  for (const deadline = Date.now() + START_PATIENCE_MS; ; await sleep(50)) {
    const answer = await fetch(`${url}/v2/`).catch(() => undefined);
    if (answer?.status === 401) return { url, stop };
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(`The balancer did not start:\n${complaint}`);
    }
  }
}

/** A port for the balancer, known before it runs. */
export const balancerPort = freePort;

function configuration(documented: string, port: number, replicas: TestEnvironment[]): string {
  const servers = replicas.map(({ url, operatorUrl }, index) => {
    return `    server stowage-${index + 1} ${new URL(url).host} port ${new URL(operatorUrl).port}`;
  });
  const lines = documented.split('\n');
  const own = lines
    .filter((line) => !/^ +server /.test(line))
    .map((line) => line.replace(/^ +bind .*/, `    bind 127.0.0.1:${port}`));
  if (own.length !== lines.length - 2) throw new Error(`${DOCUMENTED} does not name two servers`);
  // The servers are the last thing in the file.
  return [...own.slice(0, -1), ...servers, ''].join('\n');
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}
