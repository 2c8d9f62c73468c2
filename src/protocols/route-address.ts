import type { IncomingMessage } from 'node:http';

/** Prefix of the `X-Amz-Target` header of every ECR request. */
export const ECR_TARGET_PREFIX = 'AmazonEC2ContainerRegistry_V20150921.';

/** Which protocol a request speaks. It decides how it is authenticated and how its errors look. */
export type Door = 'ecr' | 'oci';

const UNROUTABLE = '/unroutable';
const UNKNOWN_OPERATION = '/ecr/unknown-operation';
const OPERATION = /^[A-Za-z]{1,128}$/;

// Greedy, so the last segment that can introduce a resource does: `a/manifests` and `tags` are legal parts of a name.
// Every alternative starts at a fixed word, which keeps the search linear in the length of the path.
const OCI_RESOURCE =
  /^\/v2\/(.+)\/((?:manifests\/[^/]+|blobs\/uploads(?:\/[^/]*)?|blobs\/[^/]+|tags\/list|referrers\/[^/]+)\/?)$/;

/**
 * Where a request is routed: the one place that knows. ECR's operations all arrive at `POST /` and are told apart by a
 * header; each gets a route of its own under `/ecr/`, an address that cannot be reached from the wire. In the OCI
 * distribution API `<name>` may hold slashes; it becomes one encoded path segment, so that it is one route parameter.
 *
 * `request.originalUrl` keeps what the client sent.
 */
export function routeAddress(req: IncomingMessage): string {
  const url = originForm(req.url ?? '/');
  const path = pathOf(url);
  if (isInternal(path)) return UNROUTABLE;
  if (path === '/' && req.method === 'POST') return ecrAddress(req.headers['x-amz-target']);
  return ociAddress(path, url.slice(path.length));
}

/** The protocol of a wire URL, or null when it belongs to neither door. */
export function doorOf(wireUrl: string): Door | null {
  const path = pathOf(originForm(wireUrl));
  if (path === '/') return 'ecr';
  return path === '/v2' || path.startsWith('/v2/') ? 'oci' : null;
}

/** The operation an `X-Amz-Target` header names, known to this registry or not; null when it is not a target of ECR. */
export function targetOperation(target: string | string[] | undefined): string | null {
  if (typeof target !== 'string' || !target.startsWith(ECR_TARGET_PREFIX)) return null;
  const operation = target.slice(ECR_TARGET_PREFIX.length);
  return OPERATION.test(operation) ? operation : null;
}

export interface OciResource {
  /** As sent, percent-encoding included. */
  name: string;
  /** What follows the name: `manifests/<reference>`, `blobs/uploads/`, … */
  resource: string;
}

/** Splits a path of the distribution API, or null when it names no resource of a repository. */
export function ociResource(path: string): OciResource | null {
  const match = OCI_RESOURCE.exec(path);
  return match && { name: match[1]!, resource: match[2]! };
}

/** The path of a wire URL without its query. */
export function wirePath(wireUrl: string): string {
  return pathOf(originForm(wireUrl));
}

function ecrAddress(target: string | string[] | undefined): string {
  const operation = targetOperation(target);
  return operation === null ? UNKNOWN_OPERATION : `/ecr/${operation}`;
}

function ociAddress(path: string, query: string): string {
  const found = ociResource(path);
  return found ? `/v2/${found.name.replaceAll('/', '%2F')}/${found.resource}${query}` : path + query;
}

/** Proxies may send the absolute form of RFC 9112, section 3.2.2, which a server must accept. */
function originForm(url: string): string {
  if (url.startsWith('/')) return url;
  const authority = /^https?:\/\/[^/?#]*/i.exec(url);
  if (!authority) return url;
  const rest = url.slice(authority[0].length);
  return rest.startsWith('/') ? rest : `/${rest}`;
}

function pathOf(url: string): string {
  const query = url.search(/[?#]/);
  return query === -1 ? url : url.slice(0, query);
}

/** The router compares decoded paths, so an encoded spelling of the internal prefix must not slip past. */
function isInternal(path: string): boolean {
  const first = path.slice(1).split('/', 1)[0]!;
  try {
    return decodeURIComponent(first).toLowerCase() === 'ecr';
  } catch {
    return false;
  }
}
