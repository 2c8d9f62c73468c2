import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import pg from 'pg';
import { applyMigrations, MigrationError } from '../../src/database/migrate.js';
import { createDatabase, type TestDatabase } from '../support/postgres.js';

let folder: string;
let database: TestDatabase;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'stowage-migrations-'));
  database = await createDatabase();
  cpSync('prisma/migrations', folder, { recursive: true });
});

afterEach(async () => {
  await database.drop();
  rmSync(folder, { recursive: true });
});

describe('applyMigrations', () => {
  it('applies a migration once, however many processes start together', async () => {
    write('0100_more', 'CREATE TABLE more (id int); INSERT INTO more VALUES (1); SELECT pg_sleep(0.2)');
    const applied = await Promise.all(Array.from({ length: 6 }, () => applyMigrations(database.url, folder)));
    expect(applied.flat()).toEqual(['0100_more']);
    expect(await rows('SELECT id FROM more')).toEqual([{ id: 1 }]);
  });

  it('keeps nothing of a migration that fails, and can be repeated', async () => {
    write('0100_more', 'CREATE TABLE more (id int); SELECT 1 / 0');
    await expect(applyMigrations(database.url, folder)).rejects.toThrow('division by zero');
    expect(await rows(`SELECT to_regclass('more') AS more`)).toEqual([{ more: null }]);
    write('0100_more', 'CREATE TABLE more (id int)');
    expect(await applyMigrations(database.url, folder)).toEqual(['0100_more']);
  });

  it('refuses a migration that was changed after it had been applied', async () => {
    write('0100_more', 'CREATE TABLE more (id int)');
    await applyMigrations(database.url, folder);
    write('0100_more', 'CREATE TABLE more (id bigint)');
    await expect(applyMigrations(database.url, folder)).rejects.toThrow(MigrationError);
  });

  it('refuses a database that a newer release has migrated', async () => {
    write('0100_more', 'CREATE TABLE more (id int)');
    await applyMigrations(database.url, folder);
    rmSync(join(folder, '0100_more'), { recursive: true });
    await expect(applyMigrations(database.url, folder)).rejects.toThrow(
      '0100_more, which this release does not know',
    );
  });

  it('leaves a database that the official command line agrees with', () => {
    const status = execFileSync(resolve('node_modules/.bin/prisma'), ['migrate', 'status'], {
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '', DATABASE_URL: database.url },
    });
    expect(status).toContain('Database schema is up to date');
  });
});

function write(name: string, sql: string): void {
  mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, name, 'migration.sql'), sql);
}

async function rows(sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
