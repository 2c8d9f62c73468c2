/** How the S3 store is asked: again where that may help, only so long, and believing no answer that is not one. */
import {
  CompleteMultipartUploadCommand,
  DeleteObjectsCommand,
  ListPartsCommand,
  type ListPartsCommandOutput,
  type Part,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { S3Settings } from '../config/config.js';
import type { StorePart } from './part-splitter.js';
import { endWhenSilent, acknowledges } from './s3-answers.js';
import { bodyOf, checksumOf, Pieces, sizeOf, SOCKET_BYTES } from './s3-bodies.js';
import { giveBack } from './spent-memory.js';
import { type StoreFailure, StoreRetries } from './store-retries.js';

const AGENT = { maxSockets: 256, keepAlive: true };

const SILENT = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** Those of one process to one store share one budget of repetitions. */
export interface S3Clients {
  requests: S3Client;
  /** For GetObject: who pulls may be slow, so only silence of the store itself ends it. */
  reads: S3Client;
  /** Signs URLs for the address under which clients reach the store; sends nothing. */
  presigner: S3Client;
}

/** @param silenceSeconds after which the store is taken not to answer */
export function s3Clients(settings: S3Settings, silenceSeconds: number): S3Clients {
  const silenceMs = silenceSeconds * 1000;
  // A request that met silence may be sent once more, over another connection.
  const retries = new StoreRetries(silenceMs * 1.5);
  const agent = { ...AGENT, highWaterMark: SOCKET_BYTES };
  const requests = s3Client(settings, settings.endpoint, {
    socketTimeout: silenceMs,
    httpAgent: agent,
    httpsAgent: agent,
  });
  const reads = s3Client(settings, settings.endpoint, {
    socketTimeout: 0,
    requestTimeout: silenceMs,
    throwOnRequestTimeout: true,
  });
  for (const client of [requests, reads]) sendAgain(client, retries);
  endWhenSilent(reads, silenceMs);
  return { requests, reads, presigner: s3Client(settings, settings.publicEndpoint, {}) };
}

type Timeouts = Exclude<S3ClientConfig['requestHandler'], undefined | { handle: unknown }>;

function s3Client(settings: S3Settings, endpoint: string, timeouts: Timeouts): S3Client {
  const client = new S3Client({
    endpoint,
    region: settings.region,
    credentials: { accessKeyId: settings.accessKeyId, secretAccessKey: settings.secretAccessKey },
    forcePathStyle: true,
    // Other stores than AWS reject or store the framing of the SDK's default streaming checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Requests are sent again by sendAgain alone: two layers of repetition would multiply.
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: 5_000,
      httpAgent: AGENT,
      httpsAgent: AGENT,
      ...timeouts,
    },
    expectContinueHeader: false,
    // Without one the SDK writes some warnings to the console; every failure that matters is thrown.
    logger: SILENT,
  });
  // Bodies are covered by their CRC-32 instead: a SHA-256 of every part would cost more than sending it.
  client.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { headers?: Record<string, string> };
      if (request.headers?.['x-amz-checksum-crc32'])
        request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      return next(args);
    },
    { step: 'build', name: 'unsignedPayloadWithChecksum' },
  );
  return client;
}

/** Outermost of all: every attempt is serialized and signed anew, and counts as answered only by what S3 answers. */
function sendAgain(client: S3Client, retries: StoreRetries): void {
  client.middlewareStack.add(
    (next, context) => (args) => {
      // Whether the store is there is asked again and again as it is, by readiness and at start.
      if (context.commandName === 'HeadBucketCommand') return next(args);
      const { abortSignal } = (context['__smithy_context'] ?? {}) as { abortSignal?: AbortSignal };
      const input = args.input as { Body?: unknown };
      const attempt = async () => {
        const Body = input.Body instanceof Pieces ? input.Body.stream() : input.Body;
        const result = await next({ ...args, input: { ...args.input, Body } as typeof args.input });
        acknowledges(context.commandName ?? '', args.input, result.output);
        if (input.Body instanceof Pieces && !input.Body.isSent)
          throw new Error('The store answered before it had the whole body');
        return result;
      };
      return retries.run(attempt, failureOf, abortSignal);
    },
    { step: 'initialize', priority: 'high', name: 'sendAgain' },
  );
}

interface MultipartUpload {
  Bucket: string;
  Key: string;
  UploadId: string;
}

export interface PartTraits {
  /** CRC-32 of the bytes, where it is known. */
  crc32?: number | undefined;
  /** Nobody reads the bytes once they are stored: their memory may go. */
  isLastUse: boolean;
}

/** Sends one part of a multipart upload; the store verifies its CRC-32. */
export async function uploadPart(
  client: S3Client,
  target: MultipartUpload & { PartNumber: number },
  bytes: Buffer[],
  signal: AbortSignal,
  { crc32, isLastUse }: PartTraits,
): Promise<StorePart> {
  const size = sizeOf(bytes);
  const checksum = checksumOf(bytes, crc32);
  const { ETag } = await client.send(
    new UploadPartCommand({ ...target, Body: bodyOf(bytes), ContentLength: size, ChecksumCRC32: checksum }),
    { abortSignal: signal },
  );
  if (isLastUse) giveBack(bytes);
  return { n: target.PartNumber, etag: ETag!, size, crc32: checksum };
}

