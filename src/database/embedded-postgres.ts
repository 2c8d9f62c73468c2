import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { lockDataDir, type DataDirLock } from './data-dir-lock.js';
import {
  chownTo,
  EmbeddedPostgresError,
  findPostgresBinaries,
  launch,
  launcherFor,
  postgresOwner,
  type Launcher,
  type PostgresBinaries,
} from './postgres-binaries.js';
import { connectionUrl, DATABASE, START_PATIENCE_MS, withClient } from './postgres-connection.js';
import { initialise } from './postgres-data.js';
import { endLeftovers } from './postgres-processes.js';

export interface EmbeddedPostgres {
  /** For `pg` and everything built on it: over a unix socket, with a password only the data folder knows. */
  readonly url: string;
  /** Ends the server in order and gives the data folder free. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** False trades the safety of the data for speed: for tests. */
  durable?: boolean;
  maxConnections?: number;
  /** Told when the server died by itself and is started anew. */
  log?: (message: string) => void;
  /** How long a predecessor on the same folder may take to go away. */
  lockPatienceMs?: number;
}

const SOCKET = '.s.PGSQL.5432';
const LOCK_PATIENCE_MS = 5_000;
const STOP_PATIENCE_MS = 15_000;
const POLL_MS = 20;
const LONGEST_SOCKET_PATH = process.platform === 'linux' ? 107 : 103;

/**
 * Runs a real PostgreSQL below `<dataDir>/postgres`, kept from start to start. It has no port; only who may read the folder
 * can connect. Should the server die, it is started again, until {@link EmbeddedPostgres.stop}.
 *
 * @throws DataDirInUseError when another process serves this folder; EmbeddedPostgresError when it cannot run here
 */
export async function startEmbeddedPostgres(
  dataDir: string,
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  const created = fs.mkdirSync(dataDir, { recursive: true });
  const folder = fs.realpathSync(dataDir);
  const home = join(folder, 'postgres');
  const owner = postgresOwner(home);
  if (owner && created) fs.chmodSync(folder, 0o755); // a strict umask would close it to him
  const lock = await lockDataDir(folder, options.lockPatienceMs ?? LOCK_PATIENCE_MS);
  try {
    const binaries = findPostgresBinaries();
    const launcher = launcherFor(owner, [binaries.postgres, home]);
    await initialise(home, binaries, launcher);
    const server = new Server(home, binaries, launcher, lock, options);
    await server.start();
    return server;
  } catch (error) {
    lock.release();
    throw error;
  }
}

class Server implements EmbeddedPostgres {
  readonly url: string;
  private readonly pgdata: string;
  private readonly socketFolder: string;
  private child: ChildProcess | undefined;
  private stopping = false;

  constructor(
    private readonly home: string,
    private readonly binaries: PostgresBinaries,
    private readonly launcher: Launcher,
    private readonly lock: DataDirLock,
    private readonly options: EmbeddedPostgresOptions,
  ) {
    this.pgdata = join(home, 'data');
    this.socketFolder = this.chooseSocketFolder();
    this.url = this.urlOf(DATABASE);
  }

