import { describe, expect, it } from '@jest/globals';
import { type StoreFailure, StoreRetries } from './store-retries.js';

/** Retries whose pauses are written down in place of being waited for, with dice that always show the same. */
function retriesWith(random: number, patienceMs = 60_000): { retries: StoreRetries; pauses: number[] } {
  const pauses: number[] = [];
  const chance = {
    random: () => random,
    pause: async (milliseconds: number) => void pauses.push(milliseconds),
  };
  return { retries: new StoreRetries(patienceMs, chance), pauses };
}

const dead = (): Promise<never> => Promise.reject(new Error('down'));
const attempts = async (retries: StoreRetries, failure: StoreFailure): Promise<number> => {
  let count = 0;
  const failing = retries.run(
    () => ((count += 1), dead()),
    () => failure,
  );
  await expect(failing).rejects.toThrow('down');
  return count;
};

describe('a request to the store', () => {
  it('is sent at most five times, with pauses that grow', async () => {
    const { retries, pauses } = retriesWith(0.5);
    expect(await attempts(retries, 'transient')).toBe(5);
    expect(pauses).toEqual([50, 100, 200, 400]);
  });

  it('is sent again more slowly to a store that wants to be spared', async () => {
    const { retries, pauses } = retriesWith(0.999);
    expect(await attempts(retries, 'throttled')).toBe(5);
    expect(pauses.map(Math.ceil)).toEqual([500, 999, 1998, 3996]);
  });

  it('is not sent again when the answer would be the same', async () => {
    expect(await attempts(retriesWith(0.5).retries, 'final')).toBe(1);
  });

  it('is sent again at a moment of its own, for which all of the pause is drawn', async () => {
    const pauses: number[] = [];
    const chance = { random: Math.random, pause: async (ms: number) => void pauses.push(ms) };
    for (let n = 0; n < 200; n += 1) await attempts(new StoreRetries(60_000, chance), 'throttled');
    const firsts = pauses.filter((_, index) => index % 4 === 0);
    expect(Math.min(...firsts)).toBeLessThan(100);
    expect(Math.max(...firsts)).toBeGreaterThan(400);
    expect(new Set(firsts).size).toBeGreaterThan(190);
  });

  it('is not sent again once its time is over', async () => {
    expect(await attempts(retriesWith(0.5, 0).retries, 'transient')).toBe(1);
  });

  it('is not sent again when nobody waits for it any more', async () => {
    const gone = new AbortController();
    let count = 0;
    const failing = retriesWith(0.5).retries.run(
      () => ((count += 1), gone.abort(), dead()),
      () => 'transient',
      gone.signal,
    );
    await expect(failing).rejects.toThrow('down');
    expect(count).toBe(1);
  });
});

describe('a store that is down', () => {
  it('gets each request once, after as many repetitions as all requests together may have', async () => {
    const { retries } = retriesWith(0.5);
    let sent = 0;
    for (let request = 0; request < 100; request += 1) sent += await attempts(retries, 'transient');
    expect(sent).toBe(100 + 50);
    expect(await attempts(retries, 'transient')).toBe(1);
  });

  it('is asked again as before once requests succeed', async () => {
    const { retries } = retriesWith(0.5);
    for (let request = 0; request < 50; request += 1) await attempts(retries, 'transient');
    for (let request = 0; request < 40; request += 1)
      await retries.run(
        async () => 'up',
        () => 'final',
      );
    expect(await attempts(retries, 'transient')).toBe(5);
    expect(await attempts(retries, 'transient')).toBe(1);
  });

  it('costs nothing when every repetition succeeds', async () => {
    const { retries } = retriesWith(0.5);
    for (let request = 0; request < 1000; request += 1) {
      let first = true;
      const once = retries.run(
        async () => {
          if (first) {
            first = false;
            return dead();
          }
          return 'up';
        },
        () => 'transient',
      );
      expect(await once).toBe('up');
    }
    expect(await attempts(retries, 'transient')).toBe(5);
  });
});
