import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { builtTool } from '../support/programs.js';
import { freePort, type TestEnvironment } from '../support/test-environment.js';

const START_PATIENCE_MS = 15_000;

interface Program {
  /** What the documentation shows. */
  documented: string;
  /** In the foreground, whatever the file says. */
  arguments(file: string, folder: string): string[];
  port(port: number): [documented: RegExp, own: string];
  server(address: string, operatorPort: string, index: number): string;
  /** Where it would write, which only its installation provides for. */
  ownPlaces?: (text: string, folder: string) => string;
}

const PROGRAMS = {
  haproxy: {
    documented: 'docs/operations/haproxy.cfg',
    arguments: (file) => ['-db', '-f', file],
    port: (port) => [/^ +bind .*/, `    bind 127.0.0.1:${port}`],
    server: (address, operatorPort, index) =>
      `    server stowage-${index + 1} ${address} port ${operatorPort}`,
  },
  nginx: {
    documented: 'docs/operations/nginx.conf',
    arguments: (file, folder) =>
      ['-c', file, '-p', folder, '-e', 'stderr'].concat(
        '-g',
        `daemon off; pid ${join(folder, 'pid')}; user root;`,
      ),
    port: (port) => [/^ +listen .*/, `        listen 127.0.0.1:${port};`],
    server: (address) => `        server ${address} max_fails=1 fail_timeout=2s;`,
    ownPlaces: (text, folder) => {
      const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
        (kind) => `    ${kind}_temp_path ${join(folder, kind)};`,
      );
      return text.replace('http {', ['http {', '    access_log off;', ...places].join('\n'));
    },
  },
} satisfies Record<string, Program>;

export type BalancerName = keyof typeof PROGRAMS;

const found = new Map<BalancerName, string | undefined>();

/** @returns absolute path, or undefined where there is none to be had */
export function balancerProgram(name: BalancerName): string | undefined {
  if (!found.has(name)) found.set(name, builtTool(name));
  return found.get(name);
}

export interface Balancer {
  url: string;
  stop(): Promise<void>;
}

/**
 * A balancer with the configuration that the documentation shows, but for the addresses. It may start before the replicas,
 * whose public URL is its own.
 */
export async function startBalancer(
  name: BalancerName,
  port: number,
  replicas: TestEnvironment[],
): Promise<Balancer> {
  const folder = await mkdtemp(join(tmpdir(), 'stowage-balancer-'));
  const file = join(folder, name);
  const program: Program = PROGRAMS[name];
  await writeFile(file, await configuration(program, port, replicas, folder));
  const child = spawn(balancerProgram(name)!, program.arguments(file, folder), {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
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

async function configuration(
  program: Program,
  port: number,
  replicas: TestEnvironment[],
  folder: string,
): Promise<string> {
  const [documentedPort, ownPort] = program.port(port);
  const lines = (await readFile(program.documented, 'utf8')).split('\n');
  const servers = lines.filter((line) => /^ +server \S*\d/.test(line));
  if (servers.length !== 2) throw new Error(`${program.documented} does not name two servers`);
  const own = replicas.map(({ url, operatorUrl }, index) =>
    program.server(new URL(url).host, new URL(operatorUrl).port, index),
  );
  const text = lines
    .flatMap((line) => (line === servers[0] ? own : line === servers[1] ? [] : [line]))
    .map((line) => line.replace(documentedPort, ownPort))
    .join('\n');
  return program.ownPlaces?.(text, folder) ?? text;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  // Which both take as: at once, with the processes of its own.
  child.kill('SIGTERM');
  await exit;
}
