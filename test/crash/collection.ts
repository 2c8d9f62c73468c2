import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { environment } from '../../src/config/config.js';
import type { Config } from '../../src/config/config.js';
import { PostgresServer } from '../../src/database/postgres-server.js';
import { PrismaService } from '../../src/database/prisma.service.js';
import type { RegistryProcess } from '../support/registry-process.js';
import { until } from './kills.js';
import type { Finding } from './ledger.js';
import type { StoredBytes } from './stored-bytes.js';
import type { Content } from './world.js';

/** Later rounds remove what earlier ones handed over: an upload that expires leaves an object, which is an orphan then. */
const MOST_ROUNDS = 4;
const JOB_PATIENCE_MS = 30_000;

/** Settings under which everything is old at once. */
export function impatience(): Record<string, string> {
  const graces = Object.keys(environment.shape).filter((name) => /_(EXPIRY|GRACE|LAYER)_HOURS$/.test(name));
  return { ...Object.fromEntries(graces.map((name) => [name, '0.000001'])), STOWAGE_UNDELETE_WINDOW: '0' };
}

/** The embedded database of a registry, past the registry. */
export async function inDatabase<Result>(
  { environment: { dataDir } }: RegistryProcess,
  work: (prisma: PrismaService) => Promise<Result>,
): Promise<Result> {
  const home = join(dataDir, 'postgres');
  const password = readFileSync(join(home, 'password'), 'utf8');
  const url = `postgresql://stowage:${password}@localhost/stowage?host=${encodeURIComponent(home)}`;
  const prisma = new PrismaService(new PostgresServer(url), {
    STOWAGE_DATABASE_CONNECTIONS: 2,
    STOWAGE_DATABASE_TIMEOUT_SECONDS: 60,
  } as Config);
  try {
    return await work(prisma);
  } finally {
    await prisma.$disconnect();
  }
}

/** All scheduled jobs at once, as if their times had come together. */
export async function startJobs(registry: RegistryProcess): Promise<void> {
  await inDatabase(registry, async (prisma) => {
    await letTimePass(prisma);
    await prisma.$executeRaw`
      SELECT graphile_worker.add_job(identifier, job_key => identifier)
      FROM graphile_worker._private_known_crontabs`;
  });
}

/** Until the store holds what the rows name, or the jobs have had their chances. */
export async function collectEverything(registry: RegistryProcess, stored: StoredBytes): Promise<void> {
  for (let round = 1; round <= MOST_ROUNDS; round += 1) {
    await startJobs(registry);
    await inDatabase(registry, async (prisma) => {
      await until(async () => (await waitingJobs(prisma)).length === 0, JOB_PATIENCE_MS).catch(async () => {
        throw new Error(`Jobs do not come to their end: ${JSON.stringify(await waitingJobs(prisma))}`);
      });
    });
    if ((await judgeStore(registry, stored, undefined)).length === 0) return;
  }
}

/** The store holds the objects the rows name and nothing else; and the rows are those of layers somebody holds on to. */
export async function judgeStore(
  registry: RegistryProcess,
  stored: StoredBytes,
  contents: ReadonlyMap<string, Content> | undefined,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const leaked = (text: string): void => void findings.push({ kind: 'leaked', text });
  await inDatabase(registry, async (prisma) => {
    const rows = await prisma.$queryRaw<{ id: bigint; key: string; digest: string; size: bigint }[]>`
      SELECT id, object_key AS key, 'sha256:' || sha256 AS digest, size_bytes AS size FROM blob`;
    const objects = await stored.objects();
    const named = new Set(rows.map(({ key }) => key));
    for (const key of objects.keys()) if (!named.has(key)) leaked(`no row names the object ${key}`);
    for (const unfinished of await stored.unfinished()) leaked(`unfinished in the store: ${unfinished}`);
    for (const { key, digest, size } of rows)
      if (objects.get(key) !== Number(size))
        findings.push({ kind: 'lost', text: `${digest} has no object of ${size} bytes at ${key}` });
    const held = await heldBlobs(prisma);
    for (const { id, digest } of rows) if (!held.has(id)) leaked(`nobody holds on to the row of ${digest}`);
    for (const { digest } of rows)
      if (contents && !contents.has(digest)) leaked(`nobody ever pushed ${digest}`);
    const open = await prisma.upload.count({ where: { state: 'open' } });
    if (open > 0) leaked(`${open} uploads are open that should have expired`);
  });
  return findings;
}

/** By any table that refers to blobs: links of repositories, and whatever else may keep a layer alive. */
async function heldBlobs(prisma: PrismaService): Promise<Set<bigint>> {
  const references = await prisma.$queryRaw<{ table: string; column: string }[]>`
    SELECT c.conrelid::regclass::text AS table, a.attname::text AS column
    FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
    WHERE c.contype = 'f' AND c.confrelid = 'blob'::regclass`;
  const held = new Set<bigint>();
  for (const { table, column } of references) {
    const rows = await prisma.$queryRawUnsafe<{ id: bigint }[]>(
      `SELECT DISTINCT "${column}" AS id FROM ${table}`,
    );
    for (const { id } of rows) held.add(id);
  }
  return held;
}

/** What a failed or dead attempt put off comes due. */
async function letTimePass(prisma: PrismaService): Promise<void> {
  const tables = await prisma.$queryRaw<{ name: string }[]>`
    SELECT table_name::text AS name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'not_before'`;
  for (const { name } of tables) await prisma.$executeRawUnsafe(`UPDATE "${name}" SET not_before = now()`);
}

/** A job whose worker died stays behind without its key, which the next one got. */
async function waitingJobs(prisma: PrismaService): Promise<{ task: string; error: string | null }[]> {
  return prisma.$queryRaw`
    SELECT task_identifier AS task, attempts, last_error AS error, locked_at::text AS locked
    FROM graphile_worker.jobs WHERE key IS NOT NULL`;
}
