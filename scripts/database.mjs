/**
 * `npm run db:check`: the migrations and the Prisma schema say the same (exit 2 if not).
 * `npm run db:migrate -- <name>`: writes the next migration, prisma/migrations/NNNN_<name>, from what the schema has more.
 * Both run the embedded PostgreSQL for themselves, in a folder thrown away afterwards.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from './build.mjs';

const ROOT = join(import.meta.dirname, '..');
const MIGRATIONS = join(ROOT, 'prisma/migrations');
const DRIFT = 2;

const [command, name] = process.argv.slice(2);
if (command !== 'check' && !(command === 'migrate' && /^[a-z0-9_]+$/.test(name ?? ''))) {
  console.error('Usage: database.mjs check | migrate <name_in_small_letters>');
  process.exit(64);
}

await build();
const { startEmbeddedPostgres } = await import('../dist/database/embedded-postgres.js');
const folder = mkdtempSync(join(tmpdir(), 'stowage-db-'));
const server = await startEmbeddedPostgres(join(folder, 'data'), { durable: false });
try {
  process.exitCode = command === 'check' ? check() : migrate();
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}

function check() {
  const { status, stdout, stderr } = diff('--exit-code');
  if (status === DRIFT) console.error(`The schema and the migrations differ:\n${stdout}`);
  else if (status !== 0) console.error(stdout + stderr);
  else console.log('The migrations make exactly the schema.');
  return status;
}

function migrate() {
  const { status, stdout, stderr } = diff('--script');
  if (status !== 0) {
    console.error(stdout + stderr);
    return status;
  }
  if (stdout.includes('This is an empty migration')) {
    console.log('The migrations make exactly the schema; nothing to write.');
    return 0;
  }
  const count = readdirSync(MIGRATIONS, { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  ).length;
  const target = join(MIGRATIONS, `${String(count + 1).padStart(4, '0')}_${name}`);
  mkdirSync(target);
  writeFileSync(join(target, 'migration.sql'), stdout);
  console.log(
    `Wrote ${target}/migration.sql. Review it; what Prisma cannot say (CHECK, NULLS NOT DISTINCT) is added by hand.`,
  );
  return 0;
}

/** What the schema has beyond the migrations. */
function diff(mode) {
  const prisma = join(ROOT, 'node_modules/.bin/prisma');
  const args = [
    'migrate',
    'diff',
    '--from-migrations',
    MIGRATIONS,
    '--to-schema',
    join(ROOT, 'prisma/schema'),
    mode,
  ];
  return spawnSync(prisma, args, {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, DATABASE_URL: server.url, PRISMA_HIDE_UPDATE_MESSAGE: '1' },
  });
}
