import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Logger } from 'nestjs-pino';
import { AppModule } from './app.module.js';
import { ByteBudget } from './blob-store/byte-budget.js';
import type { Config } from './config/config.js';
import { Authenticator } from './identity/authentication/authenticator.js';
import { registerEarlyAuthentication } from './identity/authentication/early-authentication.js';
import { registerRequestId } from './observability/request-id.js';
import { Readiness } from './observability/readiness.js';
import { RequestLog } from './observability/request-log.js';
import { limitConnections } from './protocols/connection-limits.js';
import { registerBodyParsers } from './protocols/body-parsers.js';
import { fastifyOptions } from './protocols/http-server-options.js';

const CLOSE_POLL_MS = 100;

export interface Application {
  app: NestFastifyApplication;
  /** Opens the operator's port and, unless this is a worker, the clients'. @returns where clients reach it */
  listen(): Promise<{ url: string }>;
  /**
   * Says that it is not ready and still serves for the drain time; then takes no new requests, lets running ones finish for
   * as long as configured, and ends everything.
   */
  close(): Promise<void>;
}

/** The service, wired and with its database and store ready, not yet listening. */
export async function createApplication(config: Config): Promise<Application> {
  const adapter = new FastifyAdapter(fastifyOptions());
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.with(config), adapter, {
    bodyParser: false,
    bufferLogs: true,
    abortOnError: false,
    routeConflictPolicy: { duplicate: 'error', shadow: 'warn' },
  });
  app.useLogger(app.get(Logger));
  const instance = adapter.getInstance();
  limitConnections(instance, config.STOWAGE_MAX_CONNECTIONS);
  // The order matters: name a request, follow it, make its body harmless, and only then refuse it.
  registerRequestId(instance);
  app.get(RequestLog).register(instance);
  let leaving = false;
  // Who keeps a connection open learns here, between two requests, that the next one is better sent elsewhere.
  instance.addHook('onRequest', (_request, reply, done) => {
    if (leaving) void reply.header('connection', 'close');
    done();
  });
  registerBodyParsers(instance, app.get(ByteBudget));
  registerEarlyAuthentication(instance, app.get(Authenticator));
  return {
    app,
    async listen() {
      if (config.STOWAGE_ROLE === 'worker') {
        await app.init();
        return { url: '' };
      }
      await app.listen(config.STOWAGE_PORT, config.STOWAGE_HOST);
      return { url: await app.getUrl() };
    },
    async close() {
      app.get(Readiness).end();
      leaving = true;
      if (config.STOWAGE_ROLE !== 'worker') await sleep(config.STOWAGE_DRAIN_SECONDS * 1000);
      const server = app.getHttpServer();
      const cutAt = performance.now() + config.STOWAGE_SHUTDOWN_SECONDS * 1000;
      // A connection is idle only once its last answer is out; kept alive, it would hold up the end for a minute. One that
      // still comes when the time is over is cut like those before it.
      const closing = setInterval(() => {
        if (performance.now() < cutAt) server.closeIdleConnections();
        else server.closeAllConnections();
      }, CLOSE_POLL_MS);
      try {
        await app.close();
      } finally {
        clearInterval(closing);
      }
    },
  };
}
