import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DataDirInUseError } from '../../src/database/data-dir-lock.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/database/embedded-postgres.js';
import { endLeftovers } from '../../src/database/postgres-processes.js';

let folder: string;
let dataDir: string;
const running: { stop(): Promise<void> }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'stowage-embedded-'));
  dataDir = join(folder, 'data');
});

afterEach(async () => {
  for (const server of running.splice(0)) await server.stop();
  const pgdata = join(dataDir, 'postgres/data');
  if (existsSync(pgdata)) await endLeftovers(pgdata);
  rmSync(folder, { recursive: true, force: true });
});

describe('the embedded PostgreSQL', () => {
  it('keeps what was committed from one start to the next', async () => {
    const first = await start();
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first.stop();
    const second = await start();
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  });

  it('is durable, has no port, and lets nobody in without the password', async () => {
    const { url } = await start();
    const settings = await query(
      url,
      `SELECT name, setting FROM pg_settings
        WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'listen_addresses') ORDER BY name`,
    );
    expect(settings.map(({ setting }) => setting)).toEqual(['on', 'on', '', 'on']);
    const wrong = new URL(url);
    wrong.password = 'wrong';
    await expect(query(wrong.toString(), 'SELECT 1')).rejects.toThrow('password authentication failed');
    expect(statSync(join(dataDir, 'postgres')).mode & 0o777).toBe(0o700);
  });

  it('refuses a second start in the same folder and leaves the first alone', async () => {
    const { url } = await start();
    await expect(startEmbeddedPostgres(dataDir)).rejects.toThrow(DataDirInUseError);
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('has one winner when two processes start in a new folder at once', async () => {
    const services = [service(), service()];
    const outcomes = await Promise.all(
      services.map((each) => Promise.race([each.url.then(() => 'serves'), each.ended])),
    );
    expect(new Set(outcomes)).toEqual(new Set([1, 'serves']));
    expect(services.map((each) => each.output()).join('')).toContain(
      'Another process is already serving the data folder',
    );
    for (const each of services) each.child.kill('SIGKILL');
    await Promise.all(services.map((each) => each.ended));
  });

  it('starts again after kill -9 of the service, whose server lived on', async () => {
    const killed = service();
    await query(await killed.url, 'CREATE TABLE kept AS SELECT 1 AS one');
    killed.child.kill('SIGKILL');
    await killed.ended;
    const { url } = await start();
    expect(await query(url, 'SELECT one FROM kept')).toEqual([{ one: 1 }]);
  });

  it('starts again after kill -9 of the service and of its server', async () => {
    const killed = service();
    await query(await killed.url, 'CREATE TABLE kept AS SELECT 1 AS one');
    killed.child.kill('SIGKILL');
    process.kill(postmaster(), 'SIGKILL');
    const { url } = await start();
    expect(await query(url, 'SELECT one FROM kept')).toEqual([{ one: 1 }]);
  });

  it('comes back by itself when its server is killed', async () => {
    const messages: string[] = [];
    const { url } = await start({ log: (message) => messages.push(message) });
    process.kill(postmaster(), 'SIGKILL');
    await eventually(() => query(url, 'SELECT 1'));
    expect(messages).toEqual(['PostgreSQL ended (SIGKILL); starting it again']);
  });

  it('is not harmed by a kill while its data is created', async () => {
    for (const delayMs of [20, 120, 300, 500]) {
      const killed = service();
      await sleep(delayMs);
      killed.child.kill('SIGKILL');
      await killed.ended;
    }
    const { url } = await start();
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(readdirSync(dataDir).filter((name) => name.startsWith('postgres.init-'))).toEqual([]);
  });

  it('ends with a service that exits without stopping it', async () => {
    const { url, child, ended } = service();
    await url;
    child.kill('SIGTERM'); // the script below exits at once
    expect(await ended).toBe(0);
    await eventually(() => expect(existsSync(join(dataDir, 'postgres/data/postmaster.pid'))).toBe(false));
  });

  it('works below folders that only their owner may enter', async () => {
    chmodSync(folder, 0o700);
    const { url } = await start();
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('works in a folder whose path is too long for a socket, and by way of a symbolic link', async () => {
    const deep = join(folder, 'long-name-'.repeat(12), 'data');
    mkdirSync(deep, { recursive: true });
    symlinkSync(deep, dataDir);
    const { url } = await start();
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});

async function start(options?: Parameters<typeof startEmbeddedPostgres>[1]): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres(dataDir, options);
  running.push(server);
  return server;
}

/** A process that does nothing but run the embedded server, as the service would. */
function service() {
  const script = `
    import { startEmbeddedPostgres } from ${JSON.stringify(resolve('dist/database/embedded-postgres.js'))};
    process.once('SIGTERM', () => process.exit(0));
    startEmbeddedPostgres(${JSON.stringify(dataDir)}).then(
      (server) => { console.log(server.url); setInterval(() => {}, 1000); },
      (error) => { console.error(error.message); process.exit(1); });`;
  const child: ChildProcess = spawn(
    resolve('node_modules/.bin/node'),
    ['--input-type=module', '-e', script],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const url = once(child.stdout!, 'data').then(([chunk]) => String(chunk).trim());
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return { child, url, ended, output: () => output };
}

function postmaster(): number {
  return Number.parseInt(readFileSync(join(dataDir, 'postgres/data/postmaster.pid'), 'utf8'), 10);
}

async function query(connectionString: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function eventually(work: () => unknown): Promise<void> {
  for (const deadline = Date.now() + 10_000; ; await sleep(50)) {
    try {
      return void (await work());
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}
