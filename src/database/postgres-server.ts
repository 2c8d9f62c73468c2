import { Logger } from '@nestjs/common';
import type { Config } from '../config/config.js';
import { waitFor } from '../config/startup-patience.js';
import { startEmbeddedPostgres } from './embedded-postgres.js';
import { joinEmbeddedPostgres } from './join-embedded-postgres.js';
import { applyMigrations } from './migrate.js';
import { assertSessions } from './sessions.js';

/** Connections beside Prisma's own pool: the job queue's, migrations, an operator's. */
const SPARE_CONNECTIONS = 60;

/** The migrated database of this process; a class, so that it can be injected by type. */
export class PostgresServer {
  constructor(
    /** For `pg` and everything built on it. */
    readonly url: string,
    /** Ends the server if it is ours, after everybody let go of it. */
    readonly stop: () => Promise<void> = () => Promise.resolve(),
  ) {}

  /** Connects to the configured PostgreSQL or starts the embedded one, and brings it to this release's structure. */
  static async open(config: Config): Promise<PostgresServer> {
    const logger = new Logger('Database');
    const server = await this.openAsItIs(config);
    try {
      for (const name of await waitFor('database', () => applyMigrations(server.url)))
        logger.log(`Applied the migration ${name}`);
      if (config.DATABASE_URL) await waitFor('database', () => assertSessions(server.url, config));
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  /** The same, whatever its structure: for a restore, which makes it that of the backup. */
  static async openAsItIs(config: Config): Promise<PostgresServer> {
    return config.DATABASE_URL ? new PostgresServer(config.DATABASE_URL) : this.startEmbedded(config);
  }

  private static async startEmbedded(config: Config): Promise<PostgresServer> {
    const logger = new Logger('Database');
    const options = {
      maxConnections: config.STOWAGE_DATABASE_CONNECTIONS + SPARE_CONNECTIONS,
      log: (message: string) => logger.error(message),
    };
    const embedded = config.serves
      ? await startEmbeddedPostgres(config.dataDir, options)
      : await joinEmbeddedPostgres(config.dataDir, options);
    return new PostgresServer(embedded.url, () => embedded.stop());
  }
}
