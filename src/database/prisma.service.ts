import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { PrismaPg } from '@prisma/adapter-pg';
import { CONFIG, type Config } from '../config/config.js';
import { PrismaClient } from './generated/client.js';
import { PostgresServer } from './postgres-server.js';

/** How long a request may wait for a free connection. */
const POOL_PATIENCE_MS = 10_000;
/** Statements kept prepared per connection. Lists of every length make ever new texts; those beyond are run unprepared. */
const MOST_PREPARED = 500;

/** The pool of database connections of this process. */
@Injectable()
export class PrismaService extends PrismaClient implements OnApplicationShutdown {
  constructor(
    private readonly server: PostgresServer,
    @Inject(CONFIG) config: Config,
  ) {
    super({
      adapter: new PrismaPg(
        {
          connectionString: server.url,
          max: config.STOWAGE_DATABASE_CONNECTIONS,
          connectionTimeoutMillis: POOL_PATIENCE_MS,
          keepAlive: true,
        },
        // Idle connections break when the database restarts; the pool replaces them, which is all that has to happen.
        {
          statementNameGenerator: statementNames(),
          onPoolError: () => undefined,
          onConnectionError: () => undefined,
        },
      ),
      transactionOptions: { maxWait: POOL_PATIENCE_MS, timeout: 60_000 },
    });
  }

  /** @throws when the database does not answer a query */
  async check(): Promise<void> {
    await this.$queryRaw`SELECT 1`;
  }

  /** After the doors closed and the jobs ended, which Nest does in earlier steps of the shutdown. */
  async onApplicationShutdown(): Promise<void> {
    await this.$disconnect();
    await this.server.stop();
  }
}

/** The same text always gets the same name; an empty name means: do not keep it prepared. */
function statementNames(): (query: { sql: string }) => string {
  const names = new Map<string, string>();
  return ({ sql }) => {
    const known = names.get(sql);
    if (known !== undefined || names.size >= MOST_PREPARED) return known ?? '';
    const name = `s${names.size}`;
    names.set(sql, name);
    return name;
  };
}
