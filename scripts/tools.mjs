/**
 * Programs the tests use and npm does not have: found on PATH or in a cache outside the checkout, else built once from a Go
 * module at a pinned version, or unpacked from the packages of a Debian system without installing them.
 * `node scripts/tools.mjs <name>…` prints where they are.
 */
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MODULES = {
  crane: { module: 'github.com/google/go-containerregistry/cmd/crane', version: 'v0.22.1' },
  regctl: { module: 'github.com/regclient/regclient/cmd/regctl', version: 'v0.11.7' },
  oras: { module: 'oras.land/oras/cmd/oras', version: 'v1.3.6' },
  // A tool of the tests only: its licence (AGPL) forbids nothing of that, but no part of it is ever linked.
  minio: { module: 'github.com/minio/minio', version: 'v0.0.0-20260212201848-7aac2a2c5b7c' },
  // Never taken from PATH: the results checked in are those of exactly this version.
  conformance: {
    module: 'github.com/opencontainers/distribution-spec/conformance',
    version: 'v0.0.0-20260831232431-97274622c111',
    pinned: true,
  },
  // What the benchmark compares with, at exactly the version its results name.
  registry: {
    module: 'github.com/distribution/distribution/v3/cmd/registry',
    version: 'v3.1.1',
    pinned: true,
  },
  // Its module has replacements, which `go install` refuses.
  'docker-compose': { module: 'github.com/docker/compose/v5/cmd', version: 'v5.6.0', scratchModule: true },
};

/** Unpacked, never installed: no service starts, no user appears. */
const DEBIAN_PROGRAMS = {
  haproxy: 'usr/sbin/haproxy',
  nginx: 'usr/sbin/nginx',
  pgbouncer: 'usr/sbin/pgbouncer',
};

/** @returns absolute path, or undefined where the tool is not to be had: the reason has been told on stderr */
export function findTool(name) {
  const tool = MODULES[name];
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'stowage/bin');
  if (!tool) return findDebianProgram(name, cache);
  const cached = join(cache, `${name}-${tool.version}`);
  const places = [cached];
  if (!tool.pinned)
    places.push(
      join(cache, name),
      ...(process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name)),
    );
  return places.find(isExecutable) ?? build(name, tool, cache, cached);
}

function build(name, { module, version, scratchModule }, cache, target) {
  if (spawnSync('go', ['version']).status !== 0) {
    console.error(`${name} is neither on PATH nor in ${cache}, and there is no Go to build it with.`);
    return undefined;
  }
  console.error(`Building ${name} once, from ${module}@${version}`);
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, '.build-'));
  const built = join(folder, 'bin', basename(module));
  // Whatever the environment makes of Go's flags, the program lands where it is looked for, under the module's last name.
  const env = {
    ...process.env,
    GOBIN: join(folder, 'bin'),
    GOFLAGS: '-buildvcs=false',
    CGO_ENABLED: '0',
    GOOS: '',
    GOARCH: '',
  };
  const go = (...args) => spawnSync('go', args, { cwd: folder, stdio: ['ignore', 2, 2], env }).status === 0;
  try {
    const done = scratchModule
      ? go('mod', 'init', 'scratch') && go('get', `${module}@${version}`) && go('build', '-o', built, module)
      : go('install', `${module}@${version}`);
    if (!done) return undefined;
    renameSync(built, target);
    return target;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function findDebianProgram(name, cache) {
  const started = join(cache, name);
  // Debian keeps its servers out of people's PATH.
  const places = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'].map((folder) =>
    join(folder, name),
  );
  return [started, ...places].find(isExecutable) ?? unpack(name, DEBIAN_PROGRAMS[name], cache, started);
}

/** The program and those libraries of its own that the system lacks, started by a script that knows where they lie. */
function unpack(name, program, cache, started) {
  const capture = (command, args, cwd) =>
    spawnSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 2] });
  if (spawnSync('apt-get', ['--version'], { stdio: 'ignore' }).status !== 0) {
    console.error(
      `${name} is neither on PATH nor in ${cache}, and this is no Debian system to take it from.`,
    );
    return undefined;
  }
  console.error(`Unpacking ${name} once, from the packages of this system`);
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, '.unpack-'));
  // Its own, since two may unpack at once.
  const unpacked = join(cache, `${name}-${basename(folder).replace('.unpack-', '')}`);
  try {
    // As root, apt would download as a user who may not enter the folder.
    const apt = (...args) => capture('apt-get', ['-qq', '-o', 'APT::Sandbox::User=root', ...args], folder);
    const missing = () =>
      apt('install', '--print-uris', '--no-install-recommends', name)
        .stdout.split('\n')
        .flatMap((line) => line.split(' ')[1]?.split('_')[0] ?? []);
    let packages = missing();
    // A fresh system has no lists of packages, and old lists name versions that are gone.
    if (packages.length === 0 || apt('download', ...packages).status !== 0) {
      if (process.getuid() !== 0 || apt('update').status !== 0) return undefined;
      packages = missing();
      if (packages.length === 0 || apt('download', ...packages).status !== 0) return undefined;
    }
    for (const file of readdirSync(folder).filter((file) => file.endsWith('.deb')))
      if (capture('dpkg', ['-x', file, 'files'], folder).status !== 0) return undefined;
    const brought = join(folder, 'files/usr/lib');
    const libraries = existsSync(brought)
      ? readdirSync(brought).filter((entry) => entry.includes('-linux-'))
      : [];
    renameSync(join(folder, 'files'), unpacked);
    const paths = libraries.map((entry) => join(unpacked, 'usr/lib', entry)).join(':');
    const script = `#!/bin/sh\nLD_LIBRARY_PATH='${paths}' exec '${join(unpacked, program)}' "$@"\n`;
    writeFileSync(join(folder, 'start'), script, { mode: 0o755 });
    renameSync(join(folder, 'start'), started);
    return started;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const names = process.argv.slice(2);
  const known = [...Object.keys(MODULES), ...Object.keys(DEBIAN_PROGRAMS)];
  if (names.length === 0 || names.some((name) => !known.includes(name))) {
    console.error(`Usage: tools.mjs ${known.join('|')} …`);
    process.exit(64);
  }
  for (const name of names) {
    const path = findTool(name);
    if (path) console.log(path);
    else process.exitCode = 1;
  }
}
