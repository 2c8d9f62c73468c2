import { Injectable } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PinoLogger } from 'nestjs-pino';
import type { Logger } from 'pino';
import { loggedUrl } from './logger.js';
import { Metrics } from './metrics.js';

/** One line and one measurement per request, however it ends. */
@Injectable()
export class RequestLog {
  private readonly logger: Logger;

  constructor(
    private readonly metrics: Metrics,
    pino: PinoLogger,
  ) {
    // Its lines are made of chosen parts only, so there is nothing to look for and cover up.
    this.logger = pino.logger.child({ context: 'Request' }, { redact: [] });
  }

  /** Call it after `registerRequestId` and before any other hook, so that refusals are seen as well. */
  register(instance: FastifyInstance): void {
    instance.addHook('onRequest', (request, reply, done) => {
      this.follow(request, reply);
      done();
    });
  }

  private follow(request: FastifyRequest, reply: FastifyReply): void {
    const beganAt = performance.now();
    const { socket } = request.raw;
    // The header block of this request has been read already, and counts for nothing here.
    const { bytesRead, bytesWritten } = socket;
    this.metrics.requestBegan();
    // `close` comes exactly once, after the last byte or when the connection broke; Fastify's onResponse misses the latter.
    reply.raw.once('close', () => {
      const { door, operation } = labelsOf(request);
      const aborted = !reply.raw.writableFinished;
      const measure = {
        door,
        operation,
        status: aborted ? 'aborted' : String(reply.statusCode),
        seconds: (performance.now() - beganAt) / 1000,
        receivedBytes:
          (!aborted && Number(request.headers['content-length'])) || socket.bytesRead - bytesRead,
        sentBytes: socket.bytesWritten - bytesWritten,
      };
      this.metrics.requestEnded(measure);
      this.write(request, reply, measure, aborted);
    });
  }

  private write(request: FastifyRequest, reply: FastifyReply, measure: Measure, aborted: boolean): void {
    const line = {
      msg: aborted ? 'The client went away' : 'Served',
      requestId: request.id,
      operation: measure.operation,
      method: request.raw.method,
      url: loggedUrl(request.originalUrl),
      status: aborted ? undefined : reply.statusCode,
      ms: Math.round(measure.seconds * 1000),
      receivedBytes: measure.receivedBytes,
      sentBytes: measure.sentBytes,
      remoteAddress: request.ip,
      accessKeyId: callerOf(request),
    };
    if (reply.statusCode >= 500 && !aborted) this.logger.error(line);
    else this.logger.info(line);
  }
}

type Measure = Parameters<Metrics['requestEnded']>[0];

function labelsOf(request: FastifyRequest): { door: string; operation: string } {
  const { door, operation } = request.routeOptions.config as { door?: string; operation?: string };
  return { door: door ?? 'none', operation: operation ?? 'none' };
}

/** Read structurally: who called is for `identity` to define. */
function callerOf(request: FastifyRequest): string | undefined {
  return (request as { caller?: { principal: { accessKeyId: string } } }).caller?.principal.accessKeyId;
}
