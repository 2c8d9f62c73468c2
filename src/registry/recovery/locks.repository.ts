import { Injectable } from '@nestjs/common';
import type pg from 'pg';
import { inLongTransaction } from '../../database/postgres-connection.js';
import { PostgresServer } from '../../database/postgres-server.js';
import { RecoveryError } from './recovery-error.js';

/** Held shared by whoever needs all objects of a snapshot to stay; the collector removes none meanwhile. */
const OBJECTS_KEPT = 'stowage-objects-kept';

/** Locks held for as long as a piece of work takes, each by a transaction that does nothing else: they end with the process. */
@Injectable()
export class LocksRepository {
  constructor(private readonly server: PostgresServer) {}

  /** @throws RecoveryError when another process is at the same work */
  async exclusively<Result>(work: string, run: () => Promise<Result>): Promise<Result> {
    return inLongTransaction(this.server.url, async (client) => {
      const { rows } = await client.query<{ taken: boolean }>(
        'SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS taken',
        [`stowage-${work}`],
      );
      if (!rows[0]!.taken) throw new RecoveryError(`Another ${work} of this registry is running.`);
      const result = await run();
      await assertHeld(client);
      return result;
    });
  }

  /**
   * No object a committed row names when this begins is removed from the store before it ends.
   * @throws RecoveryError when the database let go of the lock before the end
   */
  async keepingObjects<Result>(run: () => Promise<Result>): Promise<Result> {
    return inLongTransaction(this.server.url, async (client) => {
      await client.query('SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))', [OBJECTS_KEPT]);
      const result = await run();
      await assertHeld(client);
      return result;
    });
  }
}

async function assertHeld(client: pg.Client): Promise<void> {
  try {
    await client.query('SELECT 1');
  } catch (cause) {
    throw new RecoveryError('The connection to the database broke, and with it the hold on the layers.', {
      cause,
    });
  }
}
