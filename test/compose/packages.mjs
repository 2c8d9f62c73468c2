/** The engine's programs and the base of its images, from the packages of the machine's own distribution. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

const PACKAGES = ['docker.io', 'containerd', 'runc', 'tini', 'debootstrap'];
/** Not needed in a base image, and most of its size. */
const LEFT_OUT = ['./var/cache/apt', './var/lib/apt/lists', './usr/share/doc', './usr/share/locale'];

/** Outside the checkout, and kept: fetched once for each release of the distribution. */
export async function cacheFolder() {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const field = (name) => new RegExp(`^${name}="?([^"\n]*)`, 'm').exec(release)?.[1] || 'unknown';
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'stowage/compose');
  const folder = join(cache, `${field('ID')}-${field('VERSION_CODENAME')}-${process.arch}`);
  await mkdir(folder, { recursive: true });
  return { folder, codename: field('VERSION_CODENAME') };
}

/** Nothing of it is installed on the system. @returns the folders of the programs */
export async function enginePrograms(cache, work, tell, signal) {
  const target = join(cache.folder, 'programs');
  if (!(await exists(target))) {
    tell('fetching the engine from the packages of this system');
    const debs = join(work, 'debs');
    const programs = join(work, 'programs');
    await mkdir(debs);
    // The client is a package of its own in later releases.
    const split = await run('apt-cache', ['show', '--no-all-versions', 'docker-cli'], { signal }).then(
      () => ['docker-cli'],
      () => [],
    );
    await run('apt-get', ['download', ...PACKAGES, ...split], { cwd: debs, signal });
    for (const deb of await readdir(debs)) await run('dpkg', ['-x', join(debs, deb), programs], { signal });
    await keep(programs, target);
  }
  return ['usr/sbin', 'usr/bin'].map((folder) => join(target, folder));
}

/** @returns a tar of a minimal root file system */
export async function baseSystem(cache, work, tell, signal) {
  const target = join(cache.folder, 'base.tar');
  if (!(await exists(target))) {
    tell('making a base image with debootstrap');
    const programs = join(cache.folder, 'programs');
    const rootfs = join(work, 'rootfs');
    const tar = join(work, 'base.tar');
    const mirror = await packageMirror(signal);
    const env = { DEBOOTSTRAP_DIR: join(programs, 'usr/share/debootstrap'), ...(await proxyOfApt(signal)) };
    const debootstrap = join(programs, 'usr/sbin/debootstrap');
    await run(debootstrap, ['--variant=minbase', cache.codename, rootfs, ...mirror], { env, signal });
    const excluded = LEFT_OUT.map((path) => `--exclude=${path}/*`);
    await run('tar', ['-C', rootfs, ...excluded, '-cf', tar, '.'], { signal });
    await keep(tar, target);
  }
  return target;
}

/** Where apt has its packages from: what stands before the pool in the address of one of them. */
async function packageMirror(signal) {
  const addresses = await run('apt-get', ['--print-uris', 'download', 'tini'], { signal });
  const mirror = /'(https?:[^']*?)\/pool\//.exec(addresses)?.[1];
  return mirror ? [mirror] : [];
}

async function proxyOfApt(signal) {
  const answer = await run('apt-config', ['shell', 'PROXY', 'Acquire::http::Proxy'], { signal });
  const proxy = /PROXY='(.*)'/.exec(answer)?.[1];
  return proxy ? { http_proxy: proxy } : {};
}

/** Whole or not at all; the cache may be on another disk. */
async function keep(made, target) {
  const beside = `${target}.${process.pid}`;
  await run('cp', ['-a', made, beside]);
  await rename(beside, target).catch(() => rm(beside, { recursive: true, force: true }));
}

const exists = (path) =>
  stat(path).then(
    () => true,
    () => false,
  );

/**
 * In a process group of its own, which ends with the signal.
 * @returns what it wrote to stdout @throws with the last line it wrote, unless it ends with code 0
 */
export async function run(command, args, { cwd, env, signal } = {}) {
  signal?.throwIfAborted();
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let all = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
    all += chunk;
  });
  child.stderr.on('data', (chunk) => (all += chunk));
  const end = () => child.pid && process.kill(-child.pid, 'SIGTERM');
  signal?.addEventListener('abort', end, { once: true });
  try {
    const [code] = await once(child, 'close');
    signal?.throwIfAborted();
    if (code !== 0) throw new Error(`${command} ended with ${code}: ${lastLine(all)}`);
    return stdout;
  } finally {
    signal?.removeEventListener('abort', end);
  }
}

export function lastLine(text) {
  return text.trimEnd().split('\n').at(-1) ?? '';
}
