import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { type JobQueue, queueOf } from '../replicas/jobs.js';
import { openRecords, type Records } from '../replicas/records.js';
import { createDatabase, type TestDatabase } from '../support/postgres.js';
import { type PostgresProxy, startPostgresProxy } from '../support/postgres-proxy.js';
import { createRepository } from '../support/pushes.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';

const JOB = 'copy-records';
const WORK = /stowage-copy-records/;
const COMPLETION = /^delete from .*_private_jobs/s;
const FAILURE = /set\s+last_error = /;

describe('A job whose end the database does not take', () => {
  let own: TestDatabase;
  let database: PostgresProxy;
  let registry: RegistryProcess;
  let records: Records;
  let queue: JobQueue;

  beforeAll(async () => {
    own = await createDatabase();
    database = await startPostgresProxy(own.url);
    registry = await startRegistryProcess({
      store: 'filesystem',
      embeddedDatabase: true, // that is: none of the tests' server, since this one is given
      config: { DATABASE_URL: database.url },
    });
    const { environment } = registry;
    records = openRecords({
      ...environment,
      settings: { ...environment.settings, DATABASE_URL: own.url },
    });
    queue = queueOf(records);
  });
  afterAll(async () => {
    await records?.close();
    await registry?.close();
    await database?.close();
    await own?.drop();
  });

  /** As often as it takes: what a queue that ended had taken is nobody's any more. */
  const untilDone = async (): Promise<void> => {
    while ((await records.prisma.pendingRecord.count()) > 0) {
      if (!registry.isRunning) return;
      await queue.fall(JOB);
      await sleep(200);
    }
  };

  it.each([
    ['done', [COMPLETION]],
    ['failed', [WORK, FAILURE]],
  ])('does not end the service, and runs again: %s', async (_how, statements) => {
    const before = database.faults;
    for (const statement of statements) database.on(statement, 'lost request');
    await createRepository(registry.ecr);
    while (database.faults < before + statements.length && registry.isRunning) {
      await queue.fall(JOB);
      await sleep(200);
    }
    await createRepository(registry.ecr);
    await untilDone();
    expect(registry.isRunning).toBe(true);
    expect(await records.prisma.pendingRecord.count()).toBe(0);
  });
});
