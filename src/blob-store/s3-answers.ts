/**
 * What an S3 store must have said to be believed. Between this process and the store there may be a balancer or a portal
 * that answers 200 with something of its own: taken for a success, that would acknowledge bytes nobody has.
 */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';

/** Members of the outputs and inputs looked at here. */
interface Output {
  ETag?: string;
  UploadId?: string;
  Key?: string;
  ChecksumCRC32?: string;
  ContentLength?: number;
  IsTruncated?: boolean;
  Body?: unknown;
}
type Input = Pick<Output, 'Key' | 'ChecksumCRC32'>;

/** Of the commands whose output something is concluded from. */
const SAID: Readonly<Record<string, (output: Output, input: Input) => boolean>> = {
  PutObjectCommand: (output, input) => Boolean(output.ETag) && sameChecksum(output, input),
  UploadPartCommand: (output, input) => Boolean(output.ETag) && sameChecksum(output, input),
  CreateMultipartUploadCommand: (output, input) => Boolean(output.UploadId) && sameKey(output, input),
  CompleteMultipartUploadCommand: (output, input) => Boolean(output.ETag) && sameKey(output, input),
  GetObjectCommand: ({ ETag }) => Boolean(ETag),
  HeadObjectCommand: ({ ETag, ContentLength }) => Boolean(ETag) && ContentLength !== undefined,
  // An empty page would mean that nothing is there.
  ListObjectsV2Command: ({ IsTruncated }) => IsTruncated !== undefined,
  ListMultipartUploadsCommand: ({ IsTruncated }) => IsTruncated !== undefined,
  ListPartsCommand: ({ IsTruncated }) => IsTruncated !== undefined,
};

/** @throws when the output is not what a store answers to the command */
export function acknowledges(command: string, input: object, output: object): void {
  if (SAID[command]?.(output, input) ?? true) return;
  (output as { Body?: Readable }).Body?.destroy();
  throw new Error(`What came back for ${command} is not the answer of an S3 store`);
}

function sameKey(output: Output, input: Input): boolean {
  return output.Key === undefined || output.Key === input.Key;
}

/** Stores that keep no checksums name none. */
function sameChecksum(output: Output, input: Input): boolean {
  return output.ChecksumCRC32 === undefined || output.ChecksumCRC32 === input.ChecksumCRC32;
}

/**
 * Ends the bodies of GetObject when the store falls silent in the middle. A body nobody takes further is no fault of the
 * store: only while everything that came was read does its silence count.
 */
export function endWhenSilent(client: S3Client, silenceMs: number): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      watch((result.output as { Body?: IncomingMessage }).Body, silenceMs);
      return result;
    },
    { step: 'initialize', name: 'endWhenSilent' },
  );
}

function watch(body: IncomingMessage | undefined, silenceMs: number): void {
  if (!body?.socket) return;
  const { socket } = body;
  let received = socket.bytesRead;
  let heardAt = performance.now();
  const timer = setInterval(() => {
    if (socket.bytesRead !== received || body.readableLength > 0) {
      received = socket.bytesRead;
      heardAt = performance.now();
    } else if (performance.now() - heardAt >= silenceMs)
      body.destroy(new Error(`The store sent nothing for ${silenceMs} ms`));
  }, silenceMs / 4);
  timer.unref();
  body.once('close', () => clearInterval(timer));
}
