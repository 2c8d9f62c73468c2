import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import type { PoolSettings } from './connections.js';
import { PostgresServer } from './postgres-server.js';
import { PrismaService } from './prisma.service.js';

/** What nobody waits for may take longer than a request's statement. Seconds. */
const STATEMENT_SECONDS = 600;
/** As many as jobs run at once, and one. */
const CONNECTIONS = 5;

/** The same database for scheduled jobs: with connections of their own, so that requests never wait for those, and with patience. */
@Injectable()
export class JobsPrismaService extends PrismaService {
  constructor(server: PostgresServer, @Inject(CONFIG) config: Config) {
    const settings: Config & PoolSettings = {
      ...config,
      STOWAGE_DATABASE_CONNECTIONS: CONNECTIONS,
      statementSeconds: Math.max(STATEMENT_SECONDS, config.STOWAGE_DATABASE_TIMEOUT_SECONDS),
    };
    super(server, settings);
  }

  /** The jobs ended in an earlier step of the shutdown; the server is the other one's to stop. */
  override async onApplicationShutdown(): Promise<void> {
    await this.disconnect();
  }
}
