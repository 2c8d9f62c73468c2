/** One key, and what either side has of it. */
export interface Sides<Left, Right> {
  left?: Left;
  right?: Right;
}

/**
 * Walks two sequences that are sorted by the same text side by side, so that neither need be held in memory.
 * @param keyOf of both; sorted by code units
 */
export async function* bothSides<Left extends Keyed, Right extends Keyed>(
  lefts: AsyncIterable<Left>,
  rights: AsyncIterable<Right>,
): AsyncGenerator<Sides<Left, Right>> {
  const [left, right] = [lefts[Symbol.asyncIterator](), rights[Symbol.asyncIterator]()];
  let [one, other] = await Promise.all([left.next(), right.next()]);
  try {
    while (!one.done || !other.done) {
      const order = one.done ? 1 : other.done ? -1 : compare(one.value, other.value);
      yield {
        ...(order <= 0 && { left: one.value as Left }),
        ...(order >= 0 && { right: other.value as Right }),
      };
      if (order <= 0) one = await left.next();
      if (order >= 0) other = await right.next();
    }
  } finally {
    await left.return?.();
    await right.return?.();
  }
}

interface Keyed {
  key: string;
}

/** Keys of S3 objects have a prefix, which those of files lack. */
export function bareKey(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1);
}

function compare(one: Keyed, other: Keyed): number {
  const [a, b] = [bareKey(one.key), bareKey(other.key)];
  return a < b ? -1 : a > b ? 1 : 0;
}
