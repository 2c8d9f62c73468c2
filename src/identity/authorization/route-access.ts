import type { ResourceNaming } from '../../protocols/ecr/ecr-operation.decorator.js';
import type { Door } from '../../protocols/route-address.js';

/** Who may use a route, as its RouteConfig declares it. */
export type RouteAccess =
  | { public: true }
  | { public: false; door: 'ecr'; action: string; resources: ResourceNaming }
  | { public: false; door: 'oci'; action: string; repository: boolean };

interface Declared {
  public?: boolean;
  door?: Door;
  action?: string;
  resources?: ResourceNaming;
  repository?: boolean;
}

/**
 * @param config RouteConfig of a route
 * @throws Error when it declares neither an action nor that it is public, or both
 */
export function routeAccess(config: unknown): RouteAccess {
  const declared = (config ?? {}) as Declared;
  const { action, door } = declared;
  if (declared.public === true) {
    if (action !== undefined) throw new Error('is public, yet declares an action');
    return { public: true };
  }
  if (!action) throw new Error('declares no action and is not public');
  if (door === 'ecr' && declared.resources) {
    return { public: false, door, action, resources: declared.resources };
  }
  if (door === 'oci' && declared.repository !== undefined) {
    return { public: false, door, action, repository: declared.repository };
  }
  throw new Error('declares an action, but not at which door or on which resources');
}
