import { setTimeout as sleep } from 'node:timers/promises';

const ATTEMPTS = 4;
const PAUSE_MS = 250;

/**
 * Repeats what a moment of network trouble broke; a store hands bytes over as a stream, which nobody repeats for us.
 * @param isFinal errors that are an answer
 */
export async function withAttempts<Result>(
  attempt: () => Promise<Result>,
  isFinal: (error: unknown) => boolean = () => false,
): Promise<Result> {
  for (let left = ATTEMPTS - 1; ; left -= 1) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0 || isFinal(error)) throw error;
      await sleep(PAUSE_MS * 2 ** (ATTEMPTS - left) * (0.5 + Math.random()));
    }
  }
}
