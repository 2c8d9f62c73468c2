import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';

/** How long a starting process waits for what it depends on. Milliseconds. */
const PATIENCE_MS = 60_000;
const PAUSE_MS = 1_000;

/**
 * Tries until the dependency answers, since database and store may start at the same time as the service.
 * @throws what the last attempt threw
 */
export async function waitFor<Result>(dependency: string, attempt: () => Promise<Result>): Promise<Result> {
  const giveUpAt = performance.now() + PATIENCE_MS;
  for (let told = false; ; told = true) {
    try {
      return await attempt();
    } catch (error) {
      if (!isUnreachable(error) || performance.now() > giveUpAt) throw error;
      if (!told) new Logger('Startup').warn(`Waiting for the ${dependency}: ${(error as Error).message}`);
      await sleep(PAUSE_MS);
    }
  }
}

/** No answer, or "starting up" (SQLSTATE 57P03); anything else will not mend by itself. */
function isUnreachable(error: unknown): boolean {
  const { code, name } = error as { code?: string; name?: string };
  return (
    /^(ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|57P03)$/.test(code ?? '') ||
    name === 'TimeoutError' ||
    name === 'AggregateError'
  );
}
