import { jest } from '@jest/globals';
import pg from 'pg';

const EDGE = /^(BEGIN|COMMIT|ROLLBACK|SET TRANSACTION|SAVEPOINT)/i;

/** What goes to PostgreSQL meanwhile. */
export interface Asked {
  /** Without the edges of transactions. */
  statements: string[];
  transactions: number;
}

/** What goes from this process to PostgreSQL meanwhile, by whatever library. */
export async function askedDuring(work: () => Promise<unknown>): Promise<Asked> {
  const query = jest.spyOn(pg.Client.prototype, 'query');
  try {
    await work();
    const texts = query.mock.calls.map(([first]: unknown[]) =>
      typeof first === 'string' ? first : String((first as { text?: unknown }).text),
    );
    return {
      statements: texts.filter((text) => !EDGE.test(text)),
      transactions: texts.filter((text) => /^BEGIN/i.test(text)).length,
    };
  } finally {
    query.mockRestore();
  }
}