/** Makes the parts one object. */
export async function completeMultipart(
  client: S3Client,
  upload: MultipartUpload,
  parts: StorePart[],
): Promise<void> {
  const Parts = parts.map(({ n, etag, crc32 }) => ({ PartNumber: n, ETag: etag, ChecksumCRC32: crc32 }));
  await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
}

/**
 * The same parts with the ETags the store itself lists, for when it does not know those it once answered with.
 * @returns null when one of them is not there with its size and checksum
 */
export async function storedParts(
  client: S3Client,
  upload: MultipartUpload,
  parts: StorePart[],
): Promise<StorePart[] | null> {
  const stored = new Map<number, Part>();
  for await (const part of listedParts(client, upload)) stored.set(part.PartNumber!, part);
  const known = parts.map((part) => {
    const { ETag, Size, ChecksumCRC32 = part.crc32 } = stored.get(part.n) ?? {};
    return ETag && Size === part.size && ChecksumCRC32 === part.crc32 ? { ...part, etag: ETag } : null;
  });
  return known.every((part) => part !== null) ? known : null;
}

/** Sums up those of the recorded parts that an unfinished upload has, just as they were recorded. Bytes. */
export async function bytesOfParts(
  client: S3Client,
  target: MultipartUpload,
  recorded: StorePart[],
): Promise<number> {
  const wanted = new Map(recorded.map((part) => [part.n, part]));
  let bytes = 0;
  for await (const { PartNumber, ETag, Size } of listedParts(client, target)) {
    const part = wanted.get(PartNumber ?? 0);
    if (part && unquoted(part.etag) === unquoted(ETag) && part.size === Size) bytes += part.size;
  }
  return bytes;
}

/** By hand: the SDK's pagination never ends at a store that names a next part after the last one. */
async function* listedParts(client: S3Client, upload: MultipartUpload): AsyncGenerator<Part> {
  for (let more = true, marker: string | undefined; more;) {
    const page: ListPartsCommandOutput = await client.send(
      new ListPartsCommand({ ...upload, PartNumberMarker: marker }),
    );
    yield* page.Parts ?? [];
    more = page.IsTruncated === true;
    marker = page.NextPartNumberMarker;
  }
}

/** Not every store quotes them everywhere. */
function unquoted(etag: string | undefined): string | undefined {
  return etag?.replaceAll('"', '');
}

/** Writes one whole object of less than a part. */
export async function putObject(
  client: S3Client,
  target: { Bucket: string; Key: string },
  bytes: Buffer[],
  signal: AbortSignal,
): Promise<void> {
  const ChecksumCRC32 = checksumOf(bytes);
  await client.send(
    new PutObjectCommand({
      ...target,
      Body: bodyOf(bytes),
      ContentLength: sizeOf(bytes),
      ContentType: 'application/octet-stream',
      ChecksumCRC32,
    }),
    { abortSignal: signal },
  );
}

/** Up to 1,000 a request; those that are gone already count as removed. */
export async function removeObjects(client: S3Client, bucket: string, keys: string[]): Promise<void> {
  for (let start = 0; start < keys.length; start += 1000) {
    const Objects = keys.slice(start, start + 1000).map((Key) => ({ Key }));
    const { Errors } = await client.send(
      new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } }),
    );
    const failed = (Errors ?? []).filter((error) => error.Code !== 'NoSuchKey');
    if (failed.length > 0)
      throw new Error(`The store kept ${failed.length} object(s): ${failed[0]?.Code ?? 'unknown'}`);
  }
}

const THROTTLED = new Set(['SlowDown', 'ServiceUnavailable', 'TooManyRequests', 'RequestLimitExceeded']);
/** Faults of the moment that S3 answers with a status of the client's: slow or damaged on the way, clocks apart, raced. */
const TRANSIENT = new Set([
  'RequestTimeout',
  'RequestTimeTooSkewed',
  'IncompleteBody',
  'BadDigest',
  'XAmzContentChecksumMismatch',
  'OperationAborted',
]);

function failureOf(error: unknown): StoreFailure {
  if (error instanceof Error && error.name === 'AbortError') return 'final';
  // The connection failed, the store was silent, or what it said was not S3.
  if (!(error instanceof S3ServiceException)) return 'transient';
  const status = error.$metadata.httpStatusCode ?? 500;
  if (THROTTLED.has(error.name) || status === 429) return 'throttled';
  if (TRANSIENT.has(error.name)) return 'transient';
  return status === 501 || (status < 500 && status !== 408) ? 'final' : 'transient';
}

export function isCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof S3ServiceException && codes.includes(error.name);
}

/** The object is not there; a bucket that is not there, which is also 404, is a fault of the store. */
export function isMissing(error: unknown): boolean {
  return isCode(error, 'NoSuchKey', 'NotFound');
}
