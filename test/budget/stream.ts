import { Readable } from 'node:stream';

/** A request body of unknown length. */
export function streamed(chunks: Iterable<Buffer> | AsyncIterable<Buffer>): ReadableStream {
  return Readable.toWeb(Readable.from(chunks)) as unknown as ReadableStream;
}

/** As they come from a socket. */
export function* slices(bytes: Buffer, size = 65_536): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
