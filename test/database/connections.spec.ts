import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { loadConfig } from '../../src/config/config.js';
import { poolConfig, sessionPoolConfig } from '../../src/database/connections.js';
import { createDatabase, type TestDatabase } from '../support/postgres.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

async function settingsOf(config: pg.PoolConfig, ...names: string[]): Promise<string[]> {
  const pool = new pg.Pool(config);
  try {
    // What the session began with; over the tests' socket some have no effect, and are shown as 0.
    const { rows } = await pool.query<{ setting: string }>(
      'SELECT reset_val AS setting FROM pg_settings WHERE name = ANY($1) ORDER BY name',
      [names],
    );
    return rows.map(({ setting }) => setting);
  } finally {
    await pool.end();
  }
}

function limitsAt(url: string, env: Record<string, string> = {}): Promise<string[]> {
  return settingsOf(
    poolConfig(url, loadConfig({ DATABASE_URL: url, ...env })),
    'statement_timeout',
    'lock_timeout',
    'idle_in_transaction_session_timeout',
  );
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

describe('a connection whose session holds the lock of a job', () => {
  it('is given up by the server within a minute when its machine vanishes', async () => {
    const [count, idle, interval] = await settingsOf(
      sessionPoolConfig(database.url, 1, 5_000),
      'tcp_keepalives_idle',
      'tcp_keepalives_interval',
      'tcp_keepalives_count',
    );
    expect(Number(idle)).toBeGreaterThan(0);
    expect(Number(idle) + Number(interval) * Number(count)).toBeLessThan(60);
  });
});
