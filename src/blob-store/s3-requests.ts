/** The few S3 requests that carry layer bytes, and what their failures are called. */
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { PutObjectCommand, S3Client, S3ServiceException, UploadPartCommand } from '@aws-sdk/client-s3';
import type { S3Settings } from '../config/config.js';
import type { StorePart } from './part-splitter.js';

const ATTEMPTS = 3;
const SILENT = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
const RETRYABLE_STATUS = new Set([408, 429, 500, 502, 503, 504]);

export function s3Client(settings: S3Settings, endpoint: string): S3Client {
  const client = new S3Client({
    endpoint,
    region: settings.region,
    credentials: { accessKeyId: settings.accessKeyId, secretAccessKey: settings.secretAccessKey },
    forcePathStyle: true,
    // Other stores than AWS reject or store the framing of the SDK's default streaming checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: ATTEMPTS,
    // Under a public endpoint that clients may reach and this process may not, only presigning happens.
    requestHandler: {
      connectionTimeout: 5_000,
      socketTimeout: 30_000,
      httpAgent: { maxSockets: 256, keepAlive: true },
      httpsAgent: { maxSockets: 256, keepAlive: true },
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

/** Sends one part of a multipart upload; the store verifies its CRC-32. */
export async function uploadPart(
  client: S3Client,
  target: { Bucket: string; Key: string; UploadId: string; PartNumber: number },
  bytes: Buffer[],
  signal: AbortSignal,
): Promise<StorePart> {
  const size = sizeOf(bytes);
  const checksum = checksumOf(bytes);
  const { ETag } = await withRetries(signal, () =>
    client.send(
      new UploadPartCommand({ ...target, Body: bodyOf(bytes), ContentLength: size, ChecksumCRC32: checksum }),
      {
        abortSignal: signal,
      },
    ),
  );
  if (!ETag) throw new Error('The store acknowledged a part without an ETag');
  return { n: target.PartNumber, etag: ETag, size, crc32: checksum };
}

/** Writes one whole object of less than a part. */
export async function putObject(
  client: S3Client,
  target: { Bucket: string; Key: string },
  bytes: Buffer[],
  signal: AbortSignal,
): Promise<void> {
  const ChecksumCRC32 = checksumOf(bytes);
  await withRetries(signal, () =>
    client.send(
      new PutObjectCommand({
        ...target,
        Body: bodyOf(bytes),
        ContentLength: sizeOf(bytes),
        ContentType: 'application/octet-stream',
        ChecksumCRC32,
      }),
      { abortSignal: signal },
    ),
  );
}

// The SDK retries no stream bodies; a fresh stream over the same buffers can be sent again.
async function withRetries<Output>(signal: AbortSignal, send: () => Promise<Output>): Promise<Output> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send();
    } catch (error) {
      if (attempt >= ATTEMPTS || signal.aborted || !isRetryable(error)) throw error;
      await sleep(100 * 2 ** attempt * (0.5 + Math.random() / 2), undefined, { signal });
    }
  }
}

function isRetryable(error: unknown): boolean {
  if (!(error instanceof S3ServiceException)) return true;
  return RETRYABLE_STATUS.has(error.$metadata.httpStatusCode ?? 500);
}

function bodyOf(bytes: Buffer[]): Buffer | Readable {
  if (bytes.length === 0) return Buffer.alloc(0);
  return bytes.length === 1 ? bytes[0]! : Readable.from(bytes, { objectMode: false });
}

function sizeOf(bytes: Buffer[]): number {
  return bytes.reduce((sum, chunk) => sum + chunk.length, 0);
}

/** CRC-32 as S3 writes it: four bytes, big-endian, base64. */
function checksumOf(bytes: Buffer[]): string {
  const value = bytes.reduce((sum, chunk) => crc32(chunk, sum), 0);
  const encoded = Buffer.alloc(4);
  encoded.writeUInt32BE(value);
  return encoded.toString('base64');
}

export function isCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof S3ServiceException && codes.includes(error.name);
}

export function isMissing(error: unknown): boolean {
  return error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404;
}
