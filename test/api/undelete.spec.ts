import { expect, it } from '@jest/globals';
import {
  BatchDeleteImageCommand,
  BatchGetImageCommand,
  PutImageTagMutabilityCommand,
} from '@aws-sdk/client-ecr';
import type { Undeleted } from '../../src/registry/images/trash/undelete.service.js';
import { age, collectFully, objectsOf } from '../support/collecting.js';
import { type Deletions, describeDeletions, outcomes } from '../support/deletions.js';
import { imageIndex, type Manifest } from '../support/images.js';
import { createRepository, pushImage, putImage } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';

describeDeletions('A deleted image', (begun) => {
  it.each([
    ['by tag', async ({ client }: Deletions) => client.remove({ imageTag: 'v1' }, { imageTag: 'latest' })],
    [
      'by digest',
      async ({ client }: Deletions, { digest }: Manifest) => client.remove({ imageDigest: digest }),
    ],
    [
      'at the OCI door',
      async ({ registry, repository }: Deletions, { digest }: Manifest) => {
        const path = `/v2/${repository}/manifests/${digest}`;
        expect((await registry.fetchOci(path, { method: 'DELETE' })).status).toBe(202);
      },
    ],
    [
      'with its repository',
      async ({ registry, repository, client }: Deletions) => {
        await client.deleteRepository();
        await createRepository(registry.ecr, { repositoryName: repository });
      },
    ],
  ] satisfies [string, (begun: Deletions, manifest: Manifest) => Promise<void>][])(
    '%s comes back with its bytes, layers, tags and times, after any collection within the window',
    async (how, deletes) => {
      const { registry, repository, client, seed, endGraceOfLayers } = begun();
      const image = await pushImage(registry.ecr, repository, seed(how), ['v1', 'latest']);
      const { digest } = image.manifest;
      await registry.ecr.send(
        new BatchGetImageCommand({ repositoryName: repository, imageIds: [{ imageTag: 'v1' }] }),
      );
      const row = () =>
        registry.prisma.image.findFirstOrThrow({
          where: { digest },
          omit: { id: true, repositoryId: true },
          include: { layers: { select: { blobId: true, mediaType: true }, orderBy: { blobId: 'asc' } } },
        });
      const before = await row();
      await deletes(begun(), image.manifest);
      expect(await client.images()).toEqual({});
      await endGraceOfLayers();
      await age(registry, 23);
      await collectFully(registry);
      expect(
        await registry.prisma.repositoryLayer.count({ where: { repository: { name: repository } } }),
      ).toBe(0);
      await expectExactCounters(registry.prisma);
      expect(await client.undelete({ digest })).toMatchObject([
        {
          image: { digest, tags: ['v1', 'latest'] },
          restored: {
            outcome: 'restored',
            tags: [
              { tag: 'v1', outcome: 'put' },
              { tag: 'latest', outcome: 'put' },
            ],
            damaged: [],
          },
        },
      ]);
      expect(await client.images()).toEqual({ [digest]: ['v1', 'latest'] });
      expect(await row()).toEqual(before);
      await client.expectWhole(image);
      await expectExactCounters(registry.prisma);
      expect(await client.deleted()).toEqual([]);
      await age(registry, 48);
      await collectFully(registry);
      await client.expectWhole(image);
      await expectExactCounters(registry.prisma);
    },
  );

  it('is gone for good after the window, with its bytes', async () => {
    const { registry, repository, client, seed } = begun();
    const { manifest, config, layers } = await pushImage(registry.ecr, repository, seed('window'), ['v1']);
    await client.remove({ imageTag: 'v1' });
    await age(registry, 23);
    await collectFully(registry);
    expect((await client.deleted()).map(({ digest }) => digest)).toEqual([manifest.digest]);
    await age(registry, 2);
    await collectFully(registry);
    expect(await client.deleted()).toEqual([]);
    expect(await client.undelete({ digest: manifest.digest })).toEqual([]);
    const shas = [config, ...layers].map(({ digest }) => digest.slice(7));
    expect(await registry.prisma.blob.count({ where: { sha256: { in: shas } } })).toBe(0);
    expect(await objectsOf(registry)).toHaveLength(await registry.prisma.blob.count());
  });

  it('of an index brings the images along that it names, and comes after them', async () => {
    const { registry, repository, client, seed } = begun();
    const [one, two] = [
      await pushImage(registry.ecr, repository, seed('one')),
      await pushImage(registry.ecr, repository, seed('two'), ['two']),
    ];
    const inner = imageIndex([one.manifest, two.manifest]);
    const outer = imageIndex([inner], { annotations: { outer: 'yes' } });
    await putImage(registry.ecr, repository, inner);
    await putImage(registry.ecr, repository, outer, 'multi');
    await client.deleteRepository();
    await createRepository(registry.ecr, { repositoryName: repository });
    await collectFully(registry);
    const back = await client.undelete({ tag: 'multi' });
    expect(outcomes(back)).toEqual(
      [one.manifest, two.manifest, inner, outer].map(({ digest }) => [digest, 'restored']),
    );
    expect(await client.images()).toEqual({
      [one.manifest.digest]: [],
      [two.manifest.digest]: ['two'],
      [inner.digest]: [],
      [outer.digest]: ['multi'],
    });
    for (const image of [one, two]) await client.expectWhole(image);
    // And they hold each other again.
    const { failures } = await registry.ecr.send(
      new BatchDeleteImageCommand({
        repositoryName: repository,
        imageIds: [{ imageDigest: one.manifest.digest }],
      }),
    );
    expect(failures![0]!.failureCode).toBe('ImageReferencedByManifestList');
    await expectExactCounters(registry.prisma);
  });

  it('of an index stays away when an image it names is gone for good, and others come', async () => {
    const { registry, repository, client, seed } = begun();
    const child = await pushImage(registry.ecr, repository, seed('child'));
    const index = imageIndex([child.manifest]);
    await putImage(registry.ecr, repository, index, 'multi');
    const other = await pushImage(registry.ecr, repository, seed('other'), ['other']);
    await client.remove({ imageTag: 'multi' }, { imageDigest: child.manifest.digest }, { imageTag: 'other' });
    await registry.prisma.deletedImage.deleteMany({ where: { digest: child.manifest.digest } });
    const back = await client.undelete('all');
    expect(new Map(outcomes(back))).toEqual(
      new Map([
        [index.digest, 'children-missing'],
        [other.manifest.digest, 'restored'],
      ]),
    );
    expect(back.find(({ image }) => image.digest === index.digest)!.restored).toMatchObject({
      digests: [child.manifest.digest],
    });
    expect(await client.images()).toEqual({ [other.manifest.digest]: ['other'] });
  });

  it('leaves tags to the images that have them by now, unless told otherwise', async () => {
    const { registry, repository, client, seed } = begun();
    const first = await pushImage(registry.ecr, repository, seed('first'), ['latest', 'v1']);
    await client.remove({ imageDigest: first.manifest.digest });
    const second = await pushImage(registry.ecr, repository, seed('second'), ['latest']);
    const [{ restored }] = (await client.undelete({ tag: 'v1' })) as [Undeleted];
    expect(restored).toMatchObject({
      tags: [
        { tag: 'latest', outcome: 'taken', by: second.manifest.digest },
        { tag: 'v1', outcome: 'put' },
      ],
    });
    await client.remove({ imageDigest: first.manifest.digest });
    await registry.prisma
      .$executeRaw`UPDATE deleted_image SET tags = '{latest,v1}' WHERE digest = ${first.manifest.digest}`;
    await registry.ecr.send(
      new PutImageTagMutabilityCommand({ repositoryName: repository, imageTagMutability: 'IMMUTABLE' }),
    );
    expect(
      await client.undelete({ digest: first.manifest.digest }, { moveTags: true, dryRun: true }),
    ).toMatchObject([
      { restored: { tags: [{ tag: 'latest', outcome: 'immutable', by: second.manifest.digest }, {}] } },
    ]);
    await registry.ecr.send(
      new PutImageTagMutabilityCommand({ repositoryName: repository, imageTagMutability: 'MUTABLE' }),
    );
    await client.undelete({ digest: first.manifest.digest }, { moveTags: true });
    expect(await client.images()).toEqual({
      [first.manifest.digest]: expect.arrayContaining(['latest', 'v1']),
      [second.manifest.digest]: [],
    });
  });

  it('that was pushed again and deleted again is the last one, and one that is there gets its tags back', async () => {
    const { registry, repository, client, seed } = begun();
    const image = await pushImage(registry.ecr, repository, seed('twice'), ['a']);
    const { digest } = image.manifest;
    await client.remove({ imageDigest: digest });
    await putImage(registry.ecr, repository, image.manifest, 'b');
    await client.remove({ imageDigest: digest });
    expect((await client.deleted()).map(({ tags }) => tags)).toEqual([['b'], ['a']]);
    expect(outcomes(await client.undelete({ digest }))).toEqual([[digest, 'restored']]);
    expect(await client.images()).toEqual({ [digest]: ['b'] });
    expect(outcomes(await client.undelete('all'))).toEqual([[digest, 'there-already']]);
    expect(await client.images()).toEqual({ [digest]: ['b', 'a'] });
    expect(await client.undelete('all')).toEqual([]);
    await client.expectWhole(image);
    await expectExactCounters(registry.prisma);
  });

  it('comes back by time, with everything that was deleted since', async () => {
    const { registry, repository, client, seed } = begun();
    const [early, late] = [
      await pushImage(registry.ecr, repository, seed('early'), ['early']),
      await pushImage(registry.ecr, repository, seed('late'), ['late']),
    ];
    await client.remove({ imageTag: 'early' });
    await age(registry, 5);
    await client.remove({ imageTag: 'late' });
    const since = new Date(Date.now() - 3_600_000);
    expect(outcomes(await client.undelete({ since }))).toEqual([[late.manifest.digest, 'restored']]);
    expect(await client.images()).toEqual({ [late.manifest.digest]: ['late'] });
    expect(outcomes(await client.undelete('all'))).toEqual([[early.manifest.digest, 'restored']]);
  });
});
