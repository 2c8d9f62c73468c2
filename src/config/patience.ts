import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for something that may never come about, whatever becomes of it, but only so long. */
export async function atMost(milliseconds: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  const late = sleep(milliseconds, undefined, { signal: over.signal }).catch(() => undefined);
  await Promise.race([work.catch(() => undefined), late]);
  over.abort();
}
