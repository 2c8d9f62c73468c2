const IDS_PER_BLOCK = 1 << 16;

/** A set of row ids in a bit each: a million of them are 125 KB, in whatever order they come. */
export class IdSet {
  private readonly blocks = new Map<bigint, Uint8Array>();

  add(id: bigint): void {
    const [block, byte, bit] = place(id);
    let bits = this.blocks.get(block);
    if (!bits) this.blocks.set(block, (bits = new Uint8Array(IDS_PER_BLOCK / 8)));
    bits[byte]! |= bit;
  }

  has(id: bigint): boolean {
    const [block, byte, bit] = place(id);
    return ((this.blocks.get(block)?.[byte] ?? 0) & bit) !== 0;
  }
}

function place(id: bigint): [block: bigint, byte: number, bit: number] {
  const within = Number(id % BigInt(IDS_PER_BLOCK));
  return [id / BigInt(IDS_PER_BLOCK), within >> 3, 1 << (within & 7)];
}
