import { setTimeout as sleep } from 'node:timers/promises';
import { isRetryableConflict } from './database-errors.js';
import type { Prisma } from './generated/client.js';
import type { PrismaService } from './prisma.service.js';

const ATTEMPTS = 5;

/**
 * Runs the work in one READ COMMITTED transaction and again when the database broke a deadlock. The work must do nothing but
 * database statements, since it may run more than once.
 */
export async function inTransaction<Result>(
  prisma: PrismaService,
  work: (tx: Prisma.TransactionClient) => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await prisma.$transaction(work, { maxWait: 10_000, timeout: 30_000 });
    } catch (error) {
      if (attempt >= ATTEMPTS || !isRetryableConflict(error)) throw error;
      await sleep(10 * 2 ** attempt * Math.random());
    }
  }
}
