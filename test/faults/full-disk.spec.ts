import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { DescribeRepositoriesCommand } from '@aws-sdk/client-ecr';
import { layer } from '../support/images.js';
import { createRepository, MEBIBYTE, pushImage } from '../support/pushes.js';
import { acknowledged, DOORS, pulled, pushPatiently, stepsAt } from './push.js';
import { ociOutcome } from './outcome.js';
import { describeSmallDisk, type SmallDisk, startOnSmallDisk } from './small-disk.js';

describeSmallDisk('A disk of layers that is full', () => {
  let disk: SmallDisk;
  let repository: string;
  beforeAll(async () => {
    disk = await startOnSmallDisk(96 * MEBIBYTE, { store: 'filesystem' });
    repository = await createRepository(disk.registry.ecr);
  }, 60_000);
  afterAll(() => disk?.registry.close());

  it.each(DOORS)(
    'ends a push in the middle, where it goes on once there is room (%s door)',
    async (door) => {
      const { registry } = disk;
      const earlier = layer(MEBIBYTE, `earlier ${door}`);
      await pushPatiently(door, registry, repository, earlier);
      await pushImage(registry.ecr, repository, `earlier ${door}`, ['v1']);
      const blob = layer(18 * MEBIBYTE, `full ${door}`);
      const third = 6 * MEBIBYTE;
      const piece = (n: number): [Buffer, number] => [
        blob.bytes.subarray(n * third, (n + 1) * third),
        n * third,
      ];
      const steps = stepsAt(door, registry, repository);
      await steps.begin();
      const before = await disk.list('layers/staged');
      await disk.fill(8 * MEBIBYTE);
      expect(await steps.append(...piece(0))).toBe('done');
      const after = await disk.list('layers/staged');
      for (let attempt = 0; attempt < 3; attempt += 1)
        expect(await steps.append(...piece(1))).toBe('retry later');
      expect(await acknowledged(registry, repository, steps.upload)).toBe(third);
      expect(await disk.list('layers/staged')).toEqual(after);

      // What is there is served.
      expect((await pulled(registry, repository, earlier)).equals(earlier.bytes)).toBe(true);
      expect((await registry.fetchOci(`/v2/${repository}/manifests/v1`)).status).toBe(200);

      await disk.free();
      for (const n of [1, 2]) expect(await steps.append(...piece(n))).toBe('done');
      expect(await steps.complete(blob.digest)).toBe('done');
      expect((await pulled(registry, repository, blob)).equals(blob.bytes)).toBe(true);
      expect(await disk.list('layers/staged')).toEqual(before);
    },
    60_000,
  );

  it('ends a stream that is larger than what is left, and keeps nothing of it', async () => {
    const { registry } = disk;
    const blob = layer(30 * MEBIBYTE, 'larger');
    const steps = stepsAt('OCI', registry, repository);
    await steps.begin();
    await disk.fill(20 * MEBIBYTE);
    const before = await disk.list('layers');
    expect(await steps.append(blob.bytes, 0)).toBe('retry later');
    const whole = registry.fetchOci(`/v2/${repository}/blobs/uploads/?digest=${blob.digest}`, {
      method: 'POST',
      body: new Uint8Array(blob.bytes),
    });
    expect(await ociOutcome(whole)).toBe('retry later');
    expect(await acknowledged(registry, repository, steps.upload)).toBe(0);
    expect(await disk.list('layers')).toEqual(before);
    await disk.free();
    expect(await steps.append(blob.bytes, 0)).toBe('done');
    expect(await steps.complete(blob.digest)).toBe('done');
    expect((await pulled(registry, repository, blob)).equals(blob.bytes)).toBe(true);
  }, 60_000);

  it('ends a completion, which makes no half of an object and succeeds once there is room', async () => {
    const { registry } = disk;
    const blob = layer(4 * MEBIBYTE, 'completion');
    const steps = stepsAt('OCI', registry, repository);
    await steps.begin();
    for (const first of [0, MEBIBYTE])
      await steps.append(blob.bytes.subarray(first, first === 0 ? MEBIBYTE : blob.size), first);
    await disk.fill(0);
    const before = await disk.list('layers/blobs');
    expect(await steps.complete(blob.digest)).toBe('retry later');
    const missing = await registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`, { method: 'HEAD' });
    expect(missing.status).toBe(404);
    const shards = (names: string[]): string[] => names.filter((name) => !/^..\/$/.test(name));
    expect(shards(await disk.list('layers/blobs'))).toEqual(shards(before));
    await disk.free();
    expect(await steps.complete(blob.digest)).toBe('done');
    expect((await pulled(registry, repository, blob)).equals(blob.bytes)).toBe(true);
    const { repositories } = await registry.ecr.send(new DescribeRepositoriesCommand({}));
    expect(repositories).toHaveLength(1);
  }, 60_000);
});
