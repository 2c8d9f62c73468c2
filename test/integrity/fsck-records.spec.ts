import { expect, it } from '@jest/globals';
import { StoreUnavailable } from '../../src/registry/integrity/object-verifier.js';
import { fsck } from '../support/fsck.js';
import { imageConfig, imageIndex, imageManifest, layer } from '../support/images.js';
import { inspectedRegistry } from '../support/inspected-registry.js';
import { pushImage, pushLayer, putImage } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { describeEachStore } from '../support/stores.js';

describeEachStore('fsck of records', (store) => {
  const at = inspectedRegistry(store);

  it('counts anew what was miscounted', async () => {
    await at.registry.prisma.$executeRaw`
      UPDATE repository_counter SET image_count = image_count + 5, stored_bytes = stored_bytes - 3, open_uploads = open_uploads + 1
      WHERE (repository_id, slot) = (SELECT repository_id, min(slot) FROM repository_counter WHERE repository_id =
        (SELECT id FROM repository WHERE name = ${at.repository}) GROUP BY 1)`;
    await at.registry.prisma.$executeRaw`UPDATE registry SET repository_count = repository_count + 2`;
    const { findings } = await fsck(at.registry);
    expect(findings).toEqual([
      expect.objectContaining({ kind: 'repository-counters', repositories: [at.arn], repair: 'counts anew' }),
      expect.objectContaining({ kind: 'registry-counter' }),
    ]);
    expect((await fsck(at.registry, { repair: true })).summary.repaired).toBe(2);
    await expectExactCounters(at.registry.prisma);
    await at.expectClean();
  });

  it('finds references of images that are not what the manifest names, and adds those it can', async () => {
    const second = await pushImage(at.registry.ecr, at.repository, `${store} referenced`, ['v2']);
    const index = imageIndex([at.image.manifest, second.manifest]);
    await putImage(at.registry.ecr, at.repository, index, 'all');
    const extra = layer(500, `${store} extra`);
    await pushLayer(at.registry.ecr, at.repository, extra);
    await at.registry.prisma.$executeRaw`
      DELETE FROM image_layer WHERE image_id = (SELECT id FROM image WHERE digest = ${at.image.manifest.digest} LIMIT 1)`;
    await at.registry.prisma.$executeRaw`
      DELETE FROM image_child WHERE child_id = (SELECT id FROM image WHERE digest = ${second.manifest.digest})`;
    const kinds = ['missing-reference', 'missing-reference', 'missing-reference'];
    expect((await fsck(at.registry)).kinds).toEqual(kinds);
    expect((await fsck(at.registry, { repair: true })).summary.repaired).toBe(3);
    await at.expectClean();
    // One the manifest does not name holds a layer for longer than need be; nothing is taken away on that account.
    await at.registry.prisma.$executeRaw`
      INSERT INTO image_layer (image_id, repository_id, blob_id, media_type)
      SELECT i.id, i.repository_id, b.id, 'x' FROM image i, blob b WHERE i.digest = ${index.digest} AND b.sha256 = ${extra.digest.slice(7)}`;
    const surplus = await fsck(at.registry, { repair: true });
    expect(surplus.findings).toEqual([
      expect.objectContaining({
        kind: 'surplus-reference',
        digest: index.digest,
        repair: null,
        repaired: false,
      }),
    ]);
    await at.registry.prisma.$executeRaw`DELETE FROM image_layer WHERE media_type = 'x'`;
    // Neither the reference nor what it refers to.
    await at.registry.prisma.$transaction([
      at.registry.prisma
        .$executeRaw`DELETE FROM image_layer WHERE image_id = (SELECT id FROM image WHERE digest = ${second.manifest.digest})`,
      at.registry.prisma.$executeRaw`
        DELETE FROM repository_layer WHERE blob_id = (SELECT id FROM blob WHERE sha256 = ${second.config.digest.slice(7)})`,
    ]);
    const lost = await fsck(at.registry, { repair: true });
    expect(lost.kinds).toEqual(['missing-reference', 'missing-reference', 'repository-counters']);
    expect(lost.summary.repaired).toBe(2);
    await pushLayer(at.registry.ecr, at.repository, second.config);
    expect((await fsck(at.registry, { repair: true })).summary.repaired).toBe(1);
    await at.expectClean();
    await expectExactCounters(at.registry.prisma);
  });

  it('finds manifests that changed, and rows that name rows which are not there', async () => {
    const [config, blob] = [imageConfig(`${store} changed`), at.image.layers[0]!];
    await pushLayer(at.registry.ecr, at.repository, config);
    const changed = imageManifest(config, [blob]);
    await putImage(at.registry.ecr, at.repository, changed, 'changed');
    await at.registry.prisma.$executeRaw`
      UPDATE image SET manifest = set_byte(manifest, 5, 33) WHERE digest = ${changed.digest}`;
    const { findings } = await fsck(at.registry);
    expect(findings).toEqual([
      expect.objectContaining({ kind: 'manifest-digest', digest: changed.digest, repositories: [at.arn] }),
    ]);
    await at.registry.prisma.$transaction([
      at.registry.prisma.$executeRaw`SET LOCAL session_replication_role = replica`,
      at.registry.prisma
        .$executeRaw`DELETE FROM image_layer WHERE image_id = (SELECT id FROM image WHERE digest = ${changed.digest})`,
      at.registry.prisma.$executeRaw`DELETE FROM image WHERE digest = ${changed.digest}`,
    ]);
    const dangling = await fsck(at.registry, { repair: true });
    expect(dangling.kinds).toEqual(['dangling-reference', 'repository-counters']);
    expect(dangling.findings[0]).toMatchObject({
      what: "The tag 'changed' names an image that is not there",
      repositories: [at.arn],
    });
    await at.registry.prisma.$executeRaw`DELETE FROM image_tag WHERE tag = 'changed'`;
    await at.expectClean();
  });

  it('looks at deleted images that can still be brought back', async () => {
    const row = await at.registry.prisma.image.findFirstOrThrow({
      where: { digest: at.image.manifest.digest },
    });
    const deleted = async (manifest: Buffer) => {
      const { id } = await at.registry.prisma.deletedImage.create({
        data: {
          registryId: (await at.registry.prisma.registry.findFirstOrThrow()).id,
          repositoryName: at.repository,
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
    const { findings, summary } = await fsck(at.registry, { repair: true });
    expect(findings).toEqual([
      expect.objectContaining({ kind: 'missing-reference', repaired: true, repositories: [at.arn] }),
      expect.objectContaining({ kind: 'missing-reference', repaired: true, repositories: [at.arn] }),
    ]);
    expect(summary.deletedImages).toBe(1);
    expect(await at.registry.prisma.deletedImageLayer.count({ where: { deletedImageId: held } })).toBe(2);
    await at.expectClean();
    await deleted(Buffer.from('{}'));
    expect((await fsck(at.registry)).kinds).toEqual(['manifest-digest']);
    await at.registry.prisma.deletedImage.deleteMany();
    await at.expectClean();
  });

  it('finds nothing at all where the store is not the one that belongs to the database', async () => {
    const { objectKey } = await at.rowOf(at.image.layers[0]!);
    const bytes = await at.objects.read(objectKey);
    const name = await at.objects.rename('00000000-0000-0000-0000-000000000000');
    await at.objects.remove(objectKey);
    await expect(fsck(at.registry, { repair: true })).rejects.toBeInstanceOf(StoreUnavailable);
    expect(await at.registry.prisma.blob.count({ where: { damagedAt: { not: null } } })).toBe(0);
    await at.objects.rename(name);
    expect((await fsck(at.registry, { repair: true })).kinds).toEqual(['missing-object']);
    expect(bytes).toHaveLength(1_000);
    await at.heal();
  });

  it('stops when it is told to', async () => {
    await expect(fsck(at.registry, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
    await at.expectClean();
  });
});
