import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EmbeddedPostgresError } from './postgres-binaries.js';

const POLL_MS = 20;

/**
 * Ends whatever a predecessor left running in a PostgreSQL data folder, so that a server of our own can start there at once.
 * The caller holds the data folder's lock: nobody else's server can be meant.
 *
 * A killed postmaster leaves a pid file behind, and its backends for a moment. PostgreSQL itself then refuses to start for as
 * long as any process has that pid, be it a zombie nobody reaps or a stranger after a reboot; where it is certain that no
 * process works in the folder any more, the file is removed.
 * @throws EmbeddedPostgresError when a process stays
 */
export async function endLeftovers(pgdata: string): Promise<void> {
  const pidFile = join(pgdata, 'postmaster.pid');
  if (process.platform !== 'linux') return endPostmaster(pgdata, pidFile);
  // Fast shutdown first; then immediate, which loses nothing either but makes the next start replay the log.
  for (const [signal, patienceMs] of [
    ['SIGINT', 10_000],
    ['SIGQUIT', 5_000],
    ['SIGKILL', 5_000],
  ] as const) {
    const postmaster = readPid(pidFile);
    const running = processesIn(pgdata);
    if (running.length === 0) break;
    for (const pid of running) if (pid === postmaster || signal !== 'SIGINT') kill(pid, signal);
    if (await within(patienceMs, () => processesIn(pgdata).length === 0)) break;
    if (signal === 'SIGKILL') {
      throw new EmbeddedPostgresError(
        `Processes ${running.join(', ')} still work in ${pgdata} and cannot be ended.`,
      );
    }
  }
  rmSync(pidFile, { force: true });
}

/** Ends an `initdb` that outlived the service, and would go on to write where its draft is being removed. */
export async function endInitdb(draft: string): Promise<void> {
  if (process.platform !== 'linux') return;
  const running = () => [draft, join(draft, 'data')].flatMap(processesIn);
  await within(5_000, () => {
    const pids = running();
    for (const pid of pids) kill(pid, 'SIGKILL');
    return pids.length === 0;
  });
}

/** Elsewhere the working folder of a process is not to be seen; only a server started with this very folder is ended. */
async function endPostmaster(pgdata: string, pidFile: string): Promise<void> {
  const pid = readPid(pidFile);
  if (pid === undefined) return;
  let command = '';
  try {
    command = execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
  } catch {
    return; // no such process
  }
  if (!command.includes(pgdata)) return;
  kill(pid, 'SIGINT');
  if (!(await within(10_000, () => !existsSync(pidFile)))) {
    throw new EmbeddedPostgresError(
      `The PostgreSQL server with pid ${pid} still works in ${pgdata} and does not stop.`,
    );
  }
}

/** Processes whose working folder this is: the postmaster and all its children. Zombies have none. */
function processesIn(folder: string): number[] {
  const wanted = statSync(folder, { throwIfNoEntry: false });
  if (!wanted) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const cwd = statSync(`/proc/${pid}/cwd`);
        return cwd.ino === wanted.ino && cwd.dev === wanted.dev && isPostgres(pid);
      } catch {
        return false;
      }
    });
}

/** Somebody's shell may stand in the folder as well. */
function isPostgres(pid: number): boolean {
  return ['postgres', 'initdb'].includes(readFileSync(`/proc/${pid}/comm`, 'utf8').trim());
}

function readPid(pidFile: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(pidFile, 'utf8'), 10) || undefined;
  } catch {
    return undefined;
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function within(patienceMs: number, condition: () => boolean): Promise<boolean> {
  for (const deadline = Date.now() + patienceMs; Date.now() < deadline; await sleep(POLL_MS)) {
    if (condition()) return true;
  }
  return condition();
}
