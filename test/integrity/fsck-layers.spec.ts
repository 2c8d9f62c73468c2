import { describe, expect, it } from '@jest/globals';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fsck } from '../support/fsck.js';
import { layer } from '../support/images.js';
import { inspectedRegistry } from '../support/inspected-registry.js';
import { beginUpload, MEBIBYTE, pushLayer } from '../support/pushes.js';
import { flipped } from '../support/stored-objects.js';
import { describeEachStore } from '../support/stores.js';
import { pull } from '../support/upload-doors.js';

describeEachStore('fsck of layers', (store) => {
  const at = inspectedRegistry(store);

  it('finds a layer whose object is gone, takes it out of sight, and is content once that is done', async () => {
    const blob = at.image.layers[0]!;
    const { objectKey } = await at.rowOf(blob);
    await at.objects.remove(objectKey);
    const { findings, summary } = await fsck(at.registry, { hashing: 'none' });
    const expected = {
      kind: 'missing-object',
      digest: blob.digest,
      key: objectKey,
      recordedBytes: blob.size,
      repositories: [at.arn],
      repair: expect.stringContaining('marks the layer damaged'),
    };
    expect(findings).toEqual([expect.objectContaining(expected)]);
    expect(findings[0]).not.toHaveProperty('repaired');
    expect(summary).toMatchObject({ findings: { 'missing-object': 1 }, repaired: 0, damagedLayers: 0 });
    expect(await at.status(blob)).toBe(200);
    const repaired = await fsck(at.registry, { repair: true });
    expect(repaired.findings).toEqual([expect.objectContaining({ ...expected, repaired: true })]);
    expect(repaired.summary).toMatchObject({ repaired: 1, damagedLayers: 1 });
    expect(await at.status(blob)).toBe(404);
    const again = await fsck(at.registry);
    expect(again.kinds).toEqual([]);
    expect(again.findings).toEqual([
      expect.objectContaining({ kind: 'damaged-layer', known: true, digest: blob.digest }),
    ]);
    await at.heal();
    expect((await pull(at.registry, at.repository, blob)).equals(blob.bytes)).toBe(true);
  });

  it.each([
    ['shorter', (bytes: Buffer) => bytes.subarray(0, -1)],
    ['longer', (bytes: Buffer) => Buffer.concat([bytes, Buffer.from('x')])],
    ['empty', () => Buffer.alloc(0)],
  ])('finds a layer whose object is %s, without reading it', async (_name, change) => {
    const single = at.image.layers[0]!;
    const several = at.large(`several ${_name}`);
    const parts = await beginUpload(at.registry.ecr, at.repository);
    await parts.part(several.bytes.subarray(0, 5 * MEBIBYTE), 0);
    await parts.part(several.bytes.subarray(5 * MEBIBYTE), 5 * MEBIBYTE);
    await parts.complete(several.digest);
    for (const blob of [single, several]) await at.objects.change((await at.rowOf(blob)).objectKey, change);
    const { findings, summary } = await fsck(at.registry, { hashing: 'none', repair: true });
    expect(findings.map(({ kind }) => kind)).toEqual(['wrong-size', 'wrong-size']);
    expect(new Set(findings.map(({ digest }) => digest))).toEqual(new Set([single.digest, several.digest]));
    for (const { recordedBytes, foundBytes } of findings) expect(foundBytes).not.toBe(recordedBytes);
    expect(summary).toMatchObject({ hashedLayers: 0, hashedBytes: 0, damagedLayers: 2, repaired: 2 });
    for (const blob of [single, several]) expect(await at.status(blob)).toBe(404);
    await pushLayer(at.registry.ecr, at.repository, several);
    await at.heal();
  });

  it('finds one bit that flipped, where it is told to hash', async () => {
    const blob = at.image.layers[0]!;
    await at.objects.change((await at.rowOf(blob)).objectKey, flipped);
    expect((await fsck(at.registry, { hashing: 'none' })).findings).toEqual([]);
    const { findings } = await fsck(at.registry);
    expect(findings).toEqual([
      expect.objectContaining({
        kind: 'wrong-bytes',
        digest: blob.digest,
        recordedBytes: blob.size,
        foundBytes: blob.size,
        repositories: [at.arn],
      }),
    ]);
    expect(await at.status(blob)).toBe(200);
    expect((await fsck(at.registry, { repair: true })).kinds).toEqual(['wrong-bytes']);
    expect(await at.status(blob)).toBe(404);
    await at.heal();
  });

  it('finds bytes that do not have the SHA-512 a client named them by', async () => {
    const blob = at.image.layers[0]!;
    await at.registry.prisma.blob.update({
      where: { sha256: blob.digest.slice(7) },
      data: { sha512: 'ab'.repeat(64) },
    });
    expect((await fsck(at.registry)).kinds).toEqual(['wrong-bytes']);
    await at.registry.prisma.blob.update({ where: { sha256: blob.digest.slice(7) }, data: { sha512: null } });
    await at.heal();
  });

  it('takes the mark from a layer whose object is right again, once it has hashed it', async () => {
    const blob = at.image.layers[0]!;
    const { objectKey } = await at.rowOf(blob);
    await at.objects.change(objectKey, flipped);
    await fsck(at.registry, { repair: true });
    await at.objects.change(objectKey, flipped);
    expect((await fsck(at.registry, { hashing: 'none' })).kinds).toEqual([]);
    const found = await fsck(at.registry);
    expect(found.kinds).toEqual(['whole-again']);
    expect(await at.status(blob)).toBe(404);
    expect((await fsck(at.registry, { repair: true })).summary).toMatchObject({
      repaired: 1,
      damagedLayers: 0,
    });
    expect(await at.status(blob)).toBe(200);
    await at.heal();
  });

  it('records when each layer was hashed', async () => {
    await at.registry.prisma.$executeRaw`UPDATE blob SET verified_at = '2020-01-01'`;
    await fsck(at.registry, { hashing: 'none' });
    const old = () => at.registry.prisma.blob.count({ where: { verifiedAt: new Date('2020-01-01') } });
    const total = await at.registry.prisma.blob.count();
    expect(await old()).toBe(total);
    await fsck(at.registry, { hashing: { layers: 2, seed: 7 } });
    expect(await old()).toBe(total - 2);
    await fsck(at.registry);
    expect(await old()).toBe(0);
  });

  it('hashes the same sample for the same seed', async () => {
    for (let seed = 0; seed < 12; seed += 1)
      await pushLayer(at.registry.ecr, at.repository, layer(50 + seed, seed));
    const chosen = async (hashing: { percent: number; seed: number } | { layers: number; seed: number }) => {
      await at.registry.prisma.$executeRaw`UPDATE blob SET verified_at = '2020-01-01'`;
      await fsck(at.registry, { hashing });
      const hashed = await at.registry.prisma.blob.findMany({
        where: { verifiedAt: { gt: new Date('2021-01-01') } },
        orderBy: { id: 'asc' },
      });
      return hashed.map(({ sha256 }) => sha256);
    };
    const total = await at.registry.prisma.blob.count();
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
});

describe('fsck of a layer that is several files', () => {
  const at = inspectedRegistry('filesystem');

  it.each([
    ['is gone', (path: string) => rm(path)],
    ['cannot be read', (path: string) => writeFile(path, '[{"name":"')],
  ])('finds that the list of them %s', async (_name, spoil) => {
    const several = at.large(_name);
    const parts = await beginUpload(at.registry.ecr, at.repository);
    await parts.part(several.bytes.subarray(0, 5 * MEBIBYTE), 0);
    await parts.part(several.bytes.subarray(5 * MEBIBYTE), 5 * MEBIBYTE);
    await parts.complete(several.digest);
    const { objectKey: key } = await at.rowOf(several);
    await spoil(join(at.registry.environment.dataDir, 'layers/blobs', key.slice(0, 2), key, 'layout.json'));
    const { findings } = await fsck(at.registry, { hashing: 'none', repair: true });
    expect(findings).toEqual([
      expect.objectContaining({ kind: 'wrong-size', digest: several.digest, foundBytes: 0, repaired: true }),
    ]);
    expect(await at.status(several)).toBe(404);
    await pushLayer(at.registry.ecr, at.repository, several);
    await at.heal();
  });
});
