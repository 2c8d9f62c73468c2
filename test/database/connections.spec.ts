import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { loadConfig } from '../../src/config/config.js';
import { poolConfig } from '../../src/database/connections.js';
import { createDatabase, type TestDatabase } from '../support/postgres.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

async function limitsAt(url: string, env: Record<string, string> = {}): Promise<string[]> {
  const pool = new pg.Pool(poolConfig(url, loadConfig({ DATABASE_URL: url, ...env })));
  try {
    const { rows } = await pool.query<{ setting: string }>(
      `SELECT setting FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')
        ORDER BY name`,
    );
    return rows.map(({ setting }) => setting);
  } finally {
    await pool.end();
  }
}

describe('a connection that requests share', () => {
  it('has limits for idle transactions, locks and statements', async () => {
    expect(await limitsAt(database.url)).toEqual(['15000', '10000', '30000']);
    expect(await limitsAt(database.url, { STOWAGE_DATABASE_TIMEOUT_SECONDS: '6' })).toEqual([
      '3000',
      '2000',
      '6000',
    ]);
  });

  it('has those that its URL gives', async () => {
    const url = new URL(database.url);
    url.searchParams.set('statement_timeout', '123456');
    expect(await limitsAt(url.toString())).toEqual(['15000', '10000', '123456']);
  });
});
