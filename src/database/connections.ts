import pg from 'pg';
import type { Config } from '../config/config.js';
import { isSpoilt } from './database-errors.js';

/** Milliseconds without a sign of life after which the other machine is asked for one. */
const KEEP_ALIVE_MS = 10_000;

/**
 * Every statement of a request is written for an index and a few rows. A prepared plan outlives the sizes it was made for, so
 * what is only right for small tables (reading all of one, or two at once) is never chosen.
 */
const PLANS = '-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off';

export interface PoolSettings extends Pick<
  Config,
  'STOWAGE_DATABASE_CONNECTIONS' | 'STOWAGE_DATABASE_TIMEOUT_SECONDS'
> {
  /** Where statements may take longer than requests have time. */
  statementSeconds?: number;
}

/**
 * A pool of connections. Whatever can be waited for has an end, so that a database that hangs, or another one's lock,
 * holds no request for ever: the server ends statements, waits for locks and transactions whose client is gone; this side
 * ends what the server does not answer. What the URL says of these prevails.
 */
export function poolConfig(url: string, config: PoolSettings): pg.PoolConfig {
  const patienceMs = config.STOWAGE_DATABASE_TIMEOUT_SECONDS * 1000;
  const statementMs = config.statementSeconds ? config.statementSeconds * 1000 : patienceMs;
  return {
    connectionString: url,
    max: config.STOWAGE_DATABASE_CONNECTIONS,
    connectionTimeoutMillis: Math.ceil(patienceMs / 3),
    lock_timeout: Math.ceil(patienceMs / 3),
    // Locks of a machine that vanished in the middle of a transaction hold up all others until then.
    idle_in_transaction_session_timeout: Math.ceil(patienceMs / 2),
    statement_timeout: statementMs,
    // The server's own limit comes first, where there still is a server.
    query_timeout: Math.ceil((statementMs * 7) / 6),
    options: PLANS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    Client: Connection as unknown as new () => pg.ClientBase,
  };
}

/**
 * Connections whose sessions hold locks. The server ends the session of a process that is killed at once; of a machine that
 * vanished it would wait for hours to hear, and nobody else could have its locks: it asks for a sign of life and gives up after
 * 40 seconds.
 *
 * @param patienceMs how long a connection, and the answer to a statement, may take
 */
export function sessionPoolConfig(url: string, max: number, patienceMs: number): pg.PoolConfig {
  return {
    connectionString: url,
    max,
    connectionTimeoutMillis: patienceMs,
    query_timeout: patienceMs,
    options: '-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3',
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
  };
}

const Base = pg.Client as unknown as new (config?: pg.ClientConfig) => {
  query(...parameters: unknown[]): unknown;
  end(): Promise<void>;
};

/**
 * A connection that ends itself when it is of no use to anybody: the pool ends those of its own failed queries, but would take
 * back one that failed in a transaction, and hand it to the next request.
 */
class Connection extends Base {
  override query(...parameters: unknown[]): unknown {
    const result = super.query(...parameters);
    if (result instanceof Promise)
      result.catch((error: unknown) => isSpoilt(error) && void this.end().catch(() => undefined));
    return result;
  }
}
