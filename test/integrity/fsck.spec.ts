import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { LimitExceededException, UploadNotFoundException } from '@aws-sdk/client-ecr';
import { createHash } from 'node:crypto';
import { BLOB_STORE, type BlobStore, type StagedBlob } from '../../src/blob-store/blob-store.js';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import { StoreUnavailable } from '../../src/registry/integrity/object-verifier.js';
import { fsck } from '../support/fsck.js';
import { type Blob, imageConfig, imageIndex, imageManifest, layer } from '../support/images.js';
import {
  beginUpload,
  createRepository,
  MEBIBYTE,
  pushImage,
  type PushedImage,
  pushLayer,
  putImage,
} from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { flipped, type StoredObjects, storedObjects } from '../support/stored-objects.js';
import { describeEachStore } from '../support/stores.js';
import { pull } from '../support/upload-doors.js';

describeEachStore('fsck', (store) => {
  let registry: TestRegistry;
  let blobs: BlobStore;
  let objects: StoredObjects;
  let repository: string;
  let arn: string;
  let image: PushedImage;
  let round = 0;
  beforeAll(async () => {
    // Without background jobs, which would collect at moments of their own.
    registry = await startRegistry({
      store,
      config: { STOWAGE_ROLE: 'api', STOWAGE_BLOB_DELIVERY: 'stream' },
    });
    blobs = registry.app.get<BlobStore>(BLOB_STORE, { strict: false });
    objects = storedObjects(registry.environment);
  });
  afterAll(() => registry?.close());
  beforeEach(async () => {
    repository = await createRepository(registry.ecr);
    arn = `arn:aws:ecr:us-east-1:000000000000:repository/${repository}`;
    image = await pushImage(registry.ecr, repository, `${store} ${(round += 1)}`, ['v1']);
  });

  const large = (seed: string): Blob => layer(6 * MEBIBYTE, `${store} ${seed}`);
  const rowOf = ({ digest }: Blob) =>
    registry.prisma.blob.findUniqueOrThrow({ where: { sha256: digest.slice(7) } });
  const stagedOf = async (id: string): Promise<StagedBlob> =>
    (await registry.prisma.upload.findUniqueOrThrow({ where: { id } })).staged as StagedBlob;
  const collect = () =>
    registry.app.get(CollectionService, { strict: false }).collect(new AbortController().signal);
  const status = async ({ digest }: Blob): Promise<number> =>
    (await registry.fetchOci(`/v2/${repository}/blobs/${digest}`, { method: 'HEAD' })).status;
  const context = () => {
    let next = 1;
    return {
      signal: new AbortController().signal,
      takePartNumbers: async (count: number) => (next += count) - count,
    };
  };
  const expectClean = async (): Promise<void> => {
    const { kinds, findings } = await fsck(registry, { impatient: true });
    expect(findings.filter(({ known }) => !known)).toEqual([]);
    expect(kinds).toEqual([]);
  };
  const rest = async (): Promise<void> => {
    // What is damaged is pushed again, so that the next test begins in order.
    for (const each of [image.config, ...image.layers]) await pushLayer(registry.ecr, repository, each);
    await collect();
    await expectClean();
    expect(await registry.prisma.blob.count({ where: { damagedAt: { not: null } } })).toBe(0);
  };

  it('finds nothing wrong with anything a registry can hold', async () => {
    const second = await pushImage(registry.ecr, repository, `${store} second`, ['v2'], {
      flavour: 'docker',
    });
    const index = imageIndex([image.manifest, second.manifest]);
    await putImage(registry.ecr, repository, index, 'all');
    // Once more, through uploads of their own.
    for (const each of [second.config, ...second.layers]) await pushLayer(registry.ecr, repository, each);
    const several = large('several');
    const parts = await beginUpload(registry.ecr, repository);
    await parts.part(several.bytes.subarray(0, 5 * MEBIBYTE), 0);
    await parts.part(several.bytes.subarray(5 * MEBIBYTE), 5 * MEBIBYTE);
    await parts.complete(several.digest);
    const sha512 = `sha512:${createHash('sha512').update('by sha512').digest('hex')}`;
    const put = await registry.fetchOci(`/v2/${repository}/blobs/uploads/?digest=${sha512}`, {
      method: 'POST',
      body: 'by sha512',
    });
    expect(put.status).toBe(201);
    const empty = `sha256:${createHash('sha256').digest('hex')}`;
    const nothing = `/v2/${repository}/blobs/uploads/?digest=${empty}`;
    expect((await registry.fetchOci(nothing, { method: 'POST', body: '' })).status).toBe(201);
    await (await beginUpload(registry.ecr, repository)).part(layer(1_000, 'tail').bytes, 0);
    const open = await beginUpload(registry.ecr, repository);
    await open.part(large('open').bytes, 0);
    await open.part(layer(7, 'open tail').bytes, 6 * MEBIBYTE);
    await beginUpload(registry.ecr, repository);
    // One object already, and still an open upload.
    const refused = await beginUpload(registry.ecr, repository);
    await refused.part(large('refused').bytes, 0);
    await registry.prisma.$executeRaw`INSERT INTO quota (registry_id, repository_id, name, value)
      SELECT registry_id, id, 'repositoryBytes', 1 FROM repository WHERE name = ${repository}`;
    await refusal(refused.complete(large('refused').digest), LimitExceededException);
    await registry.prisma.quota.deleteMany();
    // Made one object by a completion whose record was lost.
    const lost = await beginUpload(registry.ecr, repository);
    await lost.part(large('lost').bytes, 0);
    if (store === 's3') {
      const tails = await registry.prisma.uploadTail.findMany({ where: { uploadId: lost.id } });
      await blobs.commit(
        await stagedOf(lost.id),
        tails.map(({ bytes }) => Buffer.from(bytes)),
        {
          ...context(),
          takePartNumbers: async () => 100,
        },
      );
    }
    const { findings, summary } = await fsck(registry, { impatient: true });
    expect(findings).toEqual([]);
    expect(summary).toMatchObject({ findings: {}, repaired: 0, damagedLayers: 0, images: 3, openUploads: 5 });
    expect(summary.hashedLayers).toBe(await registry.prisma.blob.count());
    expect(summary.layers).toBe(summary.hashedLayers);
    await lost.complete(large('lost').digest);
    await refused.complete(large('refused').digest);
    await expectClean();
  });

  it('finds a layer whose object is gone, takes it out of sight, and is content once that is done', async () => {
    const blob = image.layers[0]!;
    const { objectKey } = await rowOf(blob);
    await objects.remove(objectKey);
    const { findings, summary } = await fsck(registry, { hashing: 'none' });
    const expected = {
      kind: 'missing-object',
      digest: blob.digest,
      key: objectKey,
      recordedBytes: blob.size,
      repositories: [arn],
      repair: expect.stringContaining('marks the layer damaged'),
    };
    expect(findings).toEqual([expect.objectContaining(expected)]);
    expect(findings[0]).not.toHaveProperty('repaired');
    expect(summary).toMatchObject({ findings: { 'missing-object': 1 }, repaired: 0, damagedLayers: 0 });
    expect(await status(blob)).toBe(200);
    const repaired = await fsck(registry, { repair: true });
    expect(repaired.findings).toEqual([expect.objectContaining({ ...expected, repaired: true })]);
    expect(repaired.summary).toMatchObject({ repaired: 1, damagedLayers: 1 });
    expect(await status(blob)).toBe(404);
    const again = await fsck(registry);
    expect(again.kinds).toEqual([]);
    expect(again.findings).toEqual([
      expect.objectContaining({ kind: 'damaged-layer', known: true, digest: blob.digest }),
    ]);
    await rest();
    expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
  });

  it.each([
    ['shorter', (bytes: Buffer) => bytes.subarray(0, -1)],
    ['longer', (bytes: Buffer) => Buffer.concat([bytes, Buffer.from('x')])],
    ['empty', () => Buffer.alloc(0)],
  ])('finds a layer whose object is %s, without reading it', async (_name, change) => {
    const single = image.layers[0]!;
    const several = large(`several ${_name}`);
    const parts = await beginUpload(registry.ecr, repository);
    await parts.part(several.bytes.subarray(0, 5 * MEBIBYTE), 0);
    await parts.part(several.bytes.subarray(5 * MEBIBYTE), 5 * MEBIBYTE);
    await parts.complete(several.digest);
    for (const blob of [single, several]) await objects.change((await rowOf(blob)).objectKey, change);
    const { findings, summary } = await fsck(registry, { hashing: 'none', repair: true });
    expect(findings.map(({ kind }) => kind)).toEqual(['wrong-size', 'wrong-size']);
    expect(sorted(findings.map(({ digest }) => digest))).toEqual(sorted([single.digest, several.digest]));
    for (const { recordedBytes, foundBytes } of findings) expect(foundBytes).not.toBe(recordedBytes);
    expect(summary).toMatchObject({ hashedLayers: 0, hashedBytes: 0, damagedLayers: 2, repaired: 2 });
    for (const blob of [single, several]) expect(await status(blob)).toBe(404);
    await pushLayer(registry.ecr, repository, several);
    await rest();
  });

  it('finds one bit that flipped, where it is told to hash', async () => {
    const blob = image.layers[0]!;
    await objects.change((await rowOf(blob)).objectKey, flipped);
    expect((await fsck(registry, { hashing: 'none' })).findings).toEqual([]);
    const { findings } = await fsck(registry);
    expect(findings).toEqual([
      expect.objectContaining({
        kind: 'wrong-bytes',
        digest: blob.digest,
        recordedBytes: blob.size,
        foundBytes: blob.size,
        repositories: [arn],
      }),
    ]);
    expect(await status(blob)).toBe(200);
    expect((await fsck(registry, { repair: true })).kinds).toEqual(['wrong-bytes']);
    expect(await status(blob)).toBe(404);
    await rest();
  });

  it('finds bytes that do not have the SHA-512 a client named them by', async () => {
    const blob = image.layers[0]!;
    await registry.prisma.blob.update({
      where: { sha256: blob.digest.slice(7) },
      data: { sha512: 'ab'.repeat(64) },
    });
    expect((await fsck(registry)).kinds).toEqual(['wrong-bytes']);
    await registry.prisma.blob.update({ where: { sha256: blob.digest.slice(7) }, data: { sha512: null } });
    await rest();
  });

  it('takes the mark from a layer whose object is right again, once it has hashed it', async () => {
    const blob = image.layers[0]!;
    const { objectKey } = await rowOf(blob);
    await objects.change(objectKey, flipped);
    await fsck(registry, { repair: true });
    await objects.change(objectKey, flipped);
    expect((await fsck(registry, { hashing: 'none' })).kinds).toEqual([]);
    const found = await fsck(registry);
    expect(found.kinds).toEqual(['whole-again']);
    expect(await status(blob)).toBe(404);
    expect((await fsck(registry, { repair: true })).summary).toMatchObject({ repaired: 1, damagedLayers: 0 });
    expect(await status(blob)).toBe(200);
    await rest();
  });

  it('records when each layer was hashed', async () => {
    await registry.prisma.$executeRaw`UPDATE blob SET verified_at = '2020-01-01'`;
    await fsck(registry, { hashing: 'none' });
    const old = () => registry.prisma.blob.count({ where: { verifiedAt: new Date('2020-01-01') } });
    const total = await registry.prisma.blob.count();
    expect(await old()).toBe(total);
    await fsck(registry, { hashing: { layers: 2, seed: 7 } });
    expect(await old()).toBe(total - 2);
    await fsck(registry);
    expect(await old()).toBe(0);
  });

  it('hashes the same sample for the same seed', async () => {
    for (let seed = 0; seed < 12; seed += 1)
      await pushLayer(registry.ecr, repository, layer(50 + seed, seed));
    const chosen = async (hashing: { percent: number; seed: number } | { layers: number; seed: number }) => {
      await registry.prisma.$executeRaw`UPDATE blob SET verified_at = '2020-01-01'`;
      await fsck(registry, { hashing });
      const hashed = await registry.prisma.blob.findMany({
        where: { verifiedAt: { gt: new Date('2021-01-01') } },
        orderBy: { id: 'asc' },
      });
      return hashed.map(({ sha256 }) => sha256);
    };
    const total = await registry.prisma.blob.count();
    expect(await chosen({ percent: 100, seed: 1 })).toHaveLength(total);
    expect(await chosen({ percent: 0, seed: 1 })).toHaveLength(0);
    for (const one of [
      { percent: 50, seed: 1 },
      { layers: 5, seed: 1 },
    ]) {
      const first = await chosen(one);
      expect(first.length).toBeGreaterThan(0);
      expect(first.length).toBeLessThan(total);
      expect(await chosen(one)).toEqual(first);
      expect(await chosen({ ...one, seed: 2 })).not.toEqual(first);
    }
  });

  it('finds objects and unfinished bytes no record speaks of, once they are old, and hands them to the collector', async () => {
    const { key } = await blobs.commit(null, [Buffer.from('orphan')], context());
    const bytes = (async function* () {
      yield large('orphaned').bytes;
    })();
    const { staged } = await blobs.append(null, { bytes, inMemory: true }, context());
    const young = await fsck(registry);
    expect(young.findings).toEqual([]);
    expect(young.summary.inFlight).toBe(2);
    const { findings } = await fsck(registry, { impatient: true, repair: true });
    expect(findings).toEqual([
      expect.objectContaining({ kind: 'orphaned-object', key, foundBytes: 6, repaired: true }),
      expect.objectContaining({ kind: 'orphaned-upload', key: staged!['key'], repaired: true }),
    ]);
    await expectClean();
    await collect();
    await expect(objects.read(key)).rejects.toThrow();
    expect(await blobs.stagedBytes(staged!)).toBeNull();
    await expectClean();
  });

  it('counts anew what was miscounted', async () => {
    await registry.prisma.$executeRaw`
      UPDATE repository_counter SET image_count = image_count + 5, stored_bytes = stored_bytes - 3, open_uploads = open_uploads + 1
      WHERE (repository_id, slot) = (SELECT repository_id, min(slot) FROM repository_counter WHERE repository_id =
        (SELECT id FROM repository WHERE name = ${repository}) GROUP BY 1)`;
    await registry.prisma.$executeRaw`UPDATE registry SET repository_count = repository_count + 2`;
    const { findings } = await fsck(registry);
    expect(findings).toEqual([
      expect.objectContaining({ kind: 'repository-counters', repositories: [arn], repair: 'counts anew' }),
      expect.objectContaining({ kind: 'registry-counter' }),
    ]);
    expect((await fsck(registry, { repair: true })).summary.repaired).toBe(2);
    await expectExactCounters(registry.prisma);
    await expectClean();
  });

  it('ends uploads whose last bytes in the database are not what was acknowledged', async () => {
    const begin = async () => {
      const upload = await beginUpload(registry.ecr, repository);
      await upload.part(layer(1_000, 'tail').bytes, 0);
      return upload;
    };
    const [whole, gone, wrong] = [await begin(), await begin(), await begin()];
    await registry.prisma.uploadTail.deleteMany({ where: { uploadId: gone.id } });
    await registry.prisma.uploadTail.updateMany({
      where: { uploadId: wrong.id },
      data: { bytes: Buffer.alloc(999) },
    });
    const { findings } = await fsck(registry);
    expect(sorted(findings.map(({ kind, upload }) => [kind, upload]))).toEqual(
      sorted([
        ['upload-tails', gone.id],
        ['upload-tails', wrong.id],
      ]),
    );
    expect((await fsck(registry, { repair: true })).summary.repaired).toBe(2);
    for (const upload of [gone, wrong])
      await refusal(upload.part(Buffer.from('x'), 1_000), UploadNotFoundException);
    await whole.complete(layer(1_000, 'tail').digest);
    await expectExactCounters(registry.prisma);
    await expectClean();
    await collect();
    await expectClean();
  });

  it('ends uploads whose acknowledged bytes are gone from the store', async () => {
    const blob = large('open');
    const begin = async () => {
      const upload = await beginUpload(registry.ecr, repository);
      await upload.part(blob.bytes, 0);
      return upload;
    };
    const [whole, gone, committed] = [await begin(), await begin(), await begin()];
    await objects.removeUnfinished(await stagedOf(gone.id));
    await registry.prisma.$executeRaw`INSERT INTO quota (registry_id, repository_id, name, value)
      SELECT registry_id, id, 'repositoryBytes', 1 FROM repository WHERE name = ${repository}`;
    await refusal(committed.complete(blob.digest), LimitExceededException);
    await registry.prisma.quota.deleteMany();
    await objects.remove(String((await stagedOf(committed.id))['committed']));
    const { findings } = await fsck(registry);
    expect(findings.map(({ kind }) => kind)).toEqual(['upload-bytes', 'upload-bytes']);
    expect(sorted(findings.map(({ upload }) => upload))).toEqual(sorted([gone.id, committed.id]));
    expect(findings).toContainEqual(expect.objectContaining({ foundBytes: 0, repositories: [arn] }));
    expect((await fsck(registry, { repair: true })).summary.repaired).toBe(2);
    for (const upload of [gone, committed])
      await refusal(upload.complete(blob.digest), UploadNotFoundException);
    await whole.complete(blob.digest);
    await expectExactCounters(registry.prisma);
    await expectClean();
    await collect();
    await expectClean();
  });

  it('leaves an upload alone while a request works on it', async () => {
    const upload = await beginUpload(registry.ecr, repository);
    await upload.part(large('leased').bytes, 0);
    await objects.removeUnfinished(await stagedOf(upload.id));
    await registry.prisma.$executeRaw`
      UPDATE upload SET lease_token = gen_random_uuid(), lease_expires_at = now() + interval '1 hour' WHERE id = ${upload.id}::uuid`;
    const { findings } = await fsck(registry, { repair: true });
    expect(findings).toEqual([expect.objectContaining({ kind: 'upload-bytes', repaired: false })]);
    await registry.prisma
      .$executeRaw`UPDATE upload SET lease_expires_at = now() WHERE id = ${upload.id}::uuid`;
    expect((await fsck(registry, { repair: true })).summary.repaired).toBe(1);
    await collect();
    await expectClean();
  });

  it('finds references of images that are not what the manifest names, and adds those it can', async () => {
    const second = await pushImage(registry.ecr, repository, `${store} referenced`, ['v2']);
    const index = imageIndex([image.manifest, second.manifest]);
    await putImage(registry.ecr, repository, index, 'all');
    const extra = layer(500, `${store} extra`);
    await pushLayer(registry.ecr, repository, extra);
    await registry.prisma.$executeRaw`
      DELETE FROM image_layer WHERE image_id = (SELECT id FROM image WHERE digest = ${image.manifest.digest} LIMIT 1)`;
    await registry.prisma.$executeRaw`
      DELETE FROM image_child WHERE child_id = (SELECT id FROM image WHERE digest = ${second.manifest.digest})`;
    const kinds = ['missing-reference', 'missing-reference', 'missing-reference'];
    expect((await fsck(registry)).kinds).toEqual(kinds);
    expect((await fsck(registry, { repair: true })).summary.repaired).toBe(3);
    await expectClean();
    // One the manifest does not name holds a layer for longer than need be; nothing is taken away on that account.
    await registry.prisma.$executeRaw`
      INSERT INTO image_layer (image_id, repository_id, blob_id, media_type)
      SELECT i.id, i.repository_id, b.id, 'x' FROM image i, blob b WHERE i.digest = ${index.digest} AND b.sha256 = ${extra.digest.slice(7)}`;
    const surplus = await fsck(registry, { repair: true });
    expect(surplus.findings).toEqual([
      expect.objectContaining({
        kind: 'surplus-reference',
        digest: index.digest,
        repair: null,
        repaired: false,
      }),
    ]);
    await registry.prisma.$executeRaw`DELETE FROM image_layer WHERE media_type = 'x'`;
    // Neither the reference nor what it refers to.
    await registry.prisma.$transaction([
      registry.prisma
        .$executeRaw`DELETE FROM image_layer WHERE image_id = (SELECT id FROM image WHERE digest = ${second.manifest.digest})`,
      registry.prisma.$executeRaw`
        DELETE FROM repository_layer WHERE blob_id = (SELECT id FROM blob WHERE sha256 = ${second.config.digest.slice(7)})`,
    ]);
    const lost = await fsck(registry, { repair: true });
    expect(lost.kinds).toEqual(['missing-reference', 'missing-reference', 'repository-counters']);
    expect(lost.summary.repaired).toBe(2);
    await pushLayer(registry.ecr, repository, second.config);
    expect((await fsck(registry, { repair: true })).summary.repaired).toBe(1);
    await expectClean();
    await expectExactCounters(registry.prisma);
  });

  it('finds manifests that changed, and rows that name rows which are not there', async () => {
    const [config, blob] = [imageConfig(`${store} changed`), image.layers[0]!];
    await pushLayer(registry.ecr, repository, config);
    const changed = imageManifest(config, [blob]);
    await putImage(registry.ecr, repository, changed, 'changed');
    await registry.prisma.$executeRaw`
      UPDATE image SET manifest = set_byte(manifest, 5, 33) WHERE digest = ${changed.digest}`;
    const { findings } = await fsck(registry);
    expect(findings).toEqual([
      expect.objectContaining({ kind: 'manifest-digest', digest: changed.digest, repositories: [arn] }),
    ]);
    await registry.prisma.$transaction([
      registry.prisma.$executeRaw`SET LOCAL session_replication_role = replica`,
      registry.prisma
        .$executeRaw`DELETE FROM image_layer WHERE image_id = (SELECT id FROM image WHERE digest = ${changed.digest})`,
      registry.prisma.$executeRaw`DELETE FROM image WHERE digest = ${changed.digest}`,
    ]);
    const dangling = await fsck(registry, { repair: true });
    expect(dangling.kinds).toEqual(['dangling-reference', 'repository-counters']);
    expect(dangling.findings[0]).toMatchObject({
      what: "The tag 'changed' names an image that is not there",
      repositories: [arn],
    });
    await registry.prisma.$executeRaw`DELETE FROM image_tag WHERE tag = 'changed'`;
    await expectClean();
  });

  it('looks at deleted images that can still be brought back', async () => {
    const row = await registry.prisma.image.findFirstOrThrow({ where: { digest: image.manifest.digest } });
    const deleted = async (manifest: Buffer) => {
      const { id } = await registry.prisma.deletedImage.create({
        data: {
          registryId: (await registry.prisma.registry.findFirstOrThrow()).id,
          repositoryName: repository,
          digest: row.digest,
          manifest: new Uint8Array(manifest),
          mediaType: row.mediaType,
          sizeBytes: row.sizeBytes,
          pushedAt: row.pushedAt,
        },
      });
      return id;
    };
    const held = await deleted(Buffer.from(row.manifest));
    const { findings, summary } = await fsck(registry, { repair: true });
    expect(findings).toEqual([
      expect.objectContaining({ kind: 'missing-reference', repaired: true, repositories: [arn] }),
      expect.objectContaining({ kind: 'missing-reference', repaired: true, repositories: [arn] }),
    ]);
    expect(summary.deletedImages).toBe(1);
    expect(await registry.prisma.deletedImageLayer.count({ where: { deletedImageId: held } })).toBe(2);
    await expectClean();
    await deleted(Buffer.from('{}'));
    expect((await fsck(registry)).kinds).toEqual(['manifest-digest']);
    await registry.prisma.deletedImage.deleteMany();
    await expectClean();
  });

  it('finds nothing at all where the store is not the one that belongs to the database', async () => {
    const { objectKey } = await rowOf(image.layers[0]!);
    const bytes = await objects.read(objectKey);
    const name = await objects.rename('00000000-0000-0000-0000-000000000000');
    await objects.remove(objectKey);
    await expect(fsck(registry, { repair: true })).rejects.toBeInstanceOf(StoreUnavailable);
    expect(await registry.prisma.blob.count({ where: { damagedAt: { not: null } } })).toBe(0);
    await objects.rename(name);
    expect((await fsck(registry, { repair: true })).kinds).toEqual(['missing-object']);
    expect(bytes).toHaveLength(1_000);
    await rest();
  });

  it('stops when it is told to', async () => {
    await expect(fsck(registry, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
    await expectClean();
  });
});

/** For lists whose order is no promise. */
function sorted<Item>(items: Item[]): Item[] {
  return items.toSorted((one, other) => (String(one) < String(other) ? -1 : 1));
}
