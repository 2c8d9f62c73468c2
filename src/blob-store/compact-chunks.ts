/** A chunk this large may stay as it came. Bytes. */
const WORTH_KEEPING = 4 * 1024;
const BLOCK_BYTES = 16 * 1024;

/**
 * Makes chunks fit to be held in memory. Each one costs some 300 bytes beside its own, so a body that comes byte by byte
 * would take hundreds of times what it counts for; small chunks are therefore copied together.
 */
export class CompactChunks {
  private block: Buffer | undefined;
  private blockBytes = 0;

  /** Whether the chunk can be passed on as it is: nearly all can. */
  isFit(chunk: Buffer): boolean {
    return chunk.length >= WORTH_KEEPING && this.block === undefined;
  }

  /** @returns what can be passed on, in order; the rest of it comes with later chunks or with {@link rest} */
  add(chunk: Buffer): Buffer[] {
    if (chunk.length >= WORTH_KEEPING) return [...this.rest(), chunk];
    const done: Buffer[] = [];
    for (let at = 0; at < chunk.length;) {
      this.block ??= Buffer.allocUnsafeSlow(BLOCK_BYTES);
      const copied = chunk.copy(this.block, this.blockBytes, at);
      at += copied;
      this.blockBytes += copied;
      if (this.blockBytes === BLOCK_BYTES) done.push(...this.rest());
    }
    return done;
  }

  /** @returns what was not passed on yet */
  rest(): Buffer[] {
    const { block, blockBytes } = this;
    this.block = undefined;
    this.blockBytes = 0;
    if (!block || blockBytes === 0) return [];
    if (blockBytes === BLOCK_BYTES) return [block];
    // A view would keep the whole block for a few bytes.
    return [Buffer.from(block.subarray(0, blockBytes))];
  }
}
