/** `npm run build`: the Prisma client, then dist. Does nothing while both are newer than what they are made from. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(import.meta.dirname, '..');
// First in PATH, so that the tools run on the project's own Node.
const BIN = join(ROOT, 'node_modules/.bin');
const CLIENT = join(ROOT, 'src/database/generated');
const DIST = join(ROOT, 'dist');
// Beside it, since source maps count folders.
const NEXT_DIST = join(ROOT, 'dist.next');

const steps = [
  {
    label: 'Prisma client',
    stamp: join(CLIENT, 'client.ts'),
    sources: ['prisma/schema', 'prisma.config.ts', 'node_modules/prisma/package.json'],
    command: ['prisma', 'generate'],
  },
  {
    label: 'dist',
    stamp: join(DIST, '.built'),
    sources: ['src', 'tsconfig.json', 'tsconfig.build.json', 'node_modules/typescript/package.json'],
    command: ['tsc', '-p', 'tsconfig.build.json', '--outDir', 'dist.next'],
    // Built aside and put in place when it is whole; what is left of an earlier build goes with it.
    before: () => rmSync(NEXT_DIST, { recursive: true, force: true }),
    after: () => {
      rmSync(DIST, { recursive: true, force: true });
      renameSync(NEXT_DIST, DIST);
    },
  },
];

/** @throws when a step fails; the tool's output has been shown */
export async function build() {
  for (const { label, stamp, sources, command, before, after } of steps) {
    const startedAt = new Date();
    if (isNewer(stamp, sources)) continue;
    console.error(`Building: ${label}`);
    before?.();
    const [tool, ...args] = command;
    const { status, error } = spawnSync(join(BIN, tool), args, {
      cwd: ROOT,
      stdio: ['ignore', 2, 2],
      env: { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH}`, PRISMA_HIDE_UPDATE_MESSAGE: '1' },
    });
    if (error || status !== 0) throw new Error(`${command.join(' ')} failed`, { cause: error });
    after?.();
    if (!existsSync(stamp)) writeFileSync(stamp, '');
    // The moment before the step: what changed while it ran is built next time.
    utimesSync(stamp, startedAt, startedAt);
  }
}

function isNewer(stamp, sources) {
  const built = statSync(stamp, { throwIfNoEntry: false })?.mtimeMs;
  return built !== undefined && sources.every((source) => newest(join(ROOT, source)) <= built);
}

/** Folders count as well: a removed file shows in its folder only. */
function newest(path) {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) return 0;
  if (!stats.isDirectory()) return stats.mtimeMs;
  return Math.max(stats.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await build();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
