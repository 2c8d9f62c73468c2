import { setTimeout as sleep } from 'node:timers/promises';

/** Why a request to the store failed, as far as sending it again is concerned. */
export type StoreFailure = 'final' | 'transient' | 'throttled';

/** The first sending included. */
const MOST_ATTEMPTS = 5;
/** Pauses grow from here: what broke once may work at once, a store that says SlowDown wants to be left alone. Milliseconds. */
const FIRST_PAUSE = { transient: 100, throttled: 500 };
const LONGEST_PAUSE_MS = 5_000;
/**
 * The bucket of the AWS SDKs' standard mode: a full one pays for 50 repetitions (100 that the store asked for by throttling),
 * and what they get back is what succeeded.
 */
const CAPACITY = 500;
const COST = { transient: 10, throttled: 5 };
const INCOME_OF_SUCCESS = 1;

interface Chance {
  /** From 0 to below 1. */
  random: () => number;
  pause: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>;
}

/**
 * Sends requests to the store again that failed in a way that may pass. All requests of a process draw on one budget: a store
 * that is down or overloaded gets each request once, and not five times, until it answers again. Pauses have full jitter, so
 * that requests that failed together do not come back together.
 */
export class StoreRetries {
  private capacity = CAPACITY;

  /** @param patienceMs no attempt begins later than this after the first one */
  constructor(
    private readonly patienceMs: number,
    private readonly chance: Chance = {
      random: Math.random,
      pause: (ms, signal) => sleep(ms, undefined, { signal }),
    },
  ) {}

  /**
   * @param failureOf judges what an attempt threw
   * @throws what the last attempt threw, or the signal's reason
   */
  async run<Output>(
    attempt: () => Promise<Output>,
    failureOf: (error: unknown) => StoreFailure,
    signal?: AbortSignal,
  ): Promise<Output> {
    const giveUpAt = performance.now() + this.patienceMs;
    let paid = INCOME_OF_SUCCESS;
    for (let attempts = 1; ; attempts += 1) {
      try {
        const output = await attempt();
        this.capacity = Math.min(CAPACITY, this.capacity + paid);
        return output;
      } catch (error) {
        const failure = failureOf(error);
        if (failure === 'final' || attempts >= MOST_ATTEMPTS || signal?.aborted) throw error;
        const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE[failure] * 2 ** (attempts - 1));
        const pause = this.chance.random() * longest;
        if (performance.now() + pause > giveUpAt || this.capacity < COST[failure]) throw error;
        paid = COST[failure];
        this.capacity -= paid;
        await this.chance.pause(pause, signal);
      }
    }
  }
}
