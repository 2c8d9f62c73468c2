import { setTimeout as sleep } from 'node:timers/promises';
import type { PrismaService } from '../../src/database/prisma.service.js';

/**
 * Holds all counters of a repository while `during` runs: whatever counts there (a push, an upload's completion, the collector)
 * stops at that point of its transaction, with all its locks, and goes on afterwards.
 */
export async function whileCountingWaits<Result>(
  prisma: PrismaService,
  repositoryName: string,
  during: () => Promise<Result>,
): Promise<Result> {
  await prisma.$executeRaw`
    INSERT INTO repository_counter (repository_id, slot)
    SELECT id, slot FROM repository, generate_series(-63, 63) AS slot WHERE name = ${repositoryName} ON CONFLICT DO NOTHING`;
  return prisma.$transaction(
    async (tx) => {
      await tx.$executeRaw`
        SELECT FROM repository_counter c JOIN repository r ON r.id = c.repository_id WHERE r.name = ${repositoryName} FOR UPDATE OF c`;
      return during();
    },
    { timeout: 60_000 },
  );
}

/** Waits until so many statements stand before a lock. */
export async function untilWaiting(prisma: PrismaService, count: number): Promise<void> {
  for (;;) {
    const [row] = await prisma.$queryRaw<{ waiting: number }[]>`
      SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    if (row!.waiting >= count) return;
    await sleep(10);
  }
}
