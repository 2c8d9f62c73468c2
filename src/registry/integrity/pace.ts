import { setTimeout as sleep } from 'node:timers/promises';

/** A pause shorter than this is saved up. Milliseconds. */
const SHORTEST_PAUSE_MS = 20;

/** Holds reading to a rate, so that clients hardly notice it. */
export class Pace {
  private dueAt = performance.now();

  /** @param bytesPerSecond null: as fast as it goes */
  constructor(private readonly bytesPerSecond: number | null) {}

  /** Waits until these bytes, just read, were due. @throws AbortError */
  async keep(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.bytesPerSecond === null) return;
    const now = performance.now();
    // What was not used is not saved up: a slow store is not made up for by a burst.
    this.dueAt = Math.max(this.dueAt, now) + (bytes / this.bytesPerSecond) * 1000;
    const ahead = this.dueAt - now;
    if (ahead >= SHORTEST_PAUSE_MS) await sleep(ahead, undefined, { signal });
  }
}
