import { applyDecorators, RequestMapping, RequestMethod } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';

export type OciMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface OciRouteOptions {
  /** The IAM action the caller needs: the one the same step needs at the ECR door. */
  action: `ecr:${string}`;
  /** Whether the action is on the repository `:name`. Absent: it is, when the path has that parameter. */
  repository?: boolean;
}

/** What `request.routeOptions.config` tells of a route at the OCI door. */
export interface OciRouteConfig {
  door: 'oci';
  /** Label of metrics and logs, for example `oci PATCH :name/blobs/uploads/:upload`. */
  operation: string;
  action: `ecr:${string}`;
  /** Whether the resource is the repository `:name`; `*` otherwise. */
  repository: boolean;
  /** `manifest`: collected into a Buffer of at most 4 MiB; `stream`: handed over unread. */
  body: 'manifest' | 'stream';
}

/**
 * A route of the distribution API under `/v2`. A HEAD route must stand above the GET route of the same path, because
 * Fastify adds a HEAD of its own to every GET.
 */
export function OciRoute(method: OciMethod, path: string, options: OciRouteOptions): MethodDecorator {
  const config: OciRouteConfig = {
    door: 'oci',
    operation: `oci ${method} ${path || '/'}`,
    action: options.action,
    repository: options.repository ?? path.startsWith(':name/'),
    body: method === 'PUT' && path.includes('/manifests/') ? 'manifest' : 'stream',
  };
  return applyDecorators(RequestMapping({ path, method: RequestMethod[method] }), RouteConfig(config));
}
