import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { type PoolSettings, poolConfig } from './connections.js';
import { sqlState } from './database-errors.js';

/** DATABASE_URL leads to a pooler that does not give what is needed. */
export class PoolerError extends Error {
  override readonly name = 'PoolerError';
}

const SEE = 'docs/operations/replicas.md shows settings that do';
const PROTOCOL_VIOLATION = '08P01';

/**
 * Makes sure that a connection is a session of its own. Behind a pooler that gives every transaction another one, a statement
 * that this process prepared would be looked for where another process prepared something else under the same name, and the
 * lock of a job would be held by nobody in particular.
 *
 * @throws PoolerError when it is none, or when the pooler does not let the settings of a session pass
 */
export async function assertSessions(url: string, config: PoolSettings): Promise<void> {
  const pool = new pg.Pool({ ...poolConfig(url, config), max: 2 });
  pool.on('error', () => undefined);
  const clients: pg.PoolClient[] = [];
  try {
    clients.push(await pool.connect(), await pool.connect());
    const [one, other] = clients as [pg.PoolClient, pg.PoolClient];
    const mark = randomUUID();
    await one.query("SELECT set_config('stowage.session', $1, false)", [mark]);
    // Held by its transaction, the session that a pooler gave away last is not given to the first one again.
    await other.query('BEGIN');
    if ((await markOf(other)) === mark || (await markOf(one)) !== mark)
      throw new PoolerError(
        `DATABASE_URL leads to a pooler that gives every transaction another session. Stowage needs sessions of its own; ${SEE}.`,
      );
    await other.query('ROLLBACK');
  } catch (error) {
    if (sqlState(error) === PROTOCOL_VIOLATION)
      throw new PoolerError(
        `DATABASE_URL leads to a pooler that refuses the settings of a session (${(error as Error).message}); ${SEE}.`,
        { cause: error },
      );
    throw error;
  } finally {
    for (const client of clients) client.release(true);
    await pool.end();
  }
}

async function markOf(client: pg.PoolClient): Promise<string | null> {
  const { rows } = await client.query<{ mark: string | null }>(
    "SELECT current_setting('stowage.session', true) AS mark",
  );
  return rows[0]!.mark;
}
