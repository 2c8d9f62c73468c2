/** Bytes in memory as bodies of requests to S3. */
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';

/** What a socket takes before its source has to wait, which with Node's 64 KiB is after every chunk. */
export const SOCKET_BYTES = 1024 * 1024;

/** A body in pieces, which is never read itself: each attempt reads a stream of its own. */
export class Pieces extends Readable {
  private latest: Readable | undefined;
  private sent: Readable | undefined;

  constructor(private readonly pieces: Buffer[]) {
    super();
  }

  /** All of the latest attempt is with the operating system. A store that answered before has not read it, whatever it says. */
  get isSent(): boolean {
    return this.latest !== undefined && this.sent === this.latest;
  }

  stream(): Readable {
    const { pieces } = this;
    let next = 0;
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
        request.once('finish', () => (this.sent = stream)),
        options,
      );
    this.latest = stream;
    return stream;
  }
}

export function bodyOf(bytes: Buffer[]): Buffer | Readable {
  if (bytes.length === 0) return Buffer.alloc(0);
  return new Pieces(bytes);
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
