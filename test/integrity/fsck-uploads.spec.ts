import { expect, it } from '@jest/globals';
import { LimitExceededException, UploadNotFoundException } from '@aws-sdk/client-ecr';
import { createHash } from 'node:crypto';
import { fsck } from '../support/fsck.js';
import { imageIndex, layer } from '../support/images.js';
import { inspectedRegistry } from '../support/inspected-registry.js';
import { beginUpload, MEBIBYTE, pushImage, pushLayer, putImage } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { refusal } from '../support/refusal.js';
import { describeEachStore } from '../support/stores.js';

describeEachStore('fsck of unfinished bytes', (store) => {
  const at = inspectedRegistry(store);

  it('finds nothing wrong with anything a registry can hold', async () => {
    const second = await pushImage(at.registry.ecr, at.repository, `${store} second`, ['v2'], {
      flavour: 'docker',
    });
    const index = imageIndex([at.image.manifest, second.manifest]);
    await putImage(at.registry.ecr, at.repository, index, 'all');
    // Once more, through uploads of their own.
    for (const each of [second.config, ...second.layers])
      await pushLayer(at.registry.ecr, at.repository, each);
    const several = at.large('several');
    const parts = await beginUpload(at.registry.ecr, at.repository);
    await parts.part(several.bytes.subarray(0, 5 * MEBIBYTE), 0);
    await parts.part(several.bytes.subarray(5 * MEBIBYTE), 5 * MEBIBYTE);
    await parts.complete(several.digest);
    const sha512 = `sha512:${createHash('sha512').update('by sha512').digest('hex')}`;
    const put = await at.registry.fetchOci(`/v2/${at.repository}/blobs/uploads/?digest=${sha512}`, {
      method: 'POST',
      body: 'by sha512',
    });
    expect(put.status).toBe(201);
    const empty = `sha256:${createHash('sha256').digest('hex')}`;
    const nothing = `/v2/${at.repository}/blobs/uploads/?digest=${empty}`;
    expect((await at.registry.fetchOci(nothing, { method: 'POST', body: '' })).status).toBe(201);
    await (await beginUpload(at.registry.ecr, at.repository)).part(layer(1_000, 'tail').bytes, 0);
    const open = await beginUpload(at.registry.ecr, at.repository);
    await open.part(at.large('open').bytes, 0);
    await open.part(layer(7, 'open tail').bytes, 6 * MEBIBYTE);
    await beginUpload(at.registry.ecr, at.repository);
    // One object already, and still an open upload.
    const refused = await beginUpload(at.registry.ecr, at.repository);
    await refused.part(at.large('refused').bytes, 0);
    await at.registry.prisma.$executeRaw`INSERT INTO quota (registry_id, repository_id, name, value)
      SELECT registry_id, id, 'repositoryBytes', 1 FROM repository WHERE name = ${at.repository}`;
    await refusal(refused.complete(at.large('refused').digest), LimitExceededException);
    await at.registry.prisma.quota.deleteMany();
    // Made one object by a completion whose record was lost.
    const lost = await beginUpload(at.registry.ecr, at.repository);
    await lost.part(at.large('lost').bytes, 0);
    if (store === 's3') {
      const tails = await at.registry.prisma.uploadTail.findMany({ where: { uploadId: lost.id } });
      await at.blobs.commit(
        await at.stagedOf(lost.id),
        tails.map(({ bytes }) => Buffer.from(bytes)),
        {
          ...at.context(),
          takePartNumbers: async () => 100,
        },
      );
    }
    const { findings, summary } = await fsck(at.registry, { impatient: true });
    expect(findings).toEqual([]);
    expect(summary).toMatchObject({ findings: {}, repaired: 0, damagedLayers: 0, images: 3, openUploads: 5 });
    expect(summary.hashedLayers).toBe(await at.registry.prisma.blob.count());
    expect(summary.layers).toBe(summary.hashedLayers);
    await lost.complete(at.large('lost').digest);
    await refused.complete(at.large('refused').digest);
    await at.expectClean();
  });

  it('finds objects and unfinished bytes no record speaks of, once they are old, and hands them to the collector', async () => {
    const { key } = await at.blobs.commit(null, [Buffer.from('orphan')], at.context());
    const bytes = (async function* () {
      yield at.large('orphaned').bytes;
    })();
    const { staged } = await at.blobs.append(null, { bytes, inMemory: true }, at.context());
    const young = await fsck(at.registry);
    expect(young.findings).toEqual([]);
    expect(young.summary.inFlight).toBe(2);
    const { findings } = await fsck(at.registry, { impatient: true, repair: true });
    expect(findings).toEqual([
      expect.objectContaining({ kind: 'orphaned-object', key, foundBytes: 6, repaired: true }),
      expect.objectContaining({ kind: 'orphaned-upload', key: staged!['key'], repaired: true }),
    ]);
    await at.expectClean();
    await at.collect();
    await expect(at.objects.read(key)).rejects.toThrow();
    expect(await at.blobs.stagedBytes(staged!)).toBeNull();
    await at.expectClean();
  });

  it('ends uploads whose last bytes in the database are not what was acknowledged', async () => {
    const begin = async () => {
      const upload = await beginUpload(at.registry.ecr, at.repository);
      await upload.part(layer(1_000, 'tail').bytes, 0);
      return upload;
    };
    const [whole, gone, wrong] = [await begin(), await begin(), await begin()];
    await at.registry.prisma.uploadTail.deleteMany({ where: { uploadId: gone.id } });
    await at.registry.prisma.uploadTail.updateMany({
      where: { uploadId: wrong.id },
      data: { bytes: Buffer.alloc(999) },
    });
    const { findings } = await fsck(at.registry);
    expect(findings.map(({ kind }) => kind)).toEqual(['upload-tails', 'upload-tails']);
    expect(new Set(findings.map(({ upload }) => upload))).toEqual(new Set([gone.id, wrong.id]));
    expect((await fsck(at.registry, { repair: true })).summary.repaired).toBe(2);
    for (const upload of [gone, wrong])
      await refusal(upload.part(Buffer.from('x'), 1_000), UploadNotFoundException);
    await whole.complete(layer(1_000, 'tail').digest);
    await expectExactCounters(at.registry.prisma);
    await at.expectClean();
    await at.collect();
    await at.expectClean();
  });

  it('ends uploads whose acknowledged bytes are gone from the store', async () => {
    const blob = at.large('open');
    const begin = async () => {
      const upload = await beginUpload(at.registry.ecr, at.repository);
      await upload.part(blob.bytes, 0);
      return upload;
    };
    const [whole, gone, committed] = [await begin(), await begin(), await begin()];
    await at.objects.removeUnfinished(await at.stagedOf(gone.id));
    await at.registry.prisma.$executeRaw`INSERT INTO quota (registry_id, repository_id, name, value)
      SELECT registry_id, id, 'repositoryBytes', 1 FROM repository WHERE name = ${at.repository}`;
    await refusal(committed.complete(blob.digest), LimitExceededException);
    await at.registry.prisma.quota.deleteMany();
    await at.objects.remove(String((await at.stagedOf(committed.id))['committed']));
    const { findings } = await fsck(at.registry);
    expect(findings.map(({ kind }) => kind)).toEqual(['upload-bytes', 'upload-bytes']);
    expect(new Set(findings.map(({ upload }) => upload))).toEqual(new Set([gone.id, committed.id]));
    expect(findings).toContainEqual(expect.objectContaining({ foundBytes: 0, repositories: [at.arn] }));
    expect((await fsck(at.registry, { repair: true })).summary.repaired).toBe(2);
    for (const upload of [gone, committed])
      await refusal(upload.complete(blob.digest), UploadNotFoundException);
    await whole.complete(blob.digest);
    await expectExactCounters(at.registry.prisma);
    await at.expectClean();
    await at.collect();
    await at.expectClean();
  });

  it('leaves an upload alone while a request works on it', async () => {
    const upload = await beginUpload(at.registry.ecr, at.repository);
    await upload.part(at.large('leased').bytes, 0);
    await at.objects.removeUnfinished(await at.stagedOf(upload.id));
    await at.registry.prisma.$executeRaw`
      UPDATE upload SET lease_token = gen_random_uuid(), lease_expires_at = now() + interval '1 hour' WHERE id = ${upload.id}::uuid`;
    const { findings } = await fsck(at.registry, { repair: true });
    expect(findings).toEqual([expect.objectContaining({ kind: 'upload-bytes', repaired: false })]);
    await at.registry.prisma
      .$executeRaw`UPDATE upload SET lease_expires_at = now() WHERE id = ${upload.id}::uuid`;
    expect((await fsck(at.registry, { repair: true })).summary.repaired).toBe(1);
    await at.collect();
    await at.expectClean();
  });
});
