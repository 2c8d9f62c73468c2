/**
 * Programs the tests use and npm does not have, each from its Go module at a pinned version: found on PATH or in a cache outside
 * the checkout, else built once. `node scripts/tools.mjs <name>…` prints where they are.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
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

/** @returns absolute path, or undefined where the tool is not to be had: the reason has been told on stderr */
export function findTool(name) {
  const tool = MODULES[name];
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'stowage/bin');
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
  const unknown = names.find((name) => !(name in MODULES));
  if (unknown !== undefined || names.length === 0) {
    console.error(`Usage: tools.mjs ${Object.keys(MODULES).join('|')} …`);
    process.exit(64);
  }
  for (const name of names) {
    const path = findTool(name);
    if (path) console.log(path);
    else process.exitCode = 1;
  }
}