  async start(): Promise<void> {
    process.once('exit', this.endWithProcess);
    try {
      await this.launch();
      await this.createDatabase();
    } catch (error) {
      await this.end();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.end();
    this.lock.release();
  }

  private async end(): Promise<void> {
    this.stopping = true;
    process.off('exit', this.endWithProcess);
    const child = this.child;
    if (child && isRunning(child)) {
      const gone = once(child, 'exit');
      child.kill('SIGINT'); // a fast shutdown: sessions are cut, everything committed is written
      const timer = setTimeout(() => child.kill('SIGQUIT'), STOP_PATIENCE_MS);
      await gone;
      clearTimeout(timer);
    }
    if (this.socketFolder !== this.home) fs.rmSync(this.socketFolder, { recursive: true, force: true });
  }

  private readonly endWithProcess = (): void => {
    this.child?.kill('SIGINT');
  };

  private async launch(): Promise<void> {
    await endLeftovers(this.pgdata);
    // Nobody listens there any more; the lock beside the socket would hold us up as the pid file would.
    for (const name of [SOCKET, `${SOCKET}.lock`]) fs.rmSync(join(this.socketFolder, name), { force: true });
    // What is said before the collector takes over; the running log rotates in data/log.
    const log = fs.openSync(join(this.home, 'start.log'), 'w', 0o600);
    const command = [this.binaries.postgres, ...this.arguments()];
    const child = launch(this.launcher, command, this.home, ['ignore', log, log]);
    fs.closeSync(log);
    child.unref();
    child.on('error', () => undefined); // spawn failures show as a child that is not running
    this.child = child;
    await this.whenReady(child);
    child.once(
      'exit',
      (code, signal) => void this.relaunch(`PostgreSQL ended (${signal ?? `exit ${code}`})`),
    );
    if (!isRunning(child)) await this.relaunch('PostgreSQL ended');
  }

  private async relaunch(reason: string): Promise<void> {
    for (let delayMs = 0; !this.stopping; delayMs = Math.min(delayMs + 1_000, 10_000)) {
      this.options.log?.(`${reason}; starting it again`);
      await sleep(delayMs, undefined, { ref: false });
      if (this.stopping) return;
      try {
        return await this.launch();
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
    }
  }

  private async whenReady(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + START_PATIENCE_MS;
    for (;;) {
      try {
        return await this.inDatabase('postgres', () => Promise.resolve());
      } catch (error) {
        if (!isRunning(child) || Date.now() > deadline) {
          const reason = this.lastWords() || String(error);
          throw new EmbeddedPostgresError(`PostgreSQL did not start in ${this.home}: ${reason}`, {
            cause: error,
          });
        }
        const { code } = error as { code?: string };
        if (!['ENOENT', 'ECONNREFUSED', 'ECONNRESET', CANNOT_CONNECT_NOW].includes(code ?? '')) throw error;
      }
      await sleep(POLL_MS);
    }
  }

  /** What the server complained of last, in this start or in today's log. */
  private lastWords(): string {
    const folder = join(this.pgdata, 'log');
    const logs = fs.existsSync(folder) ? fs.readdirSync(folder).map((name) => join(folder, name)) : [];
    return [
      join(this.home, 'start.log'),
      ...logs.sort((a, b) => fs.statSync(a).mtimeMs - fs.statSync(b).mtimeMs).slice(-1),
    ]
      .flatMap((path) => fs.readFileSync(path, 'utf8').slice(-4_000).split('\n'))
      .filter((line) => /fatal|panic|error|setpriv|could not|cannot/i.test(line))
      .slice(-3)
      .join('\n');
  }

  private async createDatabase(): Promise<void> {
    await this.inDatabase('postgres', async (client) => {
      const found = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
      if (found.rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
    });
  }

  private inDatabase<Result>(
    database: string,
    work: (client: pg.Client) => Promise<Result>,
  ): Promise<Result> {
    return withClient(this.urlOf(database), work);
  }

  private arguments(): string[] {
    const durable = this.options.durable === false ? 'off' : 'on';
    const settings = {
      listen_addresses: '',
      unix_socket_directories: this.socketFolder,
      unix_socket_permissions: '0700',
      fsync: durable,
      synchronous_commit: durable,
      full_page_writes: durable,
      max_connections: this.options.maxConnections ?? 200,
      timezone: 'UTC',
      log_timezone: 'UTC',
      logging_collector: 'on',
      log_filename: 'postgresql-%a.log', // one file per weekday, overwritten after a week
      log_truncate_on_rotation: 'on',
      log_rotation_age: '1d',
      log_rotation_size: '0',
    };
    return [
      '-D',
      this.pgdata,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ];
  }

  /** A socket's path is short by decree of the kernel; a deep data folder gets one in the system's temporary folder. */
  private chooseSocketFolder(): string {
    if (Buffer.byteLength(join(this.home, SOCKET)) <= LONGEST_SOCKET_PATH) return this.home;
    const folder = fs.mkdtempSync(join(tmpdir().length < 60 ? tmpdir() : '/tmp', 'stowage-'));
    chownTo(this.launcher, folder);
    return folder;
  }

  private urlOf(database: string): string {
    return connectionUrl(this.home, this.socketFolder, database);
  }
}

const CANNOT_CONNECT_NOW = '57P03';

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}
