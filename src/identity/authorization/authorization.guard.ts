import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { isEcrBody } from '../../protocols/ecr/ecr-body.js';
import type { Caller } from '../caller.js';
import '../request-caller.decorator.js';
import { Authorizer } from './authorizer.js';
import { ecrResourceArns, ociResourceArn } from './resource-arns.js';
import { routeAccess, type RouteAccess } from './route-access.js';

/** Asks the {@link Authorizer} for the action of the route on every resource the request names. */
@Injectable()
export class AuthorizationGuard implements CanActivate {
  constructor(private readonly authorizer: Authorizer) {}

  /** @throws RegistryError AccessDenied */
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const access = routeAccess(request.routeOptions.config);
    if (access.public) return true;
    if (!request.caller) throw new Error('The request has not been authenticated');
    for (const arn of resourceArns(request, access, request.caller)) {
      await this.authorizer.authorize(request.caller.principal, access.action, arn);
    }
    return true;
  }
}

function resourceArns(
  request: FastifyRequest,
  access: Exclude<RouteAccess, { public: true }>,
  caller: Caller,
): string[] {
  if (access.door === 'oci') {
    const { name } = request.params as { name?: string };
    if (access.repository && name === undefined) throw new Error('The route has no parameter :name');
    return [ociResourceArn(access.repository ? name : undefined, caller)];
  }
  const document = isEcrBody(request.body) ? request.body.document : undefined;
  const isObject = typeof document === 'object' && document !== null && !Array.isArray(document);
  const input = isObject ? (document as Record<string, unknown>) : {};
  return ecrResourceArns(access.resources(input), input, caller);
}
