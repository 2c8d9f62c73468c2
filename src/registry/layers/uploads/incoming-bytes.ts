import type { Readable } from 'node:stream';
import { CompactChunks } from '../../../blob-store/compact-chunks.js';
import { RegistryError } from '../../../domain/registry-error.js';

/** Layer bytes on their way in. */
export interface IncomingBytes {
  source: Buffer | Readable;
  /** Length the client announced; a body of any other length is refused. Bytes. */
  announcedBytes?: number;
  /** CRC-32 of bytes that are in memory, where it is known already. */
  crc32?: number;
}

/**
 * Yields the chunks and refuses early: more bytes than allowed or announced, fewer than announced, a connection cut. A client
 * that falls silent is the door's to end: only there can its silence be told from a store that is slow to take its bytes.
 * The underlying stream is left open on refusal, so that the answer still reaches the client.
 *
 * @throws RegistryError BlobSizeInvalid, LimitExceeded, MalformedRequest, RequestTimeout
 */
export async function* receive(
  incoming: IncomingBytes,
  maxBytes: number | null,
  onChunk: (chunk: Buffer) => void,
): AsyncGenerator<Buffer> {
  const { source, announcedBytes } = incoming;
  const compact = new CompactChunks();
  let received = 0;
  for await (const chunk of Buffer.isBuffer(source) ? wholeOf(source) : chunksOf(source)) {
    received += chunk.length;
    if (announcedBytes !== undefined && received > announcedBytes) throw sizeInvalid(announcedBytes);
    if (maxBytes !== null && received > maxBytes)
      throw RegistryError.limitExceeded('The layer exceeds the maximum allowed layer size');
    onChunk(chunk);
    if (compact.isFit(chunk)) yield chunk;
    else for (const piece of compact.add(chunk)) yield piece;
  }
  for (const piece of compact.rest()) yield piece;
  if (announcedBytes !== undefined && received !== announcedBytes) throw sizeInvalid(announcedBytes);
}

async function* wholeOf(bytes: Buffer): AsyncGenerator<Buffer> {
  if (bytes.length > 0) yield bytes;
}

async function* chunksOf(stream: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) yield chunk as Buffer;
    if (!stream.readableEnded) throw new Error('The stream closed before its end');
  } catch (error) {
    if (error instanceof RegistryError) throw error;
    const message = 'The request body ended before its announced end';
    throw new RegistryError('MalformedRequest', message, {}, { cause: error });
  }
}

function sizeInvalid(announcedBytes: number): RegistryError {
  return new RegistryError(
    'BlobSizeInvalid',
    `The body does not have the announced length of ${announcedBytes} bytes`,
  );
}
