import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { METHOD_METADATA } from '@nestjs/common/constants.js';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { FASTIFY_ROUTE_CONFIG_METADATA } from '@nestjs/platform-fastify/constants.js';
import { routeAccess } from './route-access.js';

/** Refuses to start a registry with a route of which nobody said who may use it. */
@Injectable()
export class RouteDeclarations implements OnApplicationBootstrap {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
  ) {}

  /** @throws Error naming every such route */
  onApplicationBootstrap(): void {
    const faults = this.discovery
      .getControllers()
      .flatMap(({ metatype }) => (metatype ? this.faultsOf(metatype) : []));
    if (faults.length > 0) throw new Error(`Routes without a clear declaration:\n  ${faults.join('\n  ')}`);
  }

  private faultsOf(controller: object & { name?: string }): string[] {
    const prototype = (controller as { prototype: Record<string, unknown> }).prototype;
    return this.scanner.getAllMethodNames(prototype).flatMap((method) => {
      const handler = prototype[method] as object;
      if (!Reflect.hasMetadata(METHOD_METADATA, handler)) return [];
      try {
        routeAccess(Reflect.getMetadata(FASTIFY_ROUTE_CONFIG_METADATA, handler));
        return [];
      } catch (error) {
        return [`${controller.name}.${method} ${(error as Error).message}`];
      }
    });
  }
}
