/** Bytes in memory as bodies of requests to S3. */
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';

/** What a socket takes before its source has to wait, which with Node's 64 KiB is after every chunk. */
export const SOCKET_BYTES = 1024 * 1024;

/** A body in several pieces, which is never read itself: each attempt reads a stream of its own. */
export class Pieces extends Readable {
  /** All of them are with the operating system: a store may answer before it has read everything. */
  isSent = false;

  constructor(private readonly pieces: Buffer[]) {
    super();
  }

  stream(): Readable {
    const { pieces } = this;
    let next = 0;
    this.isSent = false;
    const stream = new Readable({
      highWaterMark: SOCKET_BYTES,
      read() {
        while (next < pieces.length) if (!this.push(pieces[next++])) return;
        this.push(null);
      },
    });
    const pipe = stream.pipe.bind(stream);
    stream.pipe = (request, options) =>
      pipe(
        request.once('finish', () => (this.isSent = true)),
        options,
      );
    return stream;
  }
}

export function bodyOf(bytes: Buffer[]): Buffer | Readable {
  if (bytes.length === 0) return Buffer.alloc(0);
  return bytes.length === 1 ? bytes[0]! : new Pieces(bytes);
}

export function sizeOf(bytes: Buffer[]): number {
  return bytes.reduce((sum, chunk) => sum + chunk.length, 0);
}

/**
 * CRC-32 as S3 writes it: four bytes, big-endian, base64.
 * @param known the sum, where it need not be computed
 */
export function checksumOf(bytes: Buffer[], known?: number): string {
  const encoded = Buffer.alloc(4);
  encoded.writeUInt32BE(known ?? bytes.reduce((sum, chunk) => crc32(chunk, sum), 0));
  return encoded.toString('base64');
}
