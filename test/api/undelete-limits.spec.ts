import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { BatchDeleteImageCommand, DeleteRepositoryCommand } from '@aws-sdk/client-ecr';
import { collectFully } from '../support/collecting.js';
import { describeDeletions, outcomes } from '../support/deletions.js';
import { imageIndex, imageManifest } from '../support/images.js';
import { createRepository, pushImage, pushLayer, putImage } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';

describeDeletions('A deleted image that is to come back', (begun) => {
  const limit = async (name: string, value: number): Promise<void> => {
    const { registry, repository } = begun();
    await registry.prisma.$executeRaw`INSERT INTO quota (registry_id, repository_id, name, value)
      SELECT registry_id, id, ${name}, ${value} FROM repository WHERE name = ${repository}`;
  };

  it('respects the quotas of its repository', async () => {
    const { registry, repository, client, seed, endGraceOfLayers } = begun();
    const image = await pushImage(registry.ecr, repository, seed('quota'), ['a', 'b', 'c']);
    const bytes = image.config.size + image.layers[0]!.size;
    await client.remove({ imageDigest: image.manifest.digest });
    await endGraceOfLayers();
    await collectFully(registry);
    for (const [name, value, what] of [
      ['imagesPerRepository', 0, 'images'],
      ['repositoryBytes', bytes - 1, 'bytes of the repository'],
    ] as const) {
      await limit(name, value);
      for (const dryRun of [true, false])
        expect(await client.undelete('all', { dryRun })).toMatchObject([
          { restored: { outcome: 'exceeded', what, limit: value } },
        ]);
      await registry.prisma.quota.deleteMany();
      await expectExactCounters(registry.prisma);
    }
    await limit('tagsPerImage', 2);
    await limit('repositoryBytes', bytes);
    expect(await client.undelete('all')).toMatchObject([
      { restored: { outcome: 'restored', tags: [{}, {}, { tag: 'c', outcome: 'too-many' }] } },
    ]);
    await registry.prisma.quota.deleteMany();
    expect(await client.images()).toEqual({ [image.manifest.digest]: ['a', 'b'] });
    await expectExactCounters(registry.prisma);
  });

  it('is only told of in a dry run', async () => {
    const { registry, repository, client, seed } = begun();
    const child = await pushImage(registry.ecr, repository, seed('dry child'));
    const index = imageIndex([child.manifest]);
    await putImage(registry.ecr, repository, index, 'multi');
    await client.remove({ imageTag: 'multi' }, { imageDigest: child.manifest.digest });
    const before = await client.deleted();
    expect(outcomes(await client.undelete('all', { dryRun: true }))).toEqual([
      [child.manifest.digest, 'restored'],
      [index.digest, 'restored'],
    ]);
    expect(await client.images()).toEqual({});
    expect(await client.deleted()).toEqual(before);
    await expectExactCounters(registry.prisma);
  });

  it('needs a repository to come back to', async () => {
    const { registry, repository, client, seed } = begun();
    await pushImage(registry.ecr, repository, seed('homeless'), ['v1']);
    await client.deleteRepository();
    expect(await client.deleted()).toHaveLength(1);
    const error = await refusal(client.undelete('all'), Error);
    expect(error).toMatchObject({ code: 'RepositoryNotFound' });
  });

  it('comes back once, however many try, also while it is pushed and collected', async () => {
    const { registry, repository, client, seed, endGraceOfLayers } = begun();
    for (let round = 0; round < 6; round += 1) {
      const image = await pushImage(registry.ecr, repository, seed(`raced ${round}`), [`r${round}`]);
      const { digest } = image.manifest;
      await client.remove({ imageDigest: digest });
      await endGraceOfLayers();
      const [first, second] = await Promise.all([
        client.undelete({ digest }),
        client.undelete({ digest }),
        collectFully(registry),
        pushLayer(registry.ecr, repository, image.layers[0]!),
        putImage(registry.ecr, repository, image.manifest).catch((error: unknown) =>
          expect(String(error)).toMatch(/^(LayersNotFound|ImageAlreadyExists)Exception/),
        ),
      ]);
      const said = [...first, ...second].map(({ restored }) => restored.outcome);
      expect(said.filter((outcome) => outcome !== 'gone')).toHaveLength(1);
      expect(await client.images()).toMatchObject({ [digest]: [`r${round}`] });
      await collectFully(registry);
      await client.expectWhole(image);
    }
    await expectExactCounters(registry.prisma);
  });

  it('without layers of its own comes back as well', async () => {
    const { registry, repository, client, seed } = begun();
    const { config } = await pushImage(registry.ecr, repository, seed('bare'), ['v1']);
    const bare = imageManifest(config, []);
    await putImage(registry.ecr, repository, bare, 'bare');
    await client.remove({ imageTag: 'bare' });
    expect(outcomes(await client.undelete({ tag: 'bare' }))).toEqual([[bare.digest, 'restored']]);
  });
});

describeEachStore('With a window of 0, a deleted image', (store) => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ store, config: { STOWAGE_ROLE: 'api', STOWAGE_UNDELETE_WINDOW: '0' } });
  });
  afterAll(() => registry?.close());

  it('is gone at once', async () => {
    const names = [await createRepository(registry.ecr), await createRepository(registry.ecr)];
    for (const name of names) await pushImage(registry.ecr, name, name, ['v1']);
    await registry.ecr.send(
      new BatchDeleteImageCommand({ repositoryName: names[0]!, imageIds: [{ imageTag: 'v1' }] }),
    );
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: names[1]!, force: true }));
    expect(await registry.prisma.deletedImage.count()).toBe(0);
  });
});
