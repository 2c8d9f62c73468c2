import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import fastify, { type FastifyInstance } from 'fastify';
import { CONFIG, type Config } from '../config/config.js';
import { Metrics } from './metrics.js';
import { Readiness } from './readiness.js';

/**
 * The operator's port, apart from the clients' so that it need not be reachable for them: `/livez`, `/readyz`, `/metrics`.
 * It opens before the clients' port and closes after it, to tell of both.
 */
@Injectable()
export class OperatorServer implements OnApplicationBootstrap, OnApplicationShutdown {
  /** Once it is open; with port 0 the system chose. */
  url: string | undefined;
  private readonly server: FastifyInstance;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    metrics: Metrics,
    readiness: Readiness,
  ) {
    this.server = fastify({ forceCloseConnections: true });
    this.server.get('/livez', () => ({ alive: true }));
    this.server.get('/readyz', async (_request, reply) => {
      const report = await readiness.report();
      return reply.status(report.ready ? 200 : 503).send(report);
    });
    this.server.get('/metrics', async (_request, reply) => {
      return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
    });
  }

  /** @throws when the port is taken */
  async onApplicationBootstrap(): Promise<void> {
    if (!this.config.serves) return;
    this.url = await this.server.listen({
      host: this.config.STOWAGE_OPERATOR_HOST,
      port: this.config.STOWAGE_OPERATOR_PORT,
    });
    new Logger('Operator').log(`Operator port: ${this.url}`);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.server.close();
  }
}
