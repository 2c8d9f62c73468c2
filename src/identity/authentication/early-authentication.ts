import { NotFoundException } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import { routeAccess } from '../authorization/route-access.js';
import { Authenticator } from './authenticator.js';

/**
 * Refuses before a byte of the body is read: requests for no route, without a credential, with a malformed or outdated
 * one, or of an unknown key. Guards alone would come too late, for a body that is buffered has been read by then.
 * Covers every route of the instance, those registered without Nest too. Call it before the application listens.
 */
export function registerEarlyAuthentication(instance: FastifyInstance, authenticator: Authenticator): void {
  instance.addHook('onRequest', async (request) => {
    if (request.is404) throw new NotFoundException();
    const access = routeAccess(request.routeOptions.config);
    if (!access.public) await authenticator.admit(request, access.door);
  });
}
