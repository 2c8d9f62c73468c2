import { BatchDeleteImageCommand } from '@aws-sdk/client-ecr';
import { IntegrityRepository } from '../../src/registry/integrity/integrity.repository.js';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import { layer } from '../support/images.js';
import { createRepository, pushImage, pushLayer } from '../support/pushes.js';
import { startReplica } from '../support/registry.js';
import { type Operation, PAGE, plain, type Stage } from './operation.js';

const OLD = '30 days';

export const COLLECTION: Operation[] = [
  {
    name: 'collection of garbage',
    // As many as one step of the collector takes.
    rows: 500,
    async prepare(stage, n) {
      await makeGarbage(stage, n);
      const service = stage.registry.app.get(CollectionService);
      return () => service.collect(new AbortController().signal);
    },
  },
  {
    name: 'sweep of the store',
    rows: 100,
    async prepare({ registry }) {
      // As far as this process is concerned, everything in the store is old.
      const replica = await startReplica(registry, {
        STOWAGE_ORPHAN_GRACE_HOURS: '0.000001',
        STOWAGE_UPLOAD_EXPIRY_HOURS: '0.000001',
      });
      return async () => {
        await replica.app.get(CollectionService).sweep(new AbortController().signal);
        await replica.close();
      };
    },
  },
];

export const INTEGRITY: Operation[] = [
  plain('figures and list of damaged layers', 1, async ({ registry }) => {
    const blobs = registry.app.get(IntegrityRepository);
    await blobs.countDamaged();
    await blobs.damaged(0n, PAGE);
    await blobs.leastRecentlyVerified();
  }),
  plain('scrub of the layers that wait longest', PAGE, ({ registry }) =>
    registry.app.get(IntegrityRepository).unverifiedFor(0, null, PAGE),
  ),
  plain('check of 100 objects of the store', 100, async ({ registry }, n) => {
    const blobs = registry.app.get(IntegrityRepository);
    const keys = Array.from({ length: 100 }, (_, index) => `staged/${100 * n + index}`);
    await blobs.spokenFor(keys);
    await blobs.stagedUnder(keys);
    await blobs.doomObject(keys[0]!);
  }),
];

/** Expired uploads, images that were deleted long ago, and layers that nobody ever named. */
async function makeGarbage({ registry }: Stage, n: number): Promise<void> {
  const { prisma, ecr } = registry;
  await prisma.$executeRawUnsafe(
    `UPDATE upload SET touched_at = now() - interval '${OLD}', created_at = now() - interval '${OLD}'
      WHERE id IN (SELECT id FROM upload WHERE state = 'open' AND repository_id BETWEEN ${2_000 + 20 * n} AND ${2_019 + 20 * n})`,
  );
  const repository = await createRepository(ecr);
  const { manifest } = await pushImage(ecr, repository, `garbage ${n}`);
  await pushLayer(ecr, repository, layer(100, `loose ${n}`));
  await ecr.send(
    new BatchDeleteImageCommand({ repositoryName: repository, imageIds: [{ imageDigest: manifest.digest }] }),
  );
  const queues = await prisma.$queryRawUnsafe<{ name: string; time: string }[]>(
    `SELECT table_name::text AS name, column_name::text AS time FROM information_schema.columns
      WHERE table_schema = 'public' AND column_name IN ('since', 'deleted_at', 'linked_at') AND table_name <> 'image'`,
  );
  for (const { name, time } of queues.filter(({ name }) => name !== 'repository_layer'))
    await prisma.$executeRawUnsafe(`UPDATE ${name} SET ${time} = now() - interval '${OLD}'`);
}
