import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { routeAccess } from '../authorization/route-access.js';
import '../request-caller.decorator.js';
import { Authenticator } from './authenticator.js';

/** Lets through who has proven who they are, and everybody on public routes. */
@Injectable()
export class AuthenticationGuard implements CanActivate {
  constructor(private readonly authenticator: Authenticator) {}

  /** @throws RegistryError of the authentication family */
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const access = routeAccess(request.routeOptions.config);
    if (!access.public) request.caller = await this.authenticator.authenticate(request, access.door);
    return true;
  }
}
