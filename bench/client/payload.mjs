import { createHash, randomFillSync } from 'node:crypto';

const STAMP_EVERY_BYTES = 4096;
/** The size in which docker hands a layer to its HTTP client. */
const FRAME_BYTES = 32 * 1024;

let stamps = 0n;

/**
 * Random bytes that become others by a counter stamped into every few KiB: no two pushes share a layer, nor a block of one, and
 * making them costs next to nothing. Framed for chunked transfer beforehand where asked for, so that sending is one write.
 */
export class Payload {
  #slices = [];

  constructor(bytes, { chunked = false } = {}) {
    this.bytes = bytes;
    if (!chunked) {
      this.wire = randomFillSync(Buffer.allocUnsafeSlow(bytes));
      this.#slices.push(this.wire);
      return;
    }
    const frames = Array.from({ length: Math.ceil(bytes / FRAME_BYTES) }, (_, n) => {
      const slice = randomFillSync(Buffer.allocUnsafe(Math.min(FRAME_BYTES, bytes - n * FRAME_BYTES)));
      return [Buffer.from(`${slice.length.toString(16)}\r\n`), slice, Buffer.from('\r\n')];
    });
    this.wire = Buffer.concat([...frames.flat(), Buffer.from('0\r\n\r\n')]);
    for (let at = 0, frame = 0; frame < frames.length; frame += 1) {
      const [before, slice, after] = frames[frame];
      at += before.length;
      this.#slices.push(this.wire.subarray(at, at + slice.length));
      at += slice.length + after.length;
    }
  }

  /** @returns {bigint} what {@link stamp} makes these very bytes of again */
  renew() {
    stamps += 1n;
    this.stamp(stamps);
    return stamps;
  }

  stamp(number) {
    for (const slice of this.#slices) {
      for (let at = 0; at + 8 <= slice.length; at += STAMP_EVERY_BYTES) slice.writeBigUInt64LE(number, at);
    }
  }

  digest() {
    const hash = createHash('sha256');
    for (const slice of this.#slices) hash.update(slice);
    return `sha256:${hash.digest('hex')}`;
  }
}
