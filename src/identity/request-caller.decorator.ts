import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { Caller } from './caller.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set once the request is authenticated; absent before, and on public routes. */
    caller?: Caller;
  }
}

/** The authenticated {@link Caller} of the request. */
export const RequestCaller = createParamDecorator((_data: unknown, context: ExecutionContext): Caller => {
  const { caller } = context.switchToHttp().getRequest<FastifyRequest>();
  if (!caller)
    throw new Error('This route has no authenticated caller; it must not be public to ask for one');
  return caller;
});
