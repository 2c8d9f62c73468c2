import { describe, expect, it } from '@jest/globals';
import { giveBack } from './spent-memory.js';

describe('Memory that is given back', () => {
  it('is that of buffers which are all of it', () => {
    const whole = Buffer.alloc(70_000, 1);
    giveBack([whole]);
    expect(whole.length).toBe(0);
  });

  it('is not that of buffers which share it', () => {
    const memory = Buffer.alloc(70_000, 1);
    const [one, other] = [memory.subarray(0, 40_000), memory.subarray(40_000)];
    const pooled = Buffer.from('a few bytes of the pool');
    giveBack([one, pooled]);
    expect([one.length, other.length, pooled.toString()]).toEqual([
      40_000,
      30_000,
      'a few bytes of the pool',
    ]);
  });
});
