import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { CONFIG, type Config } from '../config/config.js';
import { atMost } from '../config/patience.js';
import { poolConfig } from './connections.js';
import { type Prisma, PrismaClient } from './generated/client.js';
import { PostgresServer } from './postgres-server.js';

/** How long a request may wait for a free connection. */
const POOL_PATIENCE_MS = 10_000;
const DISCONNECT_PATIENCE_MS = 5_000;
/** Statements kept prepared per connection. Lists of every length make ever new texts; those beyond are run unprepared. */
const MOST_PREPARED = 500;
/** Rows come as Prisma gives them: 64-bit integers as bigint. */
const TYPES: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    oid === pg.types.builtins.INT8
      ? BigInt
      : (pg.types.getTypeParser(oid, format) as (text: string) => unknown),
};

/** The pool of database connections of this process. */
@Injectable()
export class PrismaService extends PrismaClient implements OnApplicationShutdown {
  private readonly pool: pg.Pool;
  private readonly preparedName = statementNames('h');

  constructor(
    private readonly server: PostgresServer,
    @Inject(CONFIG) config: Config,
  ) {
    const pool = new pg.Pool(poolConfig(server.url, config));
    super({
      adapter: new PrismaPg(
        pool,
        // Idle connections break when the database restarts; the pool replaces them, which is all that has to happen.
        {
          disposeExternalPool: true,
          statementNameGenerator: statementNames('s'),
          onPoolError: () => undefined,
          onConnectionError: () => undefined,
        },
      ),
      transactionOptions: { maxWait: POOL_PATIENCE_MS, timeout: 60_000 },
    });
    this.pool = pool;
    pool.on('error', () => undefined);
  }

  /**
   * One statement, prepared once per connection, on the pool Prisma itself uses: a quarter of the processor time of
   * `$queryRaw`, for what every request of a hot path runs. The text must not grow with its values.
   */
  async prepared<Row>(statement: Prisma.Sql): Promise<Row[]> {
    const { text, values } = statement;
    const { rows } = await this.pool.query<never>({
      name: this.preparedName({ sql: text }),
      text,
      values,
      types: TYPES,
    });
    return rows;
  }

  /** @throws when the database does not answer a query */
  async check(): Promise<void> {
    await this.$queryRaw`SELECT 1`;
  }

  /** After the doors closed and the jobs ended, which Nest does in earlier steps of the shutdown. */
  async onApplicationShutdown(): Promise<void> {
    // A query that waits for a database that hangs must not hold up the end.
    await this.disconnect();
    await this.server.stop();
  }

  protected async disconnect(): Promise<void> {
    await atMost(DISCONNECT_PATIENCE_MS, this.$disconnect());
    if (!this.pool.ended) void this.pool.end().catch(() => undefined);
  }
}

/** The same text always gets the same name; an empty name means: do not keep it prepared. */
function statementNames(prefix: string): (query: { sql: string }) => string {
  const names = new Map<string, string>();
  return ({ sql }) => {
    const known = names.get(sql);
    if (known !== undefined || names.size >= MOST_PREPARED) return known ?? '';
    const name = `${prefix}${names.size}`;
    names.set(sql, name);
    return name;
  };
}
