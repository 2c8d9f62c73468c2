import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { isUnavailable, sqlState } from './database-errors.js';

/** The database's structure and this release's migrations do not fit together, or a migration failed. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

/** One migration as a database remembers it. */
export interface MigrationRecord {
  name: string;
  /** SHA-256 of the file, hex. */
  checksum: string;
}

interface Migration extends MigrationRecord {
  sql: string;
}

interface AppliedMigration {
  migration_name: string;
  checksum: string;
  finished: boolean;
  rolled_back: boolean;
}

/** The advisory lock Prisma's own `migrate deploy` takes: both exclude each other. */
export const MIGRATION_LOCK = 72707369;
/**
 * How long a migration may wait for a table that replicas of the release before are using: everybody else's statements on it
 * queue up behind it meanwhile.
 */
const TABLE_PATIENCE_MS = 2_000;
const TABLE_ATTEMPTS = 30;
const CONNECT_PATIENCE_MS = 60_000;
const RETRY_MS = 500;

/** Beside `src` and `dist` alike. */
const MIGRATIONS = join(import.meta.dirname, '../../prisma/migrations');

/** The table as Prisma defines it, so that `prisma migrate status` agrees with what was done here. */
const MIGRATION_TABLE = `
  CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    "id" VARCHAR(36) NOT NULL PRIMARY KEY,
    "checksum" VARCHAR(64) NOT NULL,
    "finished_at" TIMESTAMPTZ,
    "migration_name" VARCHAR(255) NOT NULL,
    "logs" TEXT,
    "rolled_back_at" TIMESTAMPTZ,
    "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
    "applied_steps_count" INTEGER NOT NULL DEFAULT 0
  )`;

/**
 * Brings a database to this release's structure. Any number of processes may call it at once: one migrates, the others wait.
 * Each migration, its record and its lock are one transaction: a kill at any moment leaves it done or not begun, and a pooler
 * that gives every transaction another connection is no obstacle.
 *
 * @param folder holds one folder per migration, applied in the order of their names
 * @returns the names of the migrations applied now
 * @throws MigrationError when an applied migration was changed, failed under the Prisma CLI, or is of a newer release
 */
export async function applyMigrations(connectionString: string, folder = MIGRATIONS): Promise<string[]> {
  const migrations = await readMigrations(folder);
  const client = await connect(connectionString);
  try {
    const names: string[] = [];
    for (let attempt = 1; ;) {
      try {
        const name = await applyNext(client, migrations);
        if (name === undefined) return names;
        names.push(name);
        attempt = 1;
      } catch (error) {
        await client.query('ROLLBACK').catch(() => undefined);
        if (!isInTheWay(error) || attempt >= TABLE_ATTEMPTS) throw error;
        attempt += 1;
        await sleep(RETRY_MS);
      }
    }
  } finally {
    await client.end();
  }
}

/** @returns the name of the migration that was applied, or undefined when none is missing */
async function applyNext(client: pg.Client, migrations: Migration[]): Promise<string | undefined> {
  await client.query('BEGIN');
  await client.query('SET LOCAL client_min_messages = warning');
  await client.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
  await client.query(MIGRATION_TABLE);
  const applied = await readApplied(client);
  assertApplicable(migrations, applied);
  const next = migrations.find(({ name }) => !applied.has(name));
  if (next) await apply(client, next);
  await client.query('COMMIT');
  return next?.name;
}

/** Waited too long for a table, or lost a deadlock: whoever was in the way will be gone. */
function isInTheWay(error: unknown): boolean {
  return error instanceof MigrationError && /^(55P03|40P01)$/.test(sqlState(error.cause) ?? '');
}

/** What a database has, in order; null where nothing was ever applied. */
export async function appliedMigrations(client: pg.Client): Promise<MigrationRecord[] | null> {
  const { rows } = await client.query<{ there: boolean }>(
    `SELECT to_regclass('"_prisma_migrations"') IS NOT NULL AS there`,
  );
  if (!rows[0]!.there) return null;
  return [...(await readApplied(client)).values()]
    .map(({ migration_name: name, checksum }) => ({ name, checksum }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Applies exactly these in the caller's transaction, to a database that has none: its structure is then that of an earlier release.
 * @throws MigrationError when this release does not know one of them, or one of them otherwise
 */
export async function applyExactly(
  client: pg.Client,
  wanted: MigrationRecord[],
  folder = MIGRATIONS,
): Promise<void> {
  const known = new Map((await readMigrations(folder)).map((migration) => [migration.name, migration]));
  const migrations = wanted.map(({ name, checksum }) => {
    const migration = known.get(name);
    if (migration?.checksum === checksum) return migration;
    throw new MigrationError(
      `The migration ${name} is not one this release knows: the data are of a newer one.`,
    );
  });
  await client.query(MIGRATION_TABLE);
  for (const migration of migrations) await applyWithin(client, migration);
}

async function readMigrations(folder: string): Promise<Migration[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(
    names.sort().map(async (name) => {
      const sql = await readFile(join(folder, name, 'migration.sql'), 'utf8');
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

/** A database that is only just starting, as it does beside us in a compose stack, is waited for. */
async function connect(connectionString: string): Promise<pg.Client> {
  for (const deadline = Date.now() + CONNECT_PATIENCE_MS; ; await sleep(RETRY_MS)) {
    const client = new pg.Client({ connectionString, connectionTimeoutMillis: 10_000 });
    client.on('error', () => undefined); // also reported by the query that fails
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => undefined);
      if (!isUnavailable(error) || Date.now() > deadline) throw error;
    }
  }
}

async function readApplied(client: pg.Client): Promise<Map<string, AppliedMigration>> {
  const { rows } = await client.query<AppliedMigration>(
    `SELECT migration_name, checksum, finished_at IS NOT NULL AS finished, rolled_back_at IS NOT NULL AS rolled_back
       FROM "_prisma_migrations"`,
  );
  return new Map(rows.filter((row) => !row.rolled_back).map((row) => [row.migration_name, row]));
}

function assertApplicable(migrations: Migration[], applied: Map<string, AppliedMigration>): void {
  const known = new Map(migrations.map((migration) => [migration.name, migration]));
  for (const { migration_name: name, checksum, finished } of applied.values()) {
    if (!finished) {
      throw new MigrationError(
        `The migration ${name} was begun by another tool and did not finish; resolve it with "prisma migrate resolve".`,
      );
    }
    const migration = known.get(name);
    if (!migration) {
      throw new MigrationError(
        `The database has the migration ${name}, which this release does not know: it was used by a newer one.`,
      );
    }
    if (migration.checksum !== checksum) {
      throw new MigrationError(
        `The migration ${name} was changed after it had been applied to this database.`,
      );
    }
  }
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  try {
    await client.query(`SET LOCAL lock_timeout = ${TABLE_PATIENCE_MS}`);
    await applyWithin(client, migration);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MigrationError(`The migration ${migration.name} failed, nothing of it was kept: ${reason}`, {
      cause,
    });
  }
}

async function applyWithin(client: pg.Client, { name, sql, checksum }: Migration): Promise<void> {
  await client.query(sql);
  await client.query(
    `INSERT INTO "_prisma_migrations" (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
     VALUES ($1, $2, $3, now(), clock_timestamp(), 1)`,
    [randomUUID(), checksum, name],
  );
}
