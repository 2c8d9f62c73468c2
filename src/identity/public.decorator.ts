import { RouteConfig } from '@nestjs/platform-fastify';
import { FASTIFY_ROUTE_CONFIG_METADATA } from '@nestjs/platform-fastify/constants.js';

/**
 * Opens one route to everybody; a credential that comes along is ignored. Stands in the route's configuration, so that
 * the hook before the body sees it too. Put it above any RouteConfig of the method, which would replace it; a route that
 * lost it this way is refused at start.
 */
export function Public(): MethodDecorator {
  return (target, key, descriptor) => {
    const declared = Reflect.getMetadata(FASTIFY_ROUTE_CONFIG_METADATA, descriptor.value as object) as
      object | undefined;
    RouteConfig({ ...declared, public: true })(target, key, descriptor);
  };
}
