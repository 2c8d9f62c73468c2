import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  BatchCheckLayerAvailabilityCommand,
  BatchDeleteImageCommand,
  DeleteRepositoryCommand,
  LayersNotFoundException,
} from '@aws-sdk/client-ecr';
import { Prisma } from '../../src/database/generated/client.js';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import { age, collectFully, objectOf, running } from '../support/collecting.js';
import { type Blob, imageIndex, imageManifest, layer } from '../support/images.js';
import { beginUpload, createRepository, pushImage, pushLayer, putImage } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { untilWaiting, whileCountingWaits } from '../support/row-locks.js';
import { pull } from '../support/upload-doors.js';

describe('The collector, at the very moment', () => {
  let registry: TestRegistry;
  let collection: CollectionService;
  let repository: string;
  let other: string;
  beforeAll(async () => {
    registry = await startRegistry({
      store: 'filesystem',
      config: { STOWAGE_ROLE: 'api', STOWAGE_DATABASE_CONNECTIONS: '16', STOWAGE_UNDELETE_WINDOW: '0' },
    });
    collection = registry.app.get(CollectionService, { strict: false });
  });
  afterAll(() => registry?.close());
  beforeEach(async () => {
    await age(registry, 48);
    await collectFully(registry);
    [repository, other] = [await createRepository(registry.ecr), await createRepository(registry.ecr)];
  });

  const isAvailable = async (blob: Blob): Promise<boolean> => {
    const { layers } = await registry.ecr.send(
      new BatchCheckLayerAvailabilityCommand({ repositoryName: repository, layerDigests: [blob.digest] }),
    );
    return layers!.length === 1;
  };
  const mount = async (blob: Blob, from: string, to: string): Promise<number> =>
    (
      await registry.fetchOci(`/v2/${to}/blobs/uploads/?mount=${blob.digest}&from=${from}`, {
        method: 'POST',
      })
    ).status;
  const expectWhole = async (blob: Blob, name = repository): Promise<void> =>
    expect((await pull(registry, name, blob)).equals(blob.bytes)).toBe(true);
  /** A layer whose grace time is over. */
  const pushOld = async (blob: Blob): Promise<Blob> => {
    await pushLayer(registry.ecr, repository, blob);
    await age(registry, 25);
    return blob;
  };
  /** Has the collector stop with the link deleted and not yet committed, while the work begins and waits for it. */
  const whileUnlinking = async <Result>(_blob: Blob, work: () => Promise<Result>): Promise<Result> => {
    let collecting: Promise<unknown> | undefined;
    let working: Promise<Result> | undefined;
    await whileCountingWaits(registry.prisma, repository, async () => {
      collecting = collection.collect(running);
      await untilWaiting(registry.prisma, 1);
      working = work();
      working.catch(() => undefined);
      await untilWaiting(registry.prisma, 2);
    });
    await collecting;
    return working!;
  };
  /** The same a step earlier: the link is locked, and deleted only once the work waits. */
  const whileLocking = async <Result>(blob: Blob, work: () => Promise<Result>): Promise<Result> => {
    let working: Promise<Result> | undefined;
    await registry.prisma.$transaction(async (collector) => {
      const link = Prisma.sql`l.blob_id = (SELECT id FROM blob WHERE sha256 = ${blob.digest.slice(7)})
        AND l.repository_id = (SELECT id FROM repository WHERE name = ${repository})`;
      await collector.$executeRaw`SELECT FROM repository_layer l WHERE ${link} FOR UPDATE`;
      working = work();
      working.catch(() => undefined);
      await untilWaiting(registry.prisma, 1);
      await collector.$executeRaw`
        WITH gone AS (DELETE FROM repository_layer l WHERE ${link} RETURNING repository_id)
        SELECT count_in_repository(repository_id, 0, ${-blob.size}::bigint, 0) FROM gone`;
    });
    return working!;
  };
  const STAGES = [
    ['is about to unlink', whileLocking],
    ['has just unlinked', whileUnlinking],
  ] as const;

  it('an image of an old layer is pushed, leaves the layer to a push that came first', async () => {
    const blob = await pushOld(layer(2_000, 'push first'));
    let pushing: Promise<void> | undefined;
    await whileCountingWaits(registry.prisma, repository, async () => {
      pushing = putImage(registry.ecr, repository, imageManifest(blob, []), 'v1');
      await untilWaiting(registry.prisma, 1);
      expect(await collection.collect(running)).toMatchObject({ unlinkedLayers: 0 });
    });
    await pushing;
    await collectFully(registry);
    await expectWhole(blob);
    expect(await registry.prisma.looseLayer.count()).toBe(0);
    await expectExactCounters(registry.prisma);
  });

  it.each(STAGES)('it %s a layer, has a push wait and then refused', async (stage, whileIt) => {
    const blob = await pushOld(layer(2_000, `collector first ${stage}`));
    const manifest = imageManifest(blob, []);
    await expect(whileIt(blob, () => putImage(registry.ecr, repository, manifest))).rejects.toThrow(
      LayersNotFoundException,
    );
    await pushLayer(registry.ecr, repository, blob);
    await putImage(registry.ecr, repository, manifest);
    await collectFully(registry);
    await expectWhole(blob);
    await expectExactCounters(registry.prisma);
  });

  it.each(STAGES)('it %s a layer, does not have it called available', async (stage, whileIt) => {
    const blob = await pushOld(layer(2_000, `checked ${stage}`));
    expect(await whileIt(blob, () => isAvailable(blob))).toBe(false);
    await expectExactCounters(registry.prisma);
  });

  it.each(STAGES)('it %s a layer, lets an upload of the same bytes link it again', async (stage, whileIt) => {
    const blob = layer(2_000, `uploaded ${stage}`);
    await pushLayer(registry.ecr, repository, blob);
    const upload = await beginUpload(registry.ecr, repository);
    await upload.part(blob.bytes, 0);
    // The upload itself must not be old.
    await registry.prisma.$executeRaw`UPDATE loose_layer SET since = since - interval '25 hours'`;
    await whileIt(blob, () => upload.complete(blob.digest));
    await collectFully(registry);
    await putImage(registry.ecr, repository, imageManifest(blob, []));
    await expectWhole(blob);
    await expectExactCounters(registry.prisma);
  });

  it.each(STAGES)('it %s a layer, lets a mount link it again', async (stage, whileIt) => {
    const blob = layer(2_000, `mounted ${stage}`);
    await pushLayer(registry.ecr, other, blob);
    await putImage(registry.ecr, other, imageManifest(blob, []));
    await pushOld(blob);
    expect(await whileIt(blob, () => mount(blob, other, repository))).toBe(201);
    await collectFully(registry);
    await putImage(registry.ecr, repository, imageManifest(blob, []));
    await expectWhole(blob);
    await expectExactCounters(registry.prisma);
  });

  it.each(STAGES)('it %s a layer, has a mount from there begin an upload instead', async (stage, whileIt) => {
    const blob = await pushOld(layer(2_000, `mounted from ${stage}`));
    expect(await whileIt(blob, () => mount(blob, repository, other))).toBe(202);
    await expectExactCounters(registry.prisma);
  });

  it('a mount takes an old layer, leaves both links to it', async () => {
    const blob = await pushOld(layer(2_000, 'mount first'));
    let mounting: Promise<number> | undefined;
    await whileCountingWaits(registry.prisma, other, async () => {
      mounting = mount(blob, repository, other);
      await untilWaiting(registry.prisma, 1);
      expect(await collection.collect(running)).toMatchObject({ unlinkedLayers: 0, unseenBlobs: 0 });
    });
    expect(await mounting).toBe(201);
    await collectFully(registry);
    await expectWhole(blob, other);
    await expectExactCounters(registry.prisma);
  });

  it('a blob is dropped, stores the same bytes anew', async () => {
    const blob = layer(2_000, 'dropped');
    await pushLayer(registry.ecr, repository, blob);
    const before = await objectOf(registry, blob);
    const upload = await beginUpload(registry.ecr, other);
    await upload.part(blob.bytes, 0);
    await registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`, { method: 'DELETE' });
    let completing: Promise<unknown> | undefined;
    // As the collector does it, in a transaction that is held here.
    await registry.prisma.$transaction(async (tx) => {
      await tx.$executeRaw`SELECT FROM blob WHERE object_key = ${before} FOR UPDATE`;
      completing = upload.complete(blob.digest);
      await untilWaiting(registry.prisma, 1);
      expect(await collection.collect(running)).toMatchObject({ unseenBlobs: 0 });
      await tx.$executeRaw`
        WITH dropped AS (DELETE FROM blob WHERE object_key = ${before} RETURNING object_key)
        INSERT INTO doomed_object (object_key) SELECT object_key FROM dropped`;
    });
    await completing;
    await collectFully(registry);
    expect(await objectOf(registry, blob)).not.toBe(before);
    await expectWhole(blob, other);
    await expectExactCounters(registry.prisma);
  });

  it('an upload of the same bytes completes, keeps a blob nobody held', async () => {
    const blob = layer(2_000, 'completed first');
    await pushLayer(registry.ecr, repository, blob);
    const before = await objectOf(registry, blob);
    const upload = await beginUpload(registry.ecr, other);
    await upload.part(blob.bytes, 0);
    await registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`, { method: 'DELETE' });
    let completing: Promise<unknown> | undefined;
    await whileCountingWaits(registry.prisma, other, async () => {
      completing = upload.complete(blob.digest);
      await untilWaiting(registry.prisma, 1);
      expect(await collection.collect(running)).toMatchObject({ unseenBlobs: 0 });
    });
    await completing;
    await collectFully(registry);
    expect(await objectOf(registry, blob)).toBe(before);
    await expectWhole(blob, other);
  });

  it('repositories and images are deleted, neither fails nor makes the deletions fail', async () => {
    for (let round = 0; round < 8; round += 1) {
      const names = [await createRepository(registry.ecr), await createRepository(registry.ecr)];
      const child = await pushImage(registry.ecr, names[0]!, `round ${round}`, ['child']);
      await putImage(registry.ecr, names[0]!, imageIndex([child.manifest]), 'index');
      await pushImage(registry.ecr, names[1]!, `round ${round}`, ['v1']);
      const open = await beginUpload(registry.ecr, names[0]!);
      await open.part(layer(100, round).bytes, 0);
      for (let index = 0; index < 5; index += 1)
        await pushLayer(registry.ecr, names[index % 2]!, layer(500, `${round} ${index}`));
      await age(registry, 25);
      await Promise.all([
        collection.collect(running),
        registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: names[0]!, force: true })),
        registry.ecr.send(
          new BatchDeleteImageCommand({ repositoryName: names[1]!, imageIds: [{ imageTag: 'v1' }] }),
        ),
        collection.collect(running),
      ]);
    }
    await expectExactCounters(registry.prisma);
  });
});
