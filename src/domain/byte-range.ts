/** Absolute byte offsets, both inclusive, as `partFirstByte`/`partLastByte` and HTTP ranges count them. */
export interface ByteRange {
  first: number;
  last: number;
}

export function rangeLength(range: ByteRange): number {
  return range.last - range.first + 1;
}
