import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ByteBudget, Reservation } from '../blob-store/byte-budget.js';
import { CompactChunks } from '../blob-store/compact-chunks.js';
import { silenceGuard } from './body-silence.js';
import { type EcrBody, emptyEcrBody } from './ecr/ecr-body.js';
import type { EcrRouteConfig } from './ecr/ecr-operation.decorator.js';
import { readLayerPartBody } from './ecr/part-body.js';
import { serialization } from './ecr/read-input.js';
import type { OciRouteConfig } from './oci/oci-route.decorator.js';
import { readIntoMemory } from './read-body.js';
import { drainAtMost } from './unread-body.js';

/** Most bytes of a document at the ECR door; the largest is a PutImage whose manifest of 4 MiB is escaped. */
const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024;
/** Most bytes of a manifest: ECR's ImageManifest, and what the distribution specification asks registries to take. */
export const MAX_MANIFEST_BYTES = 4_194_304;
/** Milliseconds without a byte of the body after which a client is taken for lost. */
const BODY_SILENCE = 60_000;

/**
 * Replaces Fastify's body parsers. How a body is read depends on its route and not on its content type, which clients of
 * either protocol set as they please. `request.body` becomes an {@link EcrBody} at the ECR door, a Buffer for a manifest
 * and the unread stream for everything else.
 */
export function registerBodyParsers(
  instance: FastifyInstance,
  budget: ByteBudget,
  silence: number = BODY_SILENCE,
): void {
  const guard = silenceGuard(silence);
  const responses = new WeakMap<IncomingMessage, ServerResponse>();
  const hold = (request: FastifyRequest, reservation: Reservation | null, part?: Buffer): void => {
    if (reservation) releaseWithResponse(responses.get(request.raw), reservation, part);
  };
  instance.removeAllContentTypeParsers();
  instance.addHook('onRequest', (request, reply, done) => {
    // A client that goes away while nobody reads raises an error that would otherwise end the process.
    request.raw.on('error', () => {});
    reply.raw.on('error', () => {});
    if (hasBody(request.raw)) {
      responses.set(request.raw, reply.raw);
      guard.watch(request.raw);
    }
    ignoreMalformedContentType(request);
    done();
  });
  instance.addContentTypeParser('*', async (request: FastifyRequest, payload: IncomingMessage) => {
    const config = request.routeOptions.config as Partial<EcrRouteConfig | OciRouteConfig>;
    // No route: nothing to read the body for.
    if (config.door === undefined) return undefined;
    if (config.door === 'oci' && config.body !== 'manifest') return payload;
    const signal = guard.signalOf(request.raw);
    const contentLength = announcedLength(request);
    if (config.operation === 'UploadLayerPart') {
      const { body, reservation } = await readLayerPartBody(payload, contentLength, budget, signal);
      hold(request, reservation, body.layerPart?.bytes);
      return body;
    }
    const limit = config.door === 'oci' ? MAX_MANIFEST_BYTES : MAX_DOCUMENT_BYTES;
    const compact = new CompactChunks();
    const chunks: Buffer[] = [];
    const reservation = await readIntoMemory(
      payload,
      { contentLength, limit, signal },
      { budget, bytes: contentLength ?? limit, perByte: 1 },
      (chunk) => void chunks.push(...compact.add(chunk)),
    );
    hold(request, reservation);
    chunks.push(...compact.rest());
    const bytes = Buffer.concat(chunks);
    return config.door === 'oci' ? bytes : parseDocument(bytes);
  });
  instance.addHook('onSend', (request, reply, payload, done) => {
    // Not every route reads the body it gets.
    if (responses.has(request.raw)) drainAtMost(request.raw, reply.raw);
    done(null, payload);
  });
  instance.addHook('preValidation', (request, _reply, done) => {
    const config = request.routeOptions.config as Partial<EcrRouteConfig>;
    // Fastify does not call a parser for a request without a body.
    if (config.door === 'ecr' && (request.body === undefined || request.body === null))
      request.body = emptyEcrBody();
    done();
  });
}

function parseDocument(bytes: Buffer): EcrBody {
  const payloadSha256 = createHash('sha256').update(bytes).digest('hex');
  if (bytes.length === 0) return { payloadSha256, document: {} };
  try {
    return { payloadSha256, document: JSON.parse(bytes.toString()) };
  } catch {
    return { payloadSha256, document: undefined, fault: serialization('The request body is not valid JSON') };
  }
}

function hasBody(raw: IncomingMessage): boolean {
  return raw.headers['transfer-encoding'] !== undefined || Number(raw.headers['content-length'] ?? 0) > 0;
}

/** The HTTP parser has checked the header: it is digits, and absent when the body is chunked. */
function announcedLength(request: FastifyRequest): number | undefined {
  const { headers } = request.raw;
  return headers['content-length'] === undefined ? undefined : Number(headers['content-length']);
}

/**
 * Fastify refuses a content type that is not a media type before any parser is asked. The content type of a blob means
 * nothing, so there it is hidden from Fastify; signatures cover the header of `request.raw`, which stays.
 */
function ignoreMalformedContentType(request: FastifyRequest): void {
  const config = request.routeOptions.config as Partial<OciRouteConfig>;
  const type = request.raw.headers['content-type'];
  if (config.door !== 'oci' || config.body !== 'stream' || type === undefined) return;
  if (!/^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+\s*(?:;|$)/.test(type))
    request.headers = { 'content-type': undefined };
}

/**
 * The bytes are needed until the answer has left or the connection is gone. An answer that waits behind others on its
 * connection does not close when the connection does, so both are watched. A part that was accepted is nobody's any more, and
 * its memory goes at once: the garbage collector sees an object of a hundred bytes and is in no hurry. After a failure a
 * request that was given up may still read it.
 */
function releaseWithResponse(
  response: ServerResponse | undefined,
  reservation: Reservation,
  part?: Buffer,
): void {
  if (!response || response.closed || response.destroyed || response.req.socket.destroyed)
    return reservation.release();
  const { socket } = response.req;
  const release = (): void => {
    response.off('close', release);
    socket.off('close', release);
    if (response.writableFinished && response.statusCode === 200)
      (part?.buffer as ArrayBuffer | undefined)?.transfer(0);
    reservation.release();
  };
  response.once('close', release);
  socket.once('close', release);
}
