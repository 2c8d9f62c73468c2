import { randomUUID } from 'node:crypto';
import pg from 'pg';

export interface TestDatabase {
  url: string;
  drop(): Promise<void>;
}

/** A database of one's own, with this release's structure and no rows; or with nothing in it at all. */
export async function createDatabase(structure: 'migrated' | 'empty' = 'migrated'): Promise<TestDatabase> {
  const template = requiredEnvironment('STOWAGE_TEST_TEMPLATE_URL');
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const source = structure === 'migrated' ? databaseOf(template) : 'template0';
  await administer(template, `CREATE DATABASE ${name} TEMPLATE ${source}`);
  return {
    url: inDatabase(template, name),
    drop: () => administer(template, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

export function requiredEnvironment(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the tests with "npm test"`);
  return value;
}

/** From another database, since one that is connected to cannot be copied. */
async function administer(template: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: inDatabase(template, 'postgres') });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function databaseOf(url: string): string {
  return new URL(url).pathname.slice(1);
}

function inDatabase(url: string, name: string): string {
  const target = new URL(url);
  target.pathname = `/${name}`;
  return target.toString();
}
