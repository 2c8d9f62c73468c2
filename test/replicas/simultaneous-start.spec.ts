import { expect, it } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import { startDeployment } from './deployment.js';
import { openRecords, type Records } from './records.js';
import { imageConfig, layer } from '../support/images.js';
import { createDatabase } from '../support/postgres.js';
import { describeWhere } from '../support/programs.js';
import { createRepository, pushLayer } from '../support/pushes.js';
import { s3IsAvailable } from '../support/stores.js';
import { pull } from '../support/upload-doors.js';

const PROCESSES = 4;
/** A race is won by chance: it is run more than once. */
const ROUNDS = [1, 2, 3];

describeWhere(
  s3IsAvailable(),
  `${PROCESSES} processes that start at once on an empty database and without a bucket`,
  'an S3 server',
  () => {
    it.each(ROUNDS)(
      'all become ready, on one structure, one store and one root key, and serve each other’s layers (round %i)',
      async (round) => {
        const database = await createDatabase('empty');
        try {
          const deployment = await startDeployment(PROCESSES, { DATABASE_URL: database.url });
          const records = openRecords(deployment.environment);
          try {
            await expectOneOfEach(records);
            const { replicas } = deployment;
            const repository = await createRepository(replicas[0]!.ecr);
            const blobs = replicas.map((_, n) =>
              n % 2 ? layer(2_000 + n, `${round}`) : imageConfig(`${round} ${n}`),
            );
            await Promise.all(replicas.map(({ ecr }, n) => pushLayer(ecr, repository, blobs[n]!)));
            for (const [n, blob] of blobs.entries()) {
              const pulled = await pull(replicas[(n + 1) % PROCESSES]!, repository, blob);
              expect(pulled.equals(blob.bytes)).toBe(true);
            }
          } finally {
            await records.close();
            await deployment.close();
          }
        } finally {
          await database.drop();
        }
      },
      120_000,
    );
  },
  'REQUIRE_S3',
);

async function expectOneOfEach({ prisma }: Records): Promise<void> {
  const migrations = (await readdir('prisma/migrations', { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  const applied = await prisma.$queryRaw<{ name: string; finished: boolean }[]>`
    SELECT migration_name AS name, finished_at IS NOT NULL AS finished FROM _prisma_migrations ORDER BY migration_name`;
  expect(applied).toEqual(migrations.sort().map((name) => ({ name, finished: true })));
  const queue = await prisma.$queryRaw<
    { id: number }[]
  >`SELECT id FROM graphile_worker.migrations ORDER BY id`;
  expect(queue.length).toBeGreaterThan(0);
  expect(new Set(queue.map(({ id }) => id)).size).toBe(queue.length);
  expect(await prisma.storeBinding.count()).toBe(1);
  expect(await prisma.rootKey.count()).toBe(1);
}
