import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { BatchGetImageCommand, DescribeRepositoriesCommand } from '@aws-sdk/client-ecr';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { imageConfig, imageManifest, layer } from '../support/images.js';
import { createRepository, MEBIBYTE, pushLayer, putImage } from '../support/pushes.js';
import { ecrOutcome, type Outcome } from './outcome.js';
import { pulled, pushPatiently } from './push.js';
import { describeSmallDisk, type SmallDisk, startOnSmallDisk } from './small-disk.js';

describeSmallDisk('A disk of layers and the embedded database that is full', () => {
  let disk: SmallDisk;
  let repository: string;
  beforeAll(async () => {
    disk = await startOnSmallDisk(320 * MEBIBYTE, {
      store: 'filesystem',
      embeddedDatabase: true,
      config: { STOWAGE_LOG_LEVEL: 'error' },
    });
    repository = await createRepository(disk.registry.ecr);
  }, 120_000);
  afterAll(() => disk?.registry.close());

  const config = imageConfig('full');
  const stored: { tag: string; text: string }[] = [];
  const put = async (bytes: number): Promise<Outcome> => {
    const tag = `v${stored.length}-${randomUUID()}`;
    // Incompressible: it wants room in the tables and in the log of the database.
    const filler = layer(bytes, tag).bytes.toString('base64url');
    const manifest = imageManifest(config, [], { annotations: { filler } });
    const outcome = await ecrOutcome(putImage(disk.registry.ecr, repository, manifest, tag));
    if (outcome === 'done') stored.push({ tag, text: manifest.text });
    return outcome;
  };
  const putUntilRefused = async (bytes: number): Promise<void> => {
    for (let n = 0; (await put(bytes)) === 'done'; n += 1)
      if (n > 200) throw new Error('The database needs no room');
  };
  const servedAgain = async (): Promise<void> => {
    const ask = () => ecrOutcome(disk.registry.ecr.send(new DescribeRepositoriesCommand({})));
    for (const deadline = Date.now() + 60_000; (await ask()) !== 'done'; await sleep(200))
      if (Date.now() > deadline) throw new Error(`Not served again:\n${disk.registry.output}`);
  };
  const expectAllStored = async (): Promise<void> => {
    for (const { tag, text } of stored) {
      const { images } = await disk.registry.ecr.send(
        new BatchGetImageCommand({ repositoryName: repository, imageIds: [{ imageTag: tag }] }),
      );
      expect(images![0]!.imageManifest === text).toBe(true);
    }
  };

  it('costs nothing that was acknowledged, and is served again once there is room', async () => {
    const { registry } = disk;
    const blob = layer(2 * MEBIBYTE, 'kept');
    await pushPatiently('OCI', registry, repository, blob);
    await pushLayer(registry.ecr, repository, config);
    expect(await put(2 * MEBIBYTE)).toBe('done');
    await disk.fill(MEBIBYTE);
    for (let refusals = 0; refusals < 5; refusals += 1) await putUntilRefused(2 * MEBIBYTE);
    const meanwhile = pushPatiently('ECR', registry, repository, layer(8 * MEBIBYTE, 'meanwhile'));
    await disk.free();
    await servedAgain();
    await meanwhile;
    expect(await put(2 * MEBIBYTE)).toBe('done');
    await expectAllStored();
    expect((await pulled(registry, repository, blob)).equals(blob.bytes)).toBe(true);
    expect(await disk.list('layers/staged')).toEqual([]);
  }, 180_000);

  it('costs nothing either when the database itself goes down for want of room for its log', async () => {
    const wentDown = async (): Promise<boolean> => /PANIC/.test(await disk.read('postgres/data/log'));
    for (let round = 0; round < 10 && !(await wentDown()); round += 1) {
      // Less than the next file of the log, and still enough for tables until that is needed.
      await disk.fill(12 * MEBIBYTE);
      await putUntilRefused(200_000);
      await disk.free();
      await servedAgain();
      await expectAllStored();
    }
    expect(await put(2 * MEBIBYTE)).toBe('done');
    await expectAllStored();
    expect(await wentDown()).toBe(true);
  }, 180_000);
});
