/** Over 300 lines: the promises of one job, told for each store in one place. */
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import {
  DeleteRepositoryCommand,
  LimitExceededException,
  UploadNotFoundException,
} from '@aws-sdk/client-ecr';
import { BLOB_STORE, type BlobStore, type StagedBlob } from '../../src/blob-store/blob-store.js';
import { CollectionRepository } from '../../src/registry/layers/collection/collection.repository.js';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import {
  age,
  ageDoomed,
  collectFully,
  collectorWith,
  impatientCollector,
  objectOf,
  objectsOf,
  running,
} from '../support/collecting.js';
import { type Blob, imageManifest, layer } from '../support/images.js';
import {
  beginUpload,
  createRepository,
  MEBIBYTE,
  pushImage,
  pushLayer,
  putImage,
} from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';
import { pull } from '../support/upload-doors.js';

describeEachStore('The collection of garbage', (store) => {
  let registry: TestRegistry;
  let collection: CollectionService;
  /** The same with no grace at all: for it, everything in the store is old. */
  let impatient: CollectionService;
  let blobs: BlobStore;
  let repository: string;
  beforeAll(async () => {
    // Without background jobs, which would collect at moments of their own.
    registry = await startRegistry({ store, config: { STOWAGE_ROLE: 'api' } });
    collection = registry.app.get(CollectionService, { strict: false });
    blobs = registry.app.get<BlobStore>(BLOB_STORE, { strict: false });
    impatient = impatientCollector(registry);
  });
  afterAll(() => registry?.close());
  beforeEach(async () => (repository = await createRepository(registry.ecr)));

  const context = () => {
    let next = 1;
    return {
      signal: running,
      takePartNumbers: async (count: number) => (next += count) - count,
    };
  };
  const isUnfinished = async (staged: StagedBlob): Promise<boolean> => {
    for await (const found of blobs.unfinished()) if (blobs.sameUnfinished(found.staged, staged)) return true;
    return false;
  };
  const stagedOf = async (id: string): Promise<StagedBlob> =>
    (await registry.prisma.upload.findUniqueOrThrow({ where: { id } })).staged as StagedBlob;
  const ageUploads = (hours: number): Promise<number> =>
    registry.prisma
      .$executeRaw`UPDATE upload SET (created_at, touched_at) = (now() - make_interval(hours => ${hours}::int), now() - make_interval(hours => ${hours}::int))`;
  const begin = () => beginUpload(registry.ecr, repository);
  const expectWhole = async (name: string, blob: Blob): Promise<void> =>
    expect((await pull(registry, name, blob)).equals(blob.bytes)).toBe(true);
  const large = (seed: string): Blob => layer(6 * MEBIBYTE, `${store} ${seed}`);
  const small = (seed: string): Blob => layer(2_000, `${store} ${seed}`);

  it('ends uploads nobody continued, with their bytes, and no other', async () => {
    const blob = large('expired');
    const [old, held, young] = [await begin(), await begin(), await begin()];
    for (const upload of [old, held, young]) await upload.part(blob.bytes, 0);
    const [oldBytes, heldBytes, youngBytes] = await Promise.all([
      stagedOf(old.id),
      stagedOf(held.id),
      stagedOf(young.id),
    ]);
    await ageUploads(25);
    await registry.prisma
      .$executeRaw`UPDATE upload SET touched_at = now() - interval '23 hours' WHERE id = ${young.id}::uuid`;
    await registry.prisma.$executeRaw`
      UPDATE upload SET lease_token = gen_random_uuid(), lease_expires_at = now() + interval '1 hour' WHERE id = ${held.id}::uuid`;
    expect(await collection.collect(running)).toMatchObject({ expiredUploads: 1 });
    await refusal(old.part(blob.bytes, blob.size), UploadNotFoundException);
    await refusal(old.complete(blob.digest), UploadNotFoundException);
    expect(await isUnfinished(oldBytes)).toBe(false);
    expect(await isUnfinished(heldBytes)).toBe(true);
    expect(await isUnfinished(youngBytes)).toBe(true);
    await young.complete(blob.digest);
    await expectWhole(repository, blob);
    await expectExactCounters(registry.prisma);
    await registry.prisma
      .$executeRaw`UPDATE upload SET lease_expires_at = now() - interval '1 second' WHERE id = ${held.id}::uuid`;
    await collection.collect(running);
    expect(await isUnfinished(heldBytes)).toBe(false);
    await expectExactCounters(registry.prisma);
  });

  it('drops the bytes of an upload that was cancelled', async () => {
    const upload = await begin();
    await upload.part(large('cancelled').bytes, 0);
    const bytes = await stagedOf(upload.id);
    await registry.fetchOci(`/v2/${repository}/blobs/uploads/${upload.id}`, { method: 'DELETE' });
    await collection.collect(running);
    expect(await isUnfinished(bytes)).toBe(false);
  });

  it('forgets finished uploads once a repeated completion is no longer to be expected', async () => {
    const blob = small('repeated');
    const upload = await begin();
    await upload.part(blob.bytes, 0);
    await upload.complete(blob.digest);
    await ageUploads(23);
    await collection.collect(running);
    expect(await registry.prisma.upload.count({ where: { id: upload.id } })).toBe(1);
    await ageUploads(25);
    await collection.collect(running);
    expect(await registry.prisma.upload.count({ where: { id: upload.id } })).toBe(0);
    await expectWhole(repository, blob);
  });

  it('gives the space of a deleted repository back', async () => {
    const image = await pushImage(registry.ecr, repository, `${store} deleted`, ['v1']);
    const shared = small('survives');
    const other = await createRepository(registry.ecr);
    for (const name of [repository, other]) await pushLayer(registry.ecr, name, shared);
    await putImage(registry.ecr, other, imageManifest(shared, []));
    const open = await begin();
    await open.part(large('open').bytes, 0);
    const openBytes = await stagedOf(open.id);
    const own = await Promise.all([image.config, ...image.layers].map((blob) => objectOf(registry, blob)));
    expect(await objectsOf(registry)).toEqual(expect.arrayContaining(own));
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: repository, force: true }));
    await collectFully(registry);
    expect(await objectsOf(registry)).toEqual(expect.arrayContaining(own));
    await age(registry, 25);
    await collectFully(registry);
    const left = await objectsOf(registry);
    expect(own.filter((key) => left.includes(key!))).toEqual([]);
    expect(await isUnfinished(openBytes)).toBe(false);
    await expectWhole(other, shared);
    await expectExactCounters(registry.prisma);
  });

  it('keeps one object of a layer that several uploads brought', async () => {
    const blob = large('twice');
    const before = await objectsOf(registry);
    const names = [repository, await createRepository(registry.ecr), await createRepository(registry.ecr)];
    for (const name of names) await pushLayer(registry.ecr, name, blob);
    await collection.collect(running);
    const added = (await objectsOf(registry)).filter((key) => !before.includes(key));
    expect(added).toEqual([await objectOf(registry, blob)]);
    for (const name of names) await expectWhole(name, blob);
  });

  it('sweeps objects no row knows once they are old, and no other', async () => {
    const live = large('live');
    await pushLayer(registry.ecr, repository, live);
    const { key } = await blobs.commit(null, [Buffer.from('orphan')], context());
    await collection.sweep(running);
    expect(await objectsOf(registry)).toContain(key);
    expect((await impatient.sweep(running)).orphanedObjects).toBeGreaterThanOrEqual(1);
    expect(await objectsOf(registry)).not.toContain(key);
    await expectWhole(repository, live);
    expect(await impatient.sweep(running)).toMatchObject({ orphanedObjects: 0, unfinishedObjects: 0 });
  });

  it('sweeps bytes of uploads no row knows once they are old, and no other', async () => {
    const [blob, other] = [large('staged'), large('refused')];
    const upload = await begin();
    await upload.part(blob.bytes, 0);
    // One object already, and still an open upload.
    const refused = await begin();
    await refused.part(other.bytes, 0);
    await registry.prisma.$executeRaw`INSERT INTO quota (registry_id, repository_id, name, value)
      SELECT registry_id, id, 'repositoryBytes', 1 FROM repository WHERE name = ${repository}`;
    await refusal(refused.complete(other.digest), LimitExceededException);
    await registry.prisma.quota.deleteMany();
    expect(await stagedOf(refused.id)).toHaveProperty('committed');
    const bytes = (async function* () {
      yield blob.bytes;
    })();
    const { staged } = await blobs.append(null, { bytes, inMemory: true }, context());
    await collection.sweep(running);
    expect(await isUnfinished(staged!)).toBe(true);
    await impatient.sweep(running);
    expect(await isUnfinished(staged!)).toBe(false);
    await upload.complete(blob.digest);
    await refused.complete(other.digest);
    for (const layerOf of [blob, other]) await expectWhole(repository, layerOf);
  });

  it('goes on where it was interrupted, however often', async () => {
    const keys: string[] = [];
    for (let index = 0; index < 20; index += 1)
      keys.push((await blobs.commit(null, [Buffer.from(`doomed ${index}`)], context())).key);
    await registry.prisma.doomedObject.createMany({ data: keys.map((objectKey) => ({ objectKey })) });
    // More rows than one step takes; their objects are gone already.
    await registry.prisma
      .$executeRaw`INSERT INTO doomed_object (object_key) SELECT 'gone-' || n FROM generate_series(1, 1200) AS n`;
    const stopped = AbortSignal.abort();
    expect(await collection.collect(stopped)).toMatchObject({ unseenBlobs: 0, removedObjects: 0 });
    expect(await collection.sweep(stopped)).toMatchObject({ orphanedObjects: 0, unfinishedObjects: 0 });
    const stopping = new AbortController();
    const interrupted = collection.collect(stopping.signal);
    setImmediate(() => stopping.abort());
    await interrupted;
    // A process that died between taking rows and removing their objects.
    await registry.app.get(CollectionRepository, { strict: false }).claimDoomed(500);
    await registry.prisma.$executeRaw`UPDATE doomed_object SET not_before = now()`;
    const fast = collectorWith(registry, { STOWAGE_COLLECT_OBJECTS_PER_SECOND: 100_000 });
    expect(await fast.collect(running)).toMatchObject({ objectsKept: false });
    expect(await registry.prisma.doomedObject.count()).toBe(0);
    const left = await objectsOf(registry);
    expect(keys.filter((key) => left.includes(key))).toEqual([]);
  });

  it('comes back later for what another process has just taken', async () => {
    const { key } = await blobs.commit(null, [Buffer.from('taken')], context());
    await registry.prisma.doomedObject.create({ data: { objectKey: key } });
    const [taken] = await registry.app.get(CollectionRepository, { strict: false }).claimDoomed(500);
    expect(taken!.objectKey).toBe(key);
    expect(await collection.collect(running)).toMatchObject({ removedObjects: 0 });
    expect(await objectsOf(registry)).toContain(key);
    await registry.prisma.$executeRaw`UPDATE doomed_object SET not_before = now()`;
    expect(await collection.collect(running)).toMatchObject({ removedObjects: 1 });
    expect(await objectsOf(registry)).not.toContain(key);
  });

  it('never removes the object of a layer, whatever is said of it', async () => {
    const blob = small('doomed by mistake');
    await pushLayer(registry.ecr, repository, blob);
    await registry.prisma.doomedObject.create({ data: { objectKey: (await objectOf(registry, blob))! } });
    await collection.collect(running);
    await impatient.sweep(running);
    await expectWhole(repository, blob);
    await registry.prisma.doomedObject.deleteMany();
  });

  it('is not held up by an object the store does not let go', async () => {
    const { key } = await blobs.commit(null, [Buffer.from('goes')], context());
    const tooLong = `blobs/${'x'.repeat(5_000)}`;
    const staged = { key: tooLong, uploadId: 'none', parts: [] };
    await registry.prisma.doomedObject.createMany({
      data: [{ objectKey: tooLong }, { staged }, { objectKey: key }],
    });
    await registry.prisma.$executeRaw`UPDATE doomed_object SET not_before = now() - interval '1 minute'`;
    expect(await collection.collect(running)).toMatchObject({ removedObjects: 1 });
    expect(await objectsOf(registry)).not.toContain(key);
    // They come again later.
    expect(await registry.prisma.doomedObject.count({ where: { notBefore: { gt: new Date() } } })).toBe(2);
    await registry.prisma.doomedObject.deleteMany();
  });

  it('keeps every object while a backup holds them, and goes on afterwards', async () => {
    const { key } = await blobs.commit(null, [Buffer.from('kept')], context());
    const { key: orphan } = await blobs.commit(null, [Buffer.from('orphan')], context());
    await registry.prisma.doomedObject.create({ data: { objectKey: key } });
    await registry.prisma.$transaction(async (backup) => {
      await backup.$executeRaw`SELECT pg_advisory_xact_lock_shared(hashtextextended('stowage-objects-kept', 0))`;
      expect(await collection.collect(running)).toMatchObject({ removedObjects: 0, objectsKept: true });
      expect(await impatient.sweep(running)).toMatchObject({ orphanedObjects: 0, objectsKept: true });
      expect(await objectsOf(registry)).toEqual(expect.arrayContaining([key, orphan]));
    });
    expect(await collection.collect(running)).toMatchObject({ removedObjects: 1, objectsKept: false });
    await impatient.sweep(running);
    const left = await objectsOf(registry);
    expect([key, orphan].filter((kept) => left.includes(kept))).toEqual([]);
  });

  it('removes no more in a second than it may', async () => {
    await registry.prisma
      .$executeRaw`INSERT INTO doomed_object (object_key) SELECT 'slow-' || n FROM generate_series(1, 60) AS n`;
    const began = performance.now();
    const slow = collectorWith(registry, { STOWAGE_COLLECT_OBJECTS_PER_SECOND: 30 });
    expect(await slow.collect(running)).toMatchObject({ removedObjects: 60 });
    expect(performance.now() - began).toBeGreaterThanOrEqual(2_000);
  });

  it('lets downloads end: the bytes of a layer nobody sees any more stay for an hour', async () => {
    const blob = small('downloaded');
    await pushLayer(registry.ecr, repository, blob);
    const key = (await objectOf(registry, blob))!;
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: repository, force: true }));
    expect(await collection.collect(running)).toMatchObject({ unseenBlobs: 1, removedObjects: 0 });
    expect(await objectOf(registry, blob)).toBeUndefined();
    expect(await objectsOf(registry)).toContain(key);
    await ageDoomed(registry.prisma, 1);
    expect(await collection.collect(running)).toMatchObject({ removedObjects: 1 });
    expect(await objectsOf(registry)).not.toContain(key);
  });

  it('tells its figures', async () => {
    const text = await (await fetch(`${registry.environment.operatorUrl}/metrics`)).text();
    for (const queue of ['loose_layer', 'loose_blob', 'doomed_object'])
      expect(text).toMatch(new RegExp(`^stowage_collection_queue_length\\{queue="${queue}"\\} [0-9]+$`, 'm'));
    expect(text).toMatch(/^stowage_collection_removed_objects_total\{cause="doomed"\} [1-9][0-9]*$/m);
    expect(text).toMatch(/^stowage_collection_dropped_bytes_total [1-9][0-9]*$/m);
  });
});
