import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { IdSet } from './id-set.js';

describe('IdSet', () => {
  it('has what was added, and nothing else', () => {
    const id = fc.oneof(fc.bigInt(0n, 70_000n), fc.bigInt(0n, 2n ** 63n - 1n));
    fc.assert(
      fc.property(fc.array(id), fc.array(id), (added, asked) => {
        const set = new IdSet();
        for (const one of added) set.add(one);
        for (const one of [...added, ...asked]) expect(set.has(one)).toBe(added.includes(one));
      }),
    );
  });
});
