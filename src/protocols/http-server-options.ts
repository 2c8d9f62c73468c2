import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { ConnectionError, FastifyHttpOptions } from 'fastify';
import type { RegistryError } from '../domain/registry-error.js';
import { RequestMessage } from './request-message.js';
import { routeAddress } from './route-address.js';
import { frontEndError, renderError, type WireRequest } from './wire-error.js';
import { answerWithError } from './wire-error.filter.js';

const MEBIBYTE = 1024 * 1024;

/** Bytes of all request headers together; a SigV4 request with a session token needs about 4 KiB. */
const MAX_HEADER_BYTES = 32 * 1024;
/** Milliseconds a client may take to send its request headers. */
const HEADERS_TIMEOUT = 15_000;
/** Milliseconds an idle connection is kept; above the 60 s at which load balancers usually close theirs first. */
const KEEP_ALIVE_TIMEOUT = 65_000;

/** Options of the HTTP server both doors share, for the constructor of Nest's `FastifyAdapter`. */
export function fastifyOptions() {
  return {
    rewriteUrl: routeAddress,
    routerOptions: {
      // Repository names reach 256 characters, and each slash is sent as three.
      maxParamLength: 1024,
      // The specification writes `/v2/` and `/v2/<name>/blobs/uploads/`; Nest strips the slash of its route paths.
      ignoreTrailingSlash: true,
    },
    // Bodies are bounded by the parsers; this is the bound for whatever might not go through them.
    bodyLimit: MEBIBYTE,
    // A layer may take hours over a slow line: no limit for the whole request, but for its headers and for silence in
    // its body (body-parsers.ts).
    requestTimeout: 0,
    connectionTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT,
    http: {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT,
      connectionsCheckingInterval: 5_000,
      IncomingMessage: RequestMessage,
    },
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    // A request that still arrives while the service ends is served; Fastify's own refusal would speak neither dialect.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => answerWithError(error, request, reply),
    clientErrorHandler: answerClientError,
  } satisfies FastifyHttpOptions<Server>;
}

/** Answers bytes that are not a request, in the dialect of the door they were meant for as far as that can be seen. */
export function answerClientError(error: ConnectionError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  const { refusal, status } = clientRefusal(error);
  const response = renderError(refusal, requestOf(error.rawPacket));
  const headers = {
    ...response.headers,
    'content-length': String(response.body.length),
    'x-amzn-RequestId': randomUUID(),
    connection: 'close',
  };
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\n${head.join('')}\r\n`), response.body]));
}

function clientRefusal(error: ConnectionError): { refusal: RegistryError; status: string } {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return {
        refusal: frontEndError('MalformedRequest', error),
        status: '431 Request Header Fields Too Large',
      };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { refusal: frontEndError('RequestTimeout', error), status: '408 Request Timeout' };
    default:
      return { refusal: frontEndError('MalformedRequest', error), status: '400 Bad Request' };
  }
}

/** @param packet what of the request had been read when parsing failed: a Buffer, whatever the types of Fastify say */
function requestOf(packet: unknown): WireRequest {
  const line = Buffer.isBuffer(packet) ? packet.toString('latin1', 0, 2048) : '';
  const [, method = 'POST', url = '/'] = /^([A-Z]+) (\S+)/.exec(line) ?? [];
  return { method, url, host: '', target: undefined };
}
