import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { queueOf } from './jobs.js';
import { type Pooler, pgbouncer, startPooler } from './pooler.js';
import { openRecords, type Records } from './records.js';
import { within } from '../restart/crash.js';
import { age } from '../support/collecting.js';
import { layer } from '../support/images.js';
import { describeWhere } from '../support/programs.js';
import { createRepository, pushImage, pushLayer } from '../support/pushes.js';
import {
  type RegistryProcess,
  type ServiceProcess,
  startReplicaProcess,
  startServiceProcess,
} from '../support/registry-process.js';
import { createEnvironment, replicaOf, type TestEnvironment } from '../support/test-environment.js';
import { pull } from '../support/upload-doors.js';

const TEST_MS = 120_000;
const PATIENCE_MS = 30_000;

describeWhere(pgbouncer() !== undefined, 'Through PgBouncer', 'pgbouncer', () => {
  let environment: TestEnvironment;
  let records: Records;
  let pooler: Pooler | undefined;
  let started: ServiceProcess[];

  beforeEach(async () => {
    environment = await createEnvironment({ store: 'filesystem' });
    records = openRecords(environment);
    started = [];
  });
  afterEach(async () => {
    for (const service of started) await service.kill('SIGKILL');
    await pooler?.stop();
    await records.close();
    await environment.remove();
  });

  const through = async (changes: Record<string, string> = {}): Promise<TestEnvironment> => {
    pooler = await startPooler(environment.settings['DATABASE_URL']!, changes);
    return replicaOf(environment, { DATABASE_URL: pooler.url });
  };
  const startRole = async (of: TestEnvironment, role: string): Promise<RegistryProcess> => {
    const service = await startReplicaProcess(await replicaOf(of, { STOWAGE_ROLE: role }));
    started.push(service);
    return service;
  };

  it(
    'with the documented settings, replicas serve each other’s layers and run jobs',
    async () => {
      const pooled = await through();
      const [one, other] = [await startRole(pooled, 'api'), await startRole(pooled, 'both')];
      const repository = await createRepository(one.ecr);
      // At once and by turns, so that the same statements are prepared on many sessions, in different orders.
      const images = await Promise.all(
        Array.from({ length: 12 }, (_, n) =>
          pushImage((n % 2 ? one : other).ecr, repository, `pooled ${n}`, [`v${n}`]),
        ),
      );
      for (const [n, { config, layers }] of images.entries())
        for (const blob of [config, ...layers])
          expect((await pull(n % 2 ? other : one, repository, blob)).equals(blob.bytes)).toBe(true);
      await pushLayer(one.ecr, repository, layer(3_000, 'loose'));
      await age(records, 48);
      const before = await records.prisma.repositoryLayer.count();
      await queueOf(records).fall('collect-garbage');
      await within(PATIENCE_MS, async () => (await records.prisma.repositoryLayer.count()) === before - 1);
      expect(await other.kill('SIGTERM')).toBe(0);
    },
    TEST_MS,
  );

  it.each([
    [
      'gives every transaction another session',
      { pool_mode: 'transaction' },
      'a pooler that gives every transaction another session',
    ],
    [
      'does not let the settings of a session pass',
      { ignore_startup_parameters: 'extra_float_digits' },
      'a pooler that refuses the settings of a session (unsupported startup parameter',
    ],
  ])(
    'that %s, no process starts, and it says why',
    async (_, changes, sentence) => {
      const pooled = await through(changes);
      // A session that others used before does not pass for one of its own.
      for (let n = 0; n < 2; n += 1) await expect(startServiceProcess(pooled)).rejects.toThrow(sentence);
    },
    TEST_MS,
  );
});
