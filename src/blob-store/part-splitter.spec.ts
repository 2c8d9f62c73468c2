import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ByteBudget } from './byte-budget.js';
import { MIN_PART_BYTES, PartSplitter } from './part-splitter.js';

const MEBIBYTE = 1024 * 1024;
/** Never written to: where its views begin tells which bytes they stand for. */
const SOURCE = Buffer.alloc(64 * MEBIBYTE);

interface Run {
  sizes: number[];
  capacity: number;
  /** Held by others all the while. Bytes. */
  elsewhere: number;
  inMemory: boolean;
  /** Turns of the event loop each part takes. */
  delays: number[];
}

async function* views(sizes: number[]): AsyncGenerator<Buffer> {
  let at = 0;
  for (const size of sizes) {
    yield SOURCE.subarray(at, at + size);
    at += size;
    if (size % 3 === 0) await turn();
  }
}

async function split({ sizes, capacity, elsewhere, inMemory, delays }: Run) {
  const budget = new ByteBudget(capacity);
  const other = await budget.reserve(elsewhere);
  const sent: { n: number; bytes: Buffer[] }[] = [];
  let [next, inFlight, mostInFlight, begun] = [1, 0, 0, 0];
  const splitter = new PartSplitter(
    budget,
    { signal: new AbortController().signal, takePartNumbers: async (count) => (next += count) - count },
    async (bytes, n) => {
      expect(begun).toBe(1);
      sent.push({ n, bytes });
      mostInFlight = Math.max(mostInFlight, (inFlight += 1));
      for (let turns = delays[n % delays.length]!; turns > 0; turns -= 1) await turn();
      inFlight -= 1;
      return { n, etag: `etag ${n}`, size: length(bytes), crc32: '' };
    },
  );
  splitter.beforeFirstPart = async () => void (begun += 1);
  const { parts, rest, restBytes } = await splitter.split({ bytes: views(sizes), inMemory });
  return { parts, rest, restBytes, sent, mostInFlight, held: budget.heldBytes - other.bytes };
}

const length = (bytes: Buffer[]): number => bytes.reduce((sum, { length }) => sum + length, 0);
const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0);

/** That the views are, one after the other, the first bytes of the source. */
function expectInOrder(bytes: Buffer[], total: number): void {
  let at = 0;
  for (const view of bytes) {
    expect(view.byteOffset - SOURCE.byteOffset).toBe(at);
    at += view.length;
  }
  expect(at).toBe(total);
}

