import { setTimeout as sleep } from 'node:timers/promises';

/** Spreads work over time, so that it leaves database and store to their clients. */
export class Pace {
  private freeAt = 0;

  /** @param perSecond how many things may be done in one second */
  constructor(
    private readonly perSecond: number,
    private readonly signal: AbortSignal,
  ) {}

  /** Most that should be done in one step, so that no step is a burst of more than a second. */
  batch(most: number): number {
    return Math.max(1, Math.min(most, Math.ceil(this.perSecond)));
  }

  /** Waits until so much work, just done, was not too fast; ends early when the work is to stop. */
  async spend(count: number): Promise<void> {
    const now = performance.now();
    this.freeAt = Math.max(now, this.freeAt) + (count / this.perSecond) * 1000;
    const waitMs = this.freeAt - now;
    if (waitMs < 1) return;
    await sleep(waitMs, undefined, { signal: this.signal }).catch((error: unknown) => {
      if (!this.signal.aborted) throw error;
    });
  }
}
