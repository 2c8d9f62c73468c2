import { type ArgumentsHost, Catch, type ExceptionFilter, Logger } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { drainAtMost } from './unread-body.js';
import { asRegistryError, renderError, type WireRequest } from './wire-error.js';
import { ERROR_TABLE } from './error-table.js';

/** Turns everything thrown, before or in a controller, into an answer of the dialect the client speaks. */
@Catch()
export class WireErrorFilter implements ExceptionFilter {
  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    answerWithError(thrown, http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>());
  }
}

const logger = new Logger('WireError');

/** Also for Fastify's `frameworkErrors`, which are raised before Nest knows of the request. */
export function answerWithError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const wire = wireRequest(request);
  const error = asRegistryError(thrown, wire);
  if (ERROR_TABLE[error.code].ecr.status >= 500) report(error, thrown, request, wire);
  if (reply.sent || reply.raw.headersSent) {
    // The status line is gone; cutting the connection is the only way left to say that the body is not whole.
    reply.raw.destroy();
    return;
  }
  const { status, headers, body } = renderError(error, wire);
  if (!reply.hasHeader('x-amzn-RequestId')) void reply.header('x-amzn-RequestId', request.id);
  // A controller may have announced a representation that is not the one sent now.
  for (const stale of ['content-length', 'content-range', 'etag', 'docker-content-digest'])
    void reply.removeHeader(stale);
  void reply.status(status).headers(headers);
  drainAtMost(request.raw, reply.raw);
  // Never a string: Fastify would append a charset to the content type.
  void reply.send(wire.method === 'HEAD' ? undefined : body);
}

export function wireRequest(request: FastifyRequest): WireRequest {
  return {
    method: request.raw.method ?? request.method,
    url: request.originalUrl,
    host: request.headers.host ?? '',
    target: request.headers['x-amz-target'],
  };
}

function report(error: Error, thrown: unknown, request: FastifyRequest, wire: WireRequest): void {
  const context = { requestId: request.id, method: wire.method, path: wire.url.split('?', 1)[0] };
  // A client that went away makes reads and writes fail; that is no fault of ours.
  if (request.raw.socket.destroyed) logger.debug({ msg: 'The client closed the connection', ...context });
  else logger.error({ msg: error.message, ...context, err: error.cause ?? thrown });
}
