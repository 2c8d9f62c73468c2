import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { BatchDeleteImageCommand, InitiateLayerUploadCommand } from '@aws-sdk/client-ecr';
import { randomUUID } from 'node:crypto';
import { BLOB_STORE, type BlobStore } from '../../src/blob-store/blob-store.js';
import { RecordsService } from '../../src/registry/recovery/records/records.service.js';
import { LayersMissing } from '../../src/registry/recovery/rebuild/rebuild.service.js';
import { age, collectFully, objectsOf } from '../support/collecting.js';
import { fsck } from '../support/fsck.js';
import { layer } from '../support/images.js';
import { createDatabase, type TestDatabase } from '../support/postgres.js';
import { createRepository, pushImage, pushLayer, putImage } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { startRegistry, startReplica, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';
import { rebuild } from './contexts.js';
import { viewOf } from './registry-view.js';
import { fillRegistry, OTHER_REGION } from './varied-registry.js';

const OTHER_ACCOUNT = { STOWAGE_ACCOUNT_ID: '111122223333' };
const running = new AbortController().signal;

describeEachStore('A lost database is rebuilt from the store', (store) => {
  let registry: TestRegistry;
  let fresh: TestDatabase;
  let settings: Record<string, string>;
  beforeEach(async () => {
    registry = await startRegistry({ store, config: { STOWAGE_ROLE: 'api' } });
    fresh = await createDatabase();
    settings = { ...registry.environment.settings, DATABASE_URL: fresh.url };
  });
  afterEach(async () => {
    await registry?.close();
    await fresh?.drop();
  });

  const flush = (of = registry) => of.app.get(RecordsService).copy(running);
  const blobs = (): BlobStore => registry.app.get<BlobStore>(BLOB_STORE, { strict: false });
  const onNewDatabase = async <Result>(
    work: (rebuilt: TestRegistry) => Promise<Result>,
    config: Record<string, string> = {},
  ): Promise<Result> => {
    const rebuilt = await startReplica(registry, { DATABASE_URL: fresh.url, ...config });
    try {
      return await work(rebuilt);
    } finally {
      await rebuilt.close();
    }
  };

  it('with everything that was in it, at both doors', async () => {
    const loose = await fillRegistry(registry);
    const other = await startReplica(registry, OTHER_ACCOUNT);
    await createRepository(other.ecr, { repositoryName: 'team/rich' });
    await pushImage(other.ecr, 'team/rich', 'of another account', ['latest']);
    const before = [await viewOf(registry), await viewOf(registry, OTHER_REGION), await viewOf(other)];
    await other.close();
    expect((await flush()).batches).toBeGreaterThan(0);
    const quotas = await registry.prisma.quota.findMany({
      orderBy: { name: 'asc' },
      select: { name: true, value: true },
    });

    const rebuilt = await rebuild(settings);
    expect(rebuilt.keptOut).toEqual([]);
    expect(rebuilt.looseLayers.map(({ sha256 }) => `sha256:${sha256}`)).toContain(loose.digest);
    expect(rebuilt.unfinishedUploads).toBe(1);
    await onNewDatabase(async (again) => {
      expect([await viewOf(again), await viewOf(again, OTHER_REGION)]).toEqual(before.slice(0, 2));
      await expectExactCounters(again.prisma);
      expect(
        await again.prisma.quota.findMany({ orderBy: { name: 'asc' }, select: { name: true, value: true } }),
      ).toEqual(quotas);
      // It is a registry like any other: what is pushed, moved and deleted now comes after what was.
      const { manifest } = await pushImage(again.ecr, 'team/rich', 'afterwards', ['latest']);
      const after = (await viewOf(again)) as { repositories: { imageIds: unknown[] }[] };
      expect(after.repositories.find(({ imageIds }) => imageIds.length > 3)!.imageIds.at(-1)).toEqual({
        imageDigest: manifest.digest,
        imageTag: 'latest',
      });
      await again.ecr.send(new InitiateLayerUploadCommand({ repositoryName: 'team/empty' }));
      await expectExactCounters(again.prisma);
    });
    await onNewDatabase(async (again) => expect(await viewOf(again)).toEqual(before[2]), OTHER_ACCOUNT);
  }, 120_000);

  it('again and again, also from what a rebuilt one recorded', async () => {
    await fillRegistry(registry);
    await flush();
    await rebuild(settings);
    const changed = await onNewDatabase(async (again) => {
      await pushImage(again.ecr, 'team/rich', 'second life', ['latest', 'second-life']);
      await again.ecr.send(
        new BatchDeleteImageCommand({ repositoryName: 'team/rich', imageIds: [{ imageTag: 'by-sha512' }] }),
      );
      expect((await flush(again)).fullSet).toBe(true);
      return viewOf(again);
    });
    const third = await createDatabase();
    try {
      await rebuild({ ...settings, DATABASE_URL: third.url });
      await onNewDatabase(async (again) => expect(await viewOf(again)).toEqual(changed), {
        DATABASE_URL: third.url,
      });
    } finally {
      await third.drop();
    }
  }, 120_000);

  it('but for what was pushed after the last copy: of that the layers are told, and kept for the grace time', async () => {
    const repository = await createRepository(registry.ecr);
    await pushImage(registry.ecr, repository, 'copied', ['copied']);
    await flush();
    const late = await pushImage(registry.ecr, repository, 'late', ['late', 'copied']);
    const { looseLayers, images } = await rebuild(settings);
    expect(images).toBe(1);
    expect(looseLayers.map(({ sha256 }) => `sha256:${sha256}`).sort()).toEqual(
      [late.config, ...late.layers].map(({ digest }) => digest).sort(),
    );
    await onNewDatabase(async (again) => {
      const objects = await objectsOf(again);
      await collectFully(again);
      expect(await objectsOf(again)).toEqual(objects);
      // As of the last copy.
      const tags = await (await again.fetchOci(`/v2/${repository}/tags/list`)).json();
      expect(tags).toEqual({ name: repository, tags: ['copied'] });
      for (const blob of [late.config, ...late.layers]) await pushLayer(again.ecr, repository, blob);
      await putImage(again.ecr, repository, late.manifest, 'late');
      await age(again, 100);
      await collectFully(again);
      expect((await fsck(again)).kinds).toEqual([]);
    });
  });

  it('in as many runs as it takes, hashing nothing twice', async () => {
    const repository = await createRepository(registry.ecr);
    for (let n = 0; n < 10; n += 1) await pushImage(registry.ecr, repository, `image ${n}`, [`v${n}`]);
    await flush();
    const before = await viewOf(registry);
    const stopping = new AbortController();
    const told = ({ objects }: { objects: number }): void => void (objects >= 5 && stopping.abort());
    await expect(rebuild(settings, { signal: stopping.signal, told })).rejects.toThrow(
      'Run it again to go on',
    );
    await expect(onNewDatabase(async () => undefined)).rejects.toThrow('belongs to another database');
    const { layers } = await rebuild(settings);
    expect(layers.skipped).toBeGreaterThanOrEqual(5);
    expect(layers.skipped + layers.objects).toBe(20);
    expect(layers.objects).toBeLessThanOrEqual(15);
    await onNewDatabase(async (again) => expect(await viewOf(again)).toEqual(before));
  });

  it('only into an empty one, and only once', async () => {
    const repository = await createRepository(registry.ecr);
    await pushImage(registry.ecr, repository, 'image', ['latest']);
    await flush();
    await expect(rebuild(registry.environment.settings)).rejects.toThrow('The database knows repositories');
    await rebuild(settings);
    await expect(rebuild(settings)).rejects.toThrow('The database knows repositories');
  });

  it('never by the service itself: on an empty database it refuses a store that is in use', async () => {
    const repository = await createRepository(registry.ecr);
    await flush();
    // Records alone are enough.
    await expect(onNewDatabase(async () => undefined)).rejects.toThrow('If the database was lost');
    await pushLayer(registry.ecr, repository, layer(1_000));
    await expect(onNewDatabase(async () => undefined)).rejects.toThrow('If the database was lost');
  });

  it('not at all without records, or from a store nobody used', async () => {
    await pushLayer(registry.ecr, await createRepository(registry.ecr), layer(1_000));
    await expect(rebuild(settings)).rejects.toThrow('no copy of the records');
    const elsewhere = {
      STOWAGE_S3_BUCKET: `test-${randomUUID()}`,
      STOWAGE_DATA_DIR: `${registry.environment.dataDir}/empty`,
    };
    await expect(
      rebuild({
        ...settings,
        ...elsewhere,
        ...(store === 'filesystem' && { STOWAGE_S3_BUCKET: undefined as never }),
      }),
    ).rejects.toThrow('was never used');
  });

  it('with images that lack layers only where that is accepted, and without their indexes then', async () => {
    await fillRegistry(registry);
    await flush();
    const { objectKey } = await registry.prisma.blob.findFirstOrThrow({
      where: { sha256: layer(1_000, 'second').digest.slice(7) },
    });
    await blobs().remove([objectKey]);
    const refused = await rebuild(settings).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(LayersMissing);
    const { keptOut, images } = await rebuild(settings, { acceptMissing: true });
    expect(keptOut).toEqual((refused as LayersMissing).images);
    const tags = keptOut.flatMap((image) => image.tags);
    expect(tags.sort()).toEqual(['latest', 'multi', 'nested', 'newer']);
    const lost = keptOut.find((image) => image.tags.includes('newer'))!;
    expect(lost).toMatchObject({ region: 'us-east-1', repository: 'team/rich' });
    expect(lost.missing).toEqual([layer(1_000, 'second').digest]);
    expect(images).toBeGreaterThan(5);
    await onNewDatabase(async (again) => {
      await expectExactCounters(again.prisma);
      expect((await again.fetchOci('/v2/team/rich/manifests/newer')).status).toBe(404);
      expect((await again.fetchOci('/v2/team/rich/manifests/old')).status).toBe(200);
      await pushImage(again.ecr, 'team/rich', 'second', ['newer']);
      expect((await again.fetchOci('/v2/team/rich/manifests/newer')).status).toBe(200);
    });
  }, 60_000);

  it('with one object of a digest that several hold; the others are left to the collector', async () => {
    const repository = await createRepository(registry.ecr);
    const { layers } = await pushImage(registry.ecr, repository, 'image', ['latest']);
    await flush();
    const context = { takePartNumbers: async () => 1, signal: running };
    const { key } = await blobs().commit(null, [layers[0]!.bytes], context);
    expect((await rebuild(settings)).layers).toMatchObject({ objects: 3, spare: 1 });
    await onNewDatabase(async (again) => {
      const [doomed] = await again.prisma.doomedObject.findMany();
      const blob = await again.prisma.blob.findFirstOrThrow({
        where: { sha256: layers[0]!.digest.slice(7) },
      });
      expect([doomed!.objectKey, blob.objectKey]).toContain(key);
      expect(doomed!.objectKey).not.toBe(blob.objectKey);
      expect((await again.fetchOci(`/v2/${repository}/blobs/${layers[0]!.digest}`)).status).toBe(200);
    });
  });
});
