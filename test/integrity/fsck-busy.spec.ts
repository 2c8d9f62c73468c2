import { afterAll, beforeAll, expect, it } from '@jest/globals';
import {
  BatchDeleteImageCommand,
  DeleteRepositoryCommand,
  ECRServiceException,
  InitiateLayerUploadCommand,
} from '@aws-sdk/client-ecr';
import type { Finding } from '../../src/registry/integrity/finding.js';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import { fsck } from '../support/fsck.js';
import { type Blob, layer } from '../support/images.js';
import { beginUpload, createRepository, MEBIBYTE, pushImage, pushLayer } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { startRegistry, startReplica, type TestRegistry } from '../support/registry.js';
import { flipped, type StoredObjects, storedObjects } from '../support/stored-objects.js';
import { describeEachStore } from '../support/stores.js';

const WORKERS = 4;
const STEPS = 14;

describeEachStore('fsck of a registry that is being used', (store) => {
  let registry: TestRegistry;
  let replica: TestRegistry;
  let objects: StoredObjects;
  beforeAll(async () => {
    // The collector takes everything that lost its last reference at once, so that rows and objects go all the time.
    const config = { STOWAGE_ROLE: 'api', STOWAGE_ORPHAN_GRACE_HOURS: '0.0000001' };
    registry = await startRegistry({ store, config });
    replica = await startReplica(registry);
    objects = storedObjects(registry.environment);
  });
  afterAll(async () => {
    await replica?.close();
    await registry?.close();
  });

  /** Things that happen in a registry, in an order of each worker's own. */
  const steps: ((at: TestRegistry, repository: string, seed: number) => Promise<unknown>)[] = [
    (at, repository, seed) => pushImage(at.ecr, repository, `image ${seed % 5}`, [`v${seed % 3}`]),
    (at, repository, seed) =>
      at.ecr.send(
        new BatchDeleteImageCommand({
          repositoryName: repository,
          imageIds: [{ imageTag: `v${seed % 3}` }],
        }),
      ),
    (at, repository, seed) => pushLayer(at.ecr, repository, layer(6 * MEBIBYTE, `large ${seed % 2}`)),
    (at, repository, seed) => pushLayer(at.ecr, repository, layer(3_000, `small ${seed % 7}`)),
    (at, repository, seed) => {
      const { digest } = layer(3_000, `small ${seed % 7}`);
      return at.fetchOci(`/v2/${repository}/blobs/${digest}`, { method: 'DELETE' });
    },
    async (at, repository, seed) => {
      const upload = await beginUpload(at.ecr, repository);
      await upload.part(layer(5 * MEBIBYTE, seed).bytes, 0);
      await upload.part(layer(10, seed).bytes, 5 * MEBIBYTE);
    },
    async (at, repository, seed) => {
      const upload = await beginUpload(at.ecr, repository);
      await upload.part(layer(5 * MEBIBYTE + seed, seed).bytes, 0);
      await at.fetchOci(`/v2/${repository}/blobs/uploads/${upload.id}`, { method: 'DELETE' });
    },
    (at, repository) => at.ecr.send(new InitiateLayerUploadCommand({ repositoryName: repository })),
    async (at) => {
      const doomed = await createRepository(at.ecr);
      await pushImage(at.ecr, doomed, 'of a repository that goes', ['v1']);
      await (await beginUpload(at.ecr, doomed)).part(layer(6 * MEBIBYTE, 'goes').bytes, 0);
      await at.ecr.send(new DeleteRepositoryCommand({ repositoryName: doomed, force: true }));
    },
    (at) => at.app.get(CollectionService, { strict: false }).collect(new AbortController().signal),
  ];

  const work = async (worker: number, repositories: string[]): Promise<void> => {
    let state = worker + 1;
    const next = (below: number): number => (state = (state * 48271) % 2147483647) % below;
    for (let step = 0; step < STEPS; step += 1) {
      const at = next(2) === 0 ? registry : replica;
      await steps[next(steps.length)]!(at, repositories[next(repositories.length)]!, next(1000)).catch(
        (error: unknown) => {
          // Others delete what this one is about to use.
          if (!(error instanceof ECRServiceException) || error.$fault === 'server') throw error;
        },
      );
    }
  };
  const objectOf = async ({ digest }: Blob): Promise<string> =>
    (await registry.prisma.blob.findUniqueOrThrow({ where: { sha256: digest.slice(7) } })).objectKey;

  it('finds nothing but what is wrong, and repairs nothing but that', async () => {
    const still = await createRepository(registry.ecr);
    const image = await pushImage(registry.ecr, still, `${store} at rest`, ['v1']);
    const repositories = await Promise.all([1, 2, 3].map(() => createRepository(registry.ecr)));
    const stopping = new AbortController();
    const load = Promise.all(
      Array.from({ length: WORKERS }, (_, worker) => work(worker, repositories)),
    ).finally(() => stopping.abort());
    const found: Finding[] = [];
    const runs: Promise<void>[] = [0, 1].map(async (run) => {
      const at = [registry, replica][run]!;
      do found.push(...(await fsck(at, { repair: run === 0 })).findings);
      while (!stopping.signal.aborted);
    });
    await Promise.all([load, ...runs]);
    expect(found).toEqual([]);

    const [lost, rotten] = [image.config, image.layers[0]!];
    await objects.remove(await objectOf(lost));
    await objects.change(await objectOf(rotten), flipped);
    await registry.prisma.$executeRaw`
      UPDATE repository_counter SET image_count = image_count + 3 WHERE (repository_id, slot) IN
        (SELECT repository_id, min(slot) FROM repository_counter WHERE repository_id IN
          (SELECT id FROM repository WHERE name = ${repositories[0]!}) GROUP BY 1)`;
    const [checked] = await Promise.all([
      fsck(registry, { repair: true }),
      ...Array.from({ length: WORKERS }, (_, worker) => work(100 + worker, repositories)),
    ]);
    expect(checked.kinds).toEqual(['missing-object', 'repository-counters', 'wrong-bytes']);
    expect(checked.findings.every(({ repaired }) => repaired)).toBe(true);
    for (const blob of [lost, rotten]) await pushLayer(registry.ecr, still, blob);
    expect((await fsck(registry)).findings).toEqual([]);
    await expectExactCounters(registry.prisma);
  }, 120_000);
});
