import type { ByteRange } from '../../domain/byte-range.js';
import { RegistryError } from '../../domain/registry-error.js';

/** None of the bytes asked for exist; the answer's `Content-Range` tells the complete length (RFC 9110, section 15.5.17). */
export class UnsatisfiableRange extends RegistryError {
  constructor(
    /** Bytes of the whole blob. */
    readonly completeLength: number,
  ) {
    super('RangeInvalid', `The range is outside of the ${completeLength} bytes of the blob`);
  }
}

/**
 * The range a `Range` header asks of a blob (RFC 9110, section 14). A header that is malformed, of another unit or asks
 * for several ranges is ignored, as the RFC allows: the answer is then the whole blob.
 * @param size bytes of the whole blob
 * @returns the range, cut to the blob, or null for the whole blob
 * @throws UnsatisfiableRange
 */
export function requestedRange(header: string | undefined, size: number): ByteRange | null {
  const match = /^bytes=[ \t]*(\d{0,16})-(\d{0,16})[ \t]*$/i.exec(header ?? '');
  if (!match) return null;
  const [, first, last] = match as unknown as [string, string, string];
  if (first === '' && last === '') return null;
  if (first === '') return suffix(Number(last), size);
  const range = { first: Number(first), last: last === '' ? size - 1 : Math.min(Number(last), size - 1) };
  // RFC 9110 calls a range that ends before it begins invalid, to be ignored; the distribution specification's conformance
  // suite counts an answer with the whole blob as a registry without ranges.
  if (range.first >= size || range.last < range.first) throw new UnsatisfiableRange(size);
  return range;
}

function suffix(length: number, size: number): ByteRange {
  if (length === 0 || size === 0) throw new UnsatisfiableRange(size);
  return { first: Math.max(0, size - length), last: size - 1 };
}
