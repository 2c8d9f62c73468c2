import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { CompactChunks } from './compact-chunks.js';

describe('compact chunks', () => {
  it('are the same bytes in the same order, and few', () => {
    const chunk = fc.oneof(
      { arbitrary: fc.uint8Array({ maxLength: 5 }), weight: 8 },
      { arbitrary: fc.uint8Array({ minLength: 3_000, maxLength: 40_000, size: 'max' }), weight: 1 },
    );
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 400 }), (chunks) => {
        const compact = new CompactChunks();
        const passed: Buffer[] = [];
        for (const one of chunks.map((bytes) => Buffer.from(bytes)))
          passed.push(...(compact.isFit(one) ? [one] : compact.add(one)));
        passed.push(...compact.rest(), ...compact.rest());
        expect(Buffer.concat(passed).equals(Buffer.concat(chunks))).toBe(true);
        const large = chunks.filter(({ length }) => length >= 4 * 1024).length;
        expect(passed.length).toBeLessThanOrEqual(
          2 * large + 1 + Math.floor(Buffer.concat(chunks).length / 16_384),
        );
      }),
      { numRuns: 200 },
    );
  });

  it('are not views of chunks that their client may write to again', () => {
    const compact = new CompactChunks();
    const chunk = Buffer.from('abc');
    compact.add(chunk);
    chunk.fill(0);
    expect(compact.rest()).toEqual([Buffer.from('abc')]);
  });
});
