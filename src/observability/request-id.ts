import { AsyncLocalStorage } from 'node:async_hooks';
import type { FastifyInstance } from 'fastify';

/** What the distribution specification's ancestor asks of every answer below `/v2`; old clients look for it. */
const API_VERSION_HEADER = 'Docker-Distribution-Api-Version';

/** Id of the request whose work runs; absent outside of requests. */
const currentRequest = new AsyncLocalStorage<string>();

export function currentRequestId(): string | undefined {
  return currentRequest.getStore();
}

/**
 * Names every request by Fastify's id, in the answer as in the log. Register it before anything that may refuse a request.
 */
export function registerRequestId(instance: FastifyInstance): void {
  instance.addHook('onRequest', (request, reply, done) => {
    void reply.header('x-amzn-RequestId', request.id);
    if (/^\/v2(?:[/?]|$)/.test(request.originalUrl)) void reply.header(API_VERSION_HEADER, 'registry/2.0');
    currentRequest.run(request.id, done);
  });
}
