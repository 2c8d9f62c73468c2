/**
 * Makes a checkout ready to run, whatever state it is in: packages as the lock file says, then the build. Only builtins here,
 * since this may run before anything is installed, and only what Node 20.19 has.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const ROOT = join(import.meta.dirname, '..');
/** The Node the project pins, whatever the system's is. */
export const NODE = join(ROOT, 'node_modules/.bin/node');

/** Of the service; what the second is for says src/main.ts. MiB. */
export const NODE_FLAGS = ['--enable-source-maps', '--max-semi-space-size=8'];

/** For tools of the project: its own Node and packages first in PATH. */
export const toolEnvironment = {
  ...process.env,
  PATH: `${join(ROOT, 'node_modules/.bin')}${delimiter}${process.env.PATH}`,
};

/** @throws when npm or the build fails; their output has been shown */
export async function prepare() {
  await alone(async () => {
    if (packagesAreStale()) install();
    run(NODE, [join(ROOT, 'scripts/build.mjs')], 'The build failed.');
  });
}

function install() {
  console.error('Installing the packages of package-lock.json');
  // npm is run by the Node that runs us: the one in node_modules is about to be replaced.
  const npm = process.env.npm_execpath;
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const failure = 'The packages could not be installed (npm ci).';
  if (npm?.endsWith('.js')) run(process.execPath, [npm, ...args], failure);
  else run('npm', args, failure);
  if (!existsSync(NODE)) {
    throw new Error(
      'npm did not install Node: its install script was blocked. Allow it with: npm rebuild node',
    );
  }
}

/** Compares what npm says it installed with what the lock file wants; optional packages may be absent. */
export function packagesAreStale() {
  const installed = readPackages(join(ROOT, 'node_modules/.package-lock.json'));
  if (!installed || !existsSync(NODE)) return true;
  const wanted = readPackages(join(ROOT, 'package-lock.json'));
  return Object.entries(wanted).some(([path, { version, optional }]) => {
    if (path === '' || (optional && !installed[path])) return false;
    return installed[path]?.version !== version;
  });
}

function readPackages(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).packages : undefined;
}

function run(command, args, failure) {
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
    env: toolEnvironment,
  });
  if (error || status !== 0) throw new Error(failure, { cause: error });
}

/** Two `npm start` in a fresh checkout: the second waits while the first installs and builds. */
async function alone(work) {
  const lock = join(ROOT, '.setup.lock');
  for (let told = false; !take(lock); await sleep(250)) {
    if (!told) console.error('Waiting for another process that prepares this checkout');
    told = true;
  }
  try {
    await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

function take(lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  let owner;
  try {
    owner = Number(readFileSync(lock, 'utf8'));
    process.kill(owner, 0);
  } catch (error) {
    // Left by a process that was killed.
    if (error.code === 'ESRCH' || (owner !== undefined && Number.isNaN(owner))) rmSync(lock, { force: true });
  }
  return false;
}