describe('the part splitter', () => {
  const run = (sizes: number[], more: Partial<Run> = {}) =>
    split({ sizes, capacity: 160 * MEBIBYTE, elsewhere: 0, inMemory: false, delays: [1], ...more });

  it.each([
    [[0], [], 0],
    [[1], [], 1],
    [[MIN_PART_BYTES - 1], [], MIN_PART_BYTES - 1],
    [[MIN_PART_BYTES], [MIN_PART_BYTES], 0],
    [[20 * MEBIBYTE], [20 * MEBIBYTE], 0],
    [[21 * MEBIBYTE], [16 * MEBIBYTE, 5 * MEBIBYTE], 0],
    [[21 * MEBIBYTE - 1, 1], [16 * MEBIBYTE, 5 * MEBIBYTE], 0],
    [[16 * MEBIBYTE, 16 * MEBIBYTE, 16 * MEBIBYTE], [16 * MEBIBYTE, 16 * MEBIBYTE, 16 * MEBIBYTE], 0],
    [[38 * MEBIBYTE], [16 * MEBIBYTE, 16 * MEBIBYTE, 6 * MEBIBYTE], 0],
  ])('makes of %j bytes the parts %j and leaves %i', async (sizes, expected, rest) => {
    const { parts, restBytes } = await run(sizes);
    expect(parts.map(({ size }) => size)).toEqual(expected);
    expect(restBytes).toBe(rest);
  });

  it('loses no byte, whatever the chunks and however short the memory', async () => {
    const size = fc.oneof(fc.integer({ min: 1, max: 70_000 }), fc.integer({ min: 1, max: 9 * MEBIBYTE }));
    const runs = fc.record({
      sizes: fc.array(size, { maxLength: 14 }).filter((sizes) => sum(sizes) <= SOURCE.length),
      capacity: fc.integer({ min: MIN_PART_BYTES, max: 80 * MEBIBYTE }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      inMemory: fc.boolean(),
      delays: fc.array(fc.nat(6), { minLength: 1, maxLength: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(runs, async ({ share, ...given }) => {
        const elsewhere = Math.floor((given.capacity - MIN_PART_BYTES) * share);
        const { parts, rest, restBytes, sent, mostInFlight, held } = await split({ ...given, elsewhere });
        const total = sum(given.sizes);
        expectInOrder([...sent.flatMap(({ bytes }) => bytes), ...rest], total);
        expect(parts.map(({ n }) => n)).toEqual(sent.map(({ n }) => n));
        expect(parts.every(({ n }, index) => index === 0 || n > parts[index - 1]!.n)).toBe(true);
        for (const part of parts) expect(part.size).toBeGreaterThanOrEqual(MIN_PART_BYTES);
        expect(restBytes).toBe(length(rest));
        expect(restBytes).toBeLessThan(MIN_PART_BYTES);
        if (given.inMemory && total >= MIN_PART_BYTES) expect(restBytes).toBe(0);
        expect(mostInFlight).toBeLessThanOrEqual(3);
        expect(held).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('sends smaller parts, one at a time, where it gets no more memory', async () => {
    const sizes = Array.from({ length: 512 }, () => 65_536);
    const { parts, mostInFlight } = await run(sizes, { capacity: MIN_PART_BYTES, delays: [3] });
    expect(mostInFlight).toBe(1);
    for (const { size } of parts) expect(size).toBeLessThanOrEqual(MIN_PART_BYTES + 65_536);
  });

  it('uses the memory of parts that are sent for those that follow', async () => {
    const chunk = 65_535;
    const sizes = Array.from({ length: Math.floor(SOURCE.length / chunk) }, () => chunk);
    const { parts } = await run(sizes, { capacity: 40 * MEBIBYTE });
    expect(parts.slice(0, 3).map(({ size }) => size)).toEqual([16, 16, 16].map((size) => size * MEBIBYTE));
    expect(parts).toHaveLength(4);
  });

  it('gives its memory back and sends nothing more when a part, the source or the lease fails', async () => {
    for (const failing of ['part', 'source', 'lease']) {
      const budget = new ByteBudget(160 * MEBIBYTE);
      let [ended, numbers] = [0, 0];
      const splitter = new PartSplitter(
        budget,
        {
          signal: new AbortController().signal,
          takePartNumbers: async (count) => {
            numbers += count;
            if (failing === 'lease' && numbers > 1) throw new Error('lease');
            return numbers;
          },
        },
        async (_bytes, n) => {
          await turn();
          ended += 1;
          if (failing === 'part') throw new Error('part');
          return { n, etag: '', size: 0, crc32: '' };
        },
      );
      const bytes = (async function* () {
        yield* views([21 * MEBIBYTE, 21 * MEBIBYTE]);
        if (failing === 'source') throw new Error('source');
      })();
      await expect(splitter.split({ bytes, inMemory: false })).rejects.toThrow(failing);
      expect(budget.heldBytes).toBe(0);
      const before = ended;
      await turn();
      expect(ended).toBe(before);
    }
  });

  it('waits for its first memory, and no longer than the request lives', async () => {
    const budget = new ByteBudget(MIN_PART_BYTES);
    const other = await budget.reserve(1);
    const gone = new AbortController();
    const context = { signal: gone.signal, takePartNumbers: async () => 1 };
    const send = async () => ({ n: 1, etag: '', size: 0, crc32: '' });
    const split = new PartSplitter(budget, context, send).split({ bytes: views([70_000]), inMemory: false });
    gone.abort(new Error('gone'));
    await expect(split).rejects.toThrow('gone');
    other.release();
    expect(budget.heldBytes).toBe(0);
  });
});
