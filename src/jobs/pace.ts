import { setTimeout as sleep } from 'node:timers/promises';

/** A pause shorter than this is saved up. Milliseconds. */
const SHORTEST_PAUSE_MS = 20;

/** Spreads work over time, so that it leaves database and store to their clients. */
export class Pace {
  private dueAt = performance.now();

  /** @param perSecond how much may be done in one second, in the caller's unit; null: as fast as it goes */
  constructor(private readonly perSecond: number | null) {}

  /** Most that should be done in one step, so that no step is a burst of more than a second. */
  batch(most: number): number {
    return this.perSecond === null ? most : Math.max(1, Math.min(most, Math.ceil(this.perSecond)));
  }

  /** Waits until so much work, just done, was due. @throws AbortError */
  async keep(amount: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.perSecond === null) return;
    const now = performance.now();
    // What was not used is not saved up: a slow store is not made up for by a burst.
    this.dueAt = Math.max(this.dueAt, now) + (amount / this.perSecond) * 1000;
    const ahead = this.dueAt - now;
    if (ahead >= SHORTEST_PAUSE_MS) await sleep(ahead, undefined, { signal });
  }
}
