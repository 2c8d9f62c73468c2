import type { Readable } from 'node:stream';
import { RegistryError } from '../../../domain/registry-error.js';

/** Layer bytes on their way in. */
export interface IncomingBytes {
  source: Buffer | Readable;
  /** Length the client announced; a body of any other length is refused. Bytes. */
  announcedBytes?: number;
  /** Hex digest of a Buffer, where the door computed it already. */
  sha256?: string;
}

/** A body that stays silent so long is given up. Milliseconds. */
const IDLE_MS = 60_000;

/**
 * Yields the chunks and refuses early: more bytes than allowed or announced, fewer than announced, silence, a connection cut.
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
  let received = 0;
  for await (const chunk of Buffer.isBuffer(source) ? wholeOf(source) : chunksOf(source)) {
    received += chunk.length;
    if (announcedBytes !== undefined && received > announcedBytes) throw sizeInvalid(announcedBytes);
    if (maxBytes !== null && received > maxBytes)
      throw RegistryError.limitExceeded('The layer exceeds the maximum allowed layer size');
    onChunk(chunk);
    yield chunk;
  }
  if (announcedBytes !== undefined && received !== announcedBytes) throw sizeInvalid(announcedBytes);
}

async function* wholeOf(bytes: Buffer): AsyncGenerator<Buffer> {
  if (bytes.length > 0) yield bytes;
}

async function* chunksOf(stream: Readable): AsyncGenerator<Buffer> {
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    stream.destroy();
  }, IDLE_MS);
  try {
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
      timer.refresh();
      yield chunk as Buffer;
    }
    if (!stream.readableEnded) throw new Error('cut');
  } catch (error) {
    if (error instanceof RegistryError) throw error;
    if (timedOut)
      throw new RegistryError(
        'RequestTimeout',
        'The request body did not arrive in time',
        {},
        { cause: error },
      );
    throw new RegistryError(
      'MalformedRequest',
      'The request body ended before its announced end',
      {},
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
  }
}

function sizeInvalid(announcedBytes: number): RegistryError {
  return new RegistryError(
    'BlobSizeInvalid',
    `The body does not have the announced length of ${announcedBytes} bytes`,
  );
}
