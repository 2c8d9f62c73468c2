import { HttpException } from '@nestjs/common';
import { RegistryError, type RegistryErrorCode } from '../domain/registry-error.js';
import { ERROR_TABLE } from './error-table.js';
import { unknownOperation } from './not-yet.js';
import { UnsatisfiableRange } from './oci/byte-range-header.js';
import { doorOf, ociResource, wirePath } from './route-address.js';

/** What rendering needs to know of the request that failed. */
export interface WireRequest {
  method: string;
  /** As the client sent it. */
  url: string;
  host: string;
  target: string | string[] | undefined;
}

export interface WireResponse {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

export const AWS_JSON = 'application/x-amz-json-1.1';

/** Seconds; short, because what is unavailable here is usually back after a fail-over. */
const RETRY_AFTER = '1';

const CODE_BY_STATUS: Readonly<Record<number, RegistryErrorCode>> = {
  404: 'RouteNotFound',
  405: 'MethodNotAllowed',
  408: 'RequestTimeout',
  413: 'RequestEntityTooLarge',
  503: 'ServiceUnavailable',
};

const TEXT: Partial<Record<RegistryErrorCode, string>> = {
  RouteNotFound: 'The request addresses nothing this registry serves.',
  MethodNotAllowed: 'The method is not allowed for this resource.',
  RequestTimeout: 'The request did not arrive in time.',
  RequestEntityTooLarge: 'The request body is larger than this registry accepts.',
  MalformedRequest: 'The request is not well-formed HTTP.',
  ServiceUnavailable: 'The service is shutting down or overloaded. Retry the request.',
  Server: 'The service could not complete the request.',
};

/** A refusal of the front end with its usual text. */
export function frontEndError(code: RegistryErrorCode, cause?: unknown): RegistryError {
  return new RegistryError(code, TEXT[code] ?? code, {}, cause === undefined ? undefined : { cause });
}

/** Turns whatever was thrown into a code of the table. What is not a refusal of ours or of the HTTP layer is `Server`. */
export function asRegistryError(thrown: unknown, request: WireRequest): RegistryError {
  if (thrown instanceof RegistryError) return thrown;
  const status = httpStatus(thrown);
  if (status === null || (status >= 500 && status !== 503)) return frontEndError('Server', thrown);
  const code = CODE_BY_STATUS[status] ?? 'MalformedRequest';
  if (code !== 'RouteNotFound') return frontEndError(code, thrown);
  const door = doorOf(request.url);
  if (door === 'ecr')
    return request.method === 'POST' ? unknownOperation(request.target) : frontEndError('MethodNotAllowed');
  return frontEndError(
    door === 'oci' && ociMethods(request.url) !== null ? 'MethodNotAllowed' : 'RouteNotFound',
  );
}

/** Renders a refusal in the dialect of the door the request came to. */
export function renderError(error: RegistryError, request: WireRequest): WireResponse {
  const door = doorOf(request.url);
  if (door === 'ecr') return renderEcr(error);
  if (door === 'oci') return renderOci(error, request);
  const { status } = ERROR_TABLE[error.code].oci;
  return json(status, { message: error.message });
}

function renderEcr(error: RegistryError): WireResponse {
  const { type, status } = ERROR_TABLE[error.code].ecr;
  const members = error.code === 'InvalidLayerPart' ? error.members : {};
  const headers: Record<string, string> = { 'content-type': AWS_JSON };
  if (status === 405) headers['allow'] = 'POST';
  if (status === 503) headers['retry-after'] = RETRY_AFTER;
  return {
    status,
    headers,
    body: Buffer.from(JSON.stringify({ __type: type, message: error.message, ...members })),
  };
}

function renderOci(error: RegistryError, request: WireRequest): WireResponse {
  const { code, status } = ERROR_TABLE[error.code].oci;
  const response = json(status, { errors: [{ code, message: error.message }] });
  const { headers } = response;
  headers['docker-distribution-api-version'] = 'registry/2.0';
  if (status === 401) headers['www-authenticate'] = challenge(request);
  if (status === 405) headers['allow'] = allowedMethods(request);
  if (status === 503) headers['retry-after'] = RETRY_AFTER;
  if (error instanceof UnsatisfiableRange) headers['content-range'] = `bytes */${error.completeLength}`;
  else if (status === 416) Object.assign(headers, uploadPosition(error));
  return response;
}

/** Where an upload stands, so that a client can go on from there (distribution specification, "Pushing a blob in chunks"). */
function uploadPosition(error: RegistryError): Record<string, string> {
  const { repositoryName, uploadId, lastValidByteReceived } = error.members;
  const headers: Record<string, string> = {};
  if (lastValidByteReceived !== undefined) headers['range'] = `0-${lastValidByteReceived}`;
  if (uploadId !== undefined) headers['docker-upload-uuid'] = uploadId;
  if (uploadId !== undefined && repositoryName !== undefined) {
    headers['location'] = `/v2/${repositoryName}/blobs/uploads/${uploadId}`;
  }
  return headers;
}

/** The challenge of ECR's registry endpoint: Basic and nothing else; its realm is the registry as the client called it. */
function challenge(request: WireRequest): string {
  const host = /^[\w.:[\]-]{1,255}$/.test(request.host) ? request.host : 'registry';
  return `Basic realm="https://${host}/",service="ecr.amazonaws.com"`;
}

function allowedMethods(request: WireRequest): string {
  const methods = ociMethods(request.url) ?? ['GET', 'HEAD'];
  return methods.filter((method) => method !== request.method).join(', ');
}

/** Methods the distribution API defines on the resource a URL names; null when it names none. */
function ociMethods(url: string): string[] | null {
  const path = wirePath(url);
  if (/^\/v2\/?$/.test(path)) return ['GET', 'HEAD'];
  const resource = ociResource(path)?.resource;
  if (resource === undefined) return null;
  if (resource.startsWith('manifests/')) return ['GET', 'HEAD', 'PUT', 'DELETE'];
  if (/^blobs\/uploads\/?$/.test(resource)) return ['POST'];
  if (resource.startsWith('blobs/uploads/')) return ['GET', 'PATCH', 'PUT', 'DELETE'];
  if (resource.startsWith('blobs/')) return ['GET', 'HEAD', 'DELETE'];
  return ['GET', 'HEAD'];
}

function httpStatus(thrown: unknown): number | null {
  if (thrown instanceof HttpException) return thrown.getStatus();
  if (
    thrown instanceof Error &&
    'statusCode' in thrown &&
    'code' in thrown &&
    String(thrown.code).startsWith('FST_')
  ) {
    return Number(thrown.statusCode) || null;
  }
  return null;
}

function json(status: number, document: unknown): WireResponse {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8' },
    body: Buffer.from(`${JSON.stringify(document)}\n`),
  };
}
