import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, symlink } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { builtTool, onPath, runProgram, succeeds } from '../support/programs.js';

/** A Docker engine of this test's own. */
export interface Engine {
  /** Folder of all it has; goes with it. */
  readonly folder: string;
  /** Tar of a minimal Debian. */
  readonly base: string;
  /** What builds reach other machines by: see supervisor.mjs. */
  readonly network: 'bridge' | 'host';
  /** @returns stdout @throws with everything it wrote, unless it ends with code 0 */
  docker(...args: string[]): Promise<string>;
  /** The same with something to read on stdin. */
  dockerWith(input: string, ...args: string[]): Promise<string>;
  /** `docker compose` in the checkout with the settings of one file. */
  compose(envFile: string, ...args: string[]): Promise<string>;
  /** @throws unless everything it did to the machine has been undone */
  close(): Promise<void>;
}

/** Why there is no engine. */
export interface NoEngine {
  missing: string;
}

interface Report {
  folder: string;
  path: string;
  socket: string;
  base: string;
  network: 'bridge' | 'host';
  missing?: string;
}

const NEEDED = ['apt-get', 'dpkg', 'tar', 'mount', 'umount', 'ip', 'npm'];

export async function startEngine(): Promise<Engine | NoEngine> {
  if (process.env['STOWAGE_TEST_COMPOSE'] === '0') return { missing: 'STOWAGE_TEST_COMPOSE=0' };
  if (process.platform !== 'linux') return { missing: `this is ${process.platform}, not Linux` };
  if (process.getuid?.() !== 0) return { missing: 'only root may start one' };
  const absent = NEEDED.find((program) => !onPath(program));
  if (absent) return { missing: `${absent} is not there` };
  if (!succeeds('npm', 'view', 'zod', 'version', '--fetch-retries=0'))
    return { missing: 'npm, which the build needs, reaches no packages' };
  const plugin = builtTool('docker-compose');
  if (!plugin) return { missing: 'the compose plugin is neither there nor can be built' };

  const supervisor = spawn(process.execPath, [join(import.meta.dirname, 'supervisor.mjs')], {
    // A Ctrl-C must not reach it before it has cleaned up: it notices by its stdin that we are gone.
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const ended = once(supervisor, 'exit') as Promise<[code: number | null]>;
  supervisor.stdin.on('error', () => {});
  const line = await Promise.race([
    once(createInterface({ input: supervisor.stdout }), 'line').then(([text]) => String(text)),
    ended.then(([code]) => JSON.stringify({ missing: `its supervisor ended with ${code}` })),
  ]);
  const { folder, path, socket, base, network, missing } = JSON.parse(line) as Report;
  if (missing !== undefined) return { missing };

  // Where no test is selected nothing closes it: it must not keep this process, whose end is its own.
  supervisor.unref();
  for (const pipe of [supervisor.stdin, supervisor.stdout]) (pipe as unknown as Socket).unref();

  const config = join(folder, 'config');
  await mkdir(join(config, 'cli-plugins'), { recursive: true });
  await symlink(plugin, join(config, 'cli-plugins/docker-compose'));
  const env = {
    PATH: path,
    HOME: folder,
    DOCKER_HOST: `unix://${socket}`,
    DOCKER_CONFIG: config,
    // The builder the engine has; the other one is a plugin too.
    DOCKER_BUILDKIT: '0',
  };
  const run = (input: string, args: string[]) =>
    runProgram(join(path.split(':')[1]!, 'docker'), args, { env, input });
  return {
    folder,
    base,
    network,
    docker: (...args) => run('', args),
    dockerWith: (input, ...args) => run(input, args),
    compose: (envFile, ...args) => run('', ['compose', '--env-file', envFile, ...args]),
    async close() {
      supervisor.ref();
      supervisor.stdin.end();
      const [code] = await ended;
      if (code !== 0) throw new Error(`The engine left something behind in ${folder} or on the machine`);
    },
  };
}
