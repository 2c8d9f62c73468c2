import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { applyMigrations } from '../../src/database/migrate.js';
import { createDatabase, type TestDatabase } from '../support/postgres.js';

const OPEN = '00000000-0000-4000-8000-000000000001';
const REFUSED = '00000000-0000-4000-8000-000000000002';
const EMPTY = '00000000-0000-4000-8000-000000000003';

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createDatabase('empty');
  const folder = mkdtempSync(join(tmpdir(), 'stowage-migrations-'));
  cpSync('prisma/migrations', folder, { recursive: true });
  for (const name of readdirSync(folder))
    if (name > '0003' && name < '1') rmSync(join(folder, name), { recursive: true });
  await applyMigrations(database.url, folder);
  rmSync(folder, { recursive: true });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query(`
    INSERT INTO registry (id, account_id, region) VALUES (1, '000000000000', 'us-east-1');
    INSERT INTO repository (id, registry_id, name) VALUES (1, 1, 'app');
    INSERT INTO upload (id, repository_id, staged) VALUES
      ('${OPEN}', 1, '{"key": "k1", "uploadId": "u", "parts": []}'), ('${REFUSED}', 1, '{"committed": "k2", "sizeBytes": 3}'), ('${EMPTY}', 1, NULL);
    INSERT INTO doomed_object (object_key, staged) VALUES ('k3', NULL), (NULL, '{"key": "k4"}'), (NULL, '{"committed": "k5"}')`);
  expect(await applyMigrations(database.url)).toContain('0003_hot_lists');
});

afterAll(async () => {
  await client?.end();
  await database?.drop();
});

describe('a database of the release before', () => {
  it('knows by their keys the objects of its open uploads', async () => {
    expect(await rows('SELECT id::text, staged_key FROM upload ORDER BY id')).toEqual([
      { id: OPEN, staged_key: 'k1' },
      { id: REFUSED, staged_key: 'k2' },
      { id: EMPTY, staged_key: null },
    ]);
  });

  it('knows by their keys the unfinished objects that are to go', async () => {
    expect(await rows('SELECT object_key, staged_key FROM doomed_object ORDER BY id')).toEqual([
      { object_key: 'k3', staged_key: null },
      { object_key: null, staged_key: 'k4' },
      { object_key: null, staged_key: 'k5' },
    ]);
  });
});

describe('an upload', () => {
  it('changes no index with a further append, only where its first byte is stored', async () => {
    const append = (id: string, parts: number): Promise<unknown> =>
      client.query('UPDATE upload SET offset_bytes = offset_bytes + 1, staged = $2 WHERE id = $1', [
        id,
        { key: `of ${id}`, parts: Array.from({ length: parts }, (_, n) => n) },
      ]);
    await client.query('BEGIN');
    await append(EMPTY, 1);
    expect(await withoutIndex()).toBe(0);
    for (const parts of [2, 3]) await append(EMPTY, parts);
    expect(await withoutIndex()).toBe(2);
    await client.query('COMMIT');
    expect(await rows(`SELECT staged_key FROM upload WHERE staged_key = 'of ${EMPTY}'`)).toHaveLength(1);
  });
});

/** How many of the transaction's updates of uploads left all indexes alone. */
async function withoutIndex(): Promise<number> {
  const [row] = await rows(`SELECT pg_stat_get_xact_tuples_hot_updated('upload'::regclass)::int AS count`);
  return (row as { count: number }).count;
}

async function rows(sql: string): Promise<unknown[]> {
  return (await client.query(sql)).rows;
}
