import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startPostgresProxy } from '../support/postgres-proxy.js';
import { builtTool } from '../support/programs.js';
import { freePort } from '../support/test-environment.js';

const DOCUMENTED = 'docs/operations/pgbouncer.ini';
const START_PATIENCE_MS = 15_000;

let found: string | undefined | null = null;

/** @returns absolute path, or undefined where there is none to be had */
export function pgbouncer(): string | undefined {
  if (found === null) found = builtTool('pgbouncer');
  return found;
}

export interface Pooler {
  /** The database, through the pooler. */
  url: string;
  stop(): Promise<void>;
}

/**
 * PgBouncer with the configuration that the documentation shows, but for addresses and users.
 * @param changes lines to have instead of the documented ones, by their names
 */
export async function startPooler(database: string, changes: Record<string, string> = {}): Promise<Pooler> {
  // The tests' server has a socket only, in a folder that is not for everybody.
  const server = await startPostgresProxy(database);
  const { hostname, port: serverPort, pathname, username, password } = new URL(server.url);
  const name = pathname.slice(1);
  const port = await freePort();
  const settings: Record<string, string> = {
    stowage: `host=${hostname} port=${serverPort} dbname=${name} user=${username} password=${decodeURIComponent(password)}`,
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    auth_type: 'any',
    ...changes,
  };
  const text = (await readFile(DOCUMENTED, 'utf8'))
    .split('\n')
    .filter((line) => !line.startsWith('auth_file'))
    .map((line) => {
      const key = /^(\w+) =/.exec(line)?.[1];
      return key !== undefined && key in settings ? `${key} = ${settings[key]}` : line;
    });
  const folder = await mkdtemp(join(tmpdir(), 'stowage-pooler-'));
  const file = join(folder, 'pgbouncer.ini');
  await writeFile(file, [...text, 'unix_socket_dir =', ''].join('\n'));
  await chmod(folder, 0o755);
  // It refuses to run as root.
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn(pgbouncer()!, [...user, file], { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  const url = `postgresql://stowage:${encodeURIComponent(password)}@127.0.0.1:${port}/stowage`;
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    }
    await server.close();
    await rm(folder, { recursive: true, force: true });
  };
  for (const deadline = Date.now() + START_PATIENCE_MS; ; await sleep(50)) {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => undefined);
    const answers = await client.connect().then(
      () => true,
      () => false,
    );
    await client.end().catch(() => undefined);
    if (answers) return { url, stop };
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(`The pooler did not start:\n${complaint}`);
    }
  }
}
