import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import {
  BatchCheckLayerAvailabilityCommand,
  BatchDeleteImageCommand,
  DeleteRepositoryCommand,
  LayerAlreadyExistsException,
  UploadNotFoundException,
} from '@aws-sdk/client-ecr';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import {
  age,
  collectFully,
  impatientCollector,
  objectOf,
  objectsOf,
  running,
} from '../support/collecting.js';
import { type Blob, imageConfig, imageManifest, layer } from '../support/images.js';
import { beginUpload, createRepository, pushImage, pushLayer, putImage } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';
import { pull } from '../support/upload-doors.js';

describeEachStore('A layer no image references', (store) => {
  let registry: TestRegistry;
  let collection: CollectionService;
  let repository: string;
  beforeAll(async () => {
    registry = await startRegistry({ store, config: { STOWAGE_ROLE: 'api', STOWAGE_UNDELETE_WINDOW: '0' } });
    collection = registry.app.get(CollectionService, { strict: false });
  });
  afterAll(() => registry?.close());
  beforeEach(async () => {
    // Nothing of an earlier test is left to be collected.
    await age(registry, 48);
    await collectFully(registry);
    repository = await createRepository(registry.ecr);
  });

  const small = (seed: string): Blob => layer(2_000, `${store} ${seed}`);
  const available = async (...blobs: Blob[]): Promise<boolean[]> => {
    const { layers } = await registry.ecr.send(
      new BatchCheckLayerAvailabilityCommand({
        repositoryName: repository,
        layerDigests: blobs.map(({ digest }) => digest),
      }),
    );
    return blobs.map(({ digest }) => layers!.some(({ layerDigest }) => layerDigest === digest));
  };
  const isLinked = async (blob: Blob, name = repository): Promise<boolean> =>
    (await registry.prisma.repositoryLayer.count({
      where: { repository: { name }, blob: { sha256: blob.digest.slice(7) } },
    })) === 1;
  const mount = async (blob: Blob, from: string, to: string): Promise<number> =>
    (
      await registry.fetchOci(`/v2/${to}/blobs/uploads/?mount=${blob.digest}&from=${from}`, {
        method: 'POST',
      })
    ).status;
  const deleteBlob = async (blob: Blob): Promise<number> =>
    (await registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`, { method: 'DELETE' })).status;

  it('leaves its repository after the grace time, and the store after that', async () => {
    const [old, young, needed] = [small('old'), small('young'), small('needed')];
    await pushLayer(registry.ecr, repository, old);
    await pushLayer(registry.ecr, repository, needed);
    await putImage(registry.ecr, repository, imageManifest(needed, []));
    await age(registry, 25);
    await pushLayer(registry.ecr, repository, young);
    const [oldKey, youngKey, neededKey] = await Promise.all(
      [old, young, needed].map((blob) => objectOf(registry, blob)),
    );
    expect(await collection.collect(running)).toMatchObject({
      unlinkedLayers: 1,
      unseenBlobs: 1,
      freedBytes: old.size,
    });
    await collectFully(registry);
    expect(await available(old, young, needed)).toEqual([false, true, true]);
    const left = await objectsOf(registry);
    expect([oldKey, youngKey, neededKey].map((key) => left.includes(key!))).toEqual([false, true, true]);
    await expectExactCounters(registry.prisma);
  });

  it('has its grace time from the moment the last image let go of it', async () => {
    const { config, layers } = await pushImage(registry.ecr, repository, `${store} deleted`, ['v1', 'v2']);
    const sibling = imageManifest(config, []);
    await putImage(registry.ecr, repository, sibling);
    await age(registry, 48);
    await registry.ecr.send(
      new BatchDeleteImageCommand({
        repositoryName: repository,
        imageIds: [{ imageTag: 'v1' }, { imageTag: 'v2' }],
      }),
    );
    await collectFully(registry);
    expect(await isLinked(layers[0]!)).toBe(true);
    await age(registry, 23);
    await collectFully(registry);
    expect(await isLinked(layers[0]!)).toBe(true);
    await age(registry, 2);
    await collectFully(registry);
    expect([await isLinked(layers[0]!), await isLinked(config)]).toEqual([false, true]);
    expect(await objectOf(registry, layers[0]!)).toBeUndefined();
    await expectExactCounters(registry.prisma);
  });

  it('stays in other repositories, and its object with them', async () => {
    const blob = small('shared');
    const other = await createRepository(registry.ecr);
    await pushLayer(registry.ecr, repository, blob);
    expect(await mount(blob, repository, other)).toBe(201);
    await putImage(registry.ecr, other, imageManifest(blob, []));
    await age(registry, 25);
    await collectFully(registry);
    expect([await isLinked(blob), await isLinked(blob, other)]).toEqual([false, true]);
    expect((await pull(registry, other, blob)).equals(blob.bytes)).toBe(true);
    await expectExactCounters(registry.prisma);
  });

  const WAYS: [how: string, tell: (blob: Blob) => Promise<void>][] = [
    ['BatchCheckLayerAvailability', async (blob: Blob) => void (await available(blob))],
    [
      'HEAD',
      async (blob: Blob) =>
        void (await registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`, { method: 'HEAD' })),
    ],
    [
      'an upload of the same bytes',
      async (blob: Blob) => {
        const upload = await beginUpload(registry.ecr, repository);
        await upload.part(blob.bytes, 0);
        await refusal(upload.complete(blob.digest), LayerAlreadyExistsException);
      },
    ],
    [
      'a mount of what is there',
      async (blob: Blob) => {
        const other = await createRepository(registry.ecr);
        await pushLayer(registry.ecr, other, blob);
        expect(await mount(blob, other, repository)).toBe(201);
      },
    ],
  ];
  it.each(WAYS)('that %s told of can be used for half the grace time at least', async (how, tell) => {
    const blobs = ['early', 'late'].map((when) => small(`${how} ${when}`));
    for (const blob of blobs) await pushLayer(registry.ecr, repository, blob);
    await age(registry, 11);
    await tell(blobs[0]!);
    await age(registry, 12);
    await tell(blobs[1]!);
    await collectFully(registry);
    await putImage(registry.ecr, repository, imageManifest(blobs[0]!, []));
    await age(registry, 12);
    await collectFully(registry);
    await putImage(registry.ecr, repository, imageManifest(blobs[1]!, []));
    await age(registry, 48);
    await collectFully(registry);
    for (const blob of blobs) expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
    await expectExactCounters(registry.prisma);
  });

  it('is not promised anew by a completion that is repeated after it went', async () => {
    const blob = small('repeated');
    const upload = await beginUpload(registry.ecr, repository);
    await upload.part(blob.bytes, 0);
    await upload.complete(blob.digest);
    await upload.complete(blob.digest);
    expect(await deleteBlob(blob)).toBe(202);
    await refusal(upload.complete(blob.digest), UploadNotFoundException);
  });

  it('can be pushed again at any time after it went', async () => {
    const blob = small('again');
    await pushLayer(registry.ecr, repository, blob);
    for (const fully of [false, true]) {
      await age(registry, 25);
      await (fully ? collectFully(registry) : collection.collect(running));
      await pushLayer(registry.ecr, repository, blob);
      await collection.collect(running);
      expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
    }
    await expectExactCounters(registry.prisma);
  });

  it('and all that was ever pushed leaves nothing behind once everything is deleted', async () => {
    const repositories = [repository, await createRepository(registry.ecr)];
    for (const [index, name] of repositories.entries())
      for (let image = 0; image < 3; image += 1)
        await pushImage(registry.ecr, name, `${store} all ${(index + image) % 4}`, [`v${image}`]);
    await registry.ecr.send(
      new BatchDeleteImageCommand({
        repositoryName: repository,
        imageIds: [0, 1, 2].map((image) => ({ imageTag: `v${image}` })),
      }),
    );
    // Every other one, with what earlier tests left in them.
    for (const { name } of await registry.prisma.repository.findMany({
      where: { name: { not: repository } },
    }))
      await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: name, force: true }));
    await age(registry, 25);
    await collectFully(registry);
    expect(await objectsOf(registry)).toEqual([]);
    const rows = await Promise.all([
      registry.prisma.blob.count(),
      registry.prisma.repositoryLayer.count(),
      registry.prisma.looseLayer.count(),
      registry.prisma.looseBlob.count(),
      registry.prisma.doomedObject.count(),
      registry.prisma.deletedImage.count(),
    ]);
    expect(rows).toEqual([0, 0, 0, 0, 0, 0]);
    expect(await impatientCollector(registry).sweep(running)).toMatchObject({ orphanedObjects: 0 });
    await expectExactCounters(registry.prisma);
  });

  it('is not lost when its image is pushed while it is collected', async () => {
    for (let round = 0; round < 10; round += 1) {
      const blobs = Array.from({ length: 3 }, (_, index) => small(`raced ${round} ${index}`));
      for (const blob of blobs) await pushLayer(registry.ecr, repository, blob);
      await age(registry, 25);
      const manifest = imageManifest(imageConfig(`${store} raced ${round}`), blobs);
      await pushLayer(registry.ecr, repository, imageConfig(`${store} raced ${round}`));
      const [pushed] = await Promise.allSettled([
        putImage(registry.ecr, repository, manifest),
        collection.collect(running),
      ]);
      if (pushed.status === 'rejected')
        expect(pushed.reason).toMatchObject({ name: 'LayersNotFoundException' });
      await collectFully(registry);
      if (pushed.status === 'fulfilled')
        for (const blob of blobs)
          expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
    }
    await expectExactCounters(registry.prisma);
  });
});
