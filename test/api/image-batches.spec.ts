import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  BatchDeleteImageCommand,
  BatchGetImageCommand,
  DescribeImagesCommand,
  ImageNotFoundException,
  type ImageIdentifier,
  InvalidParameterException,
  RepositoryNotFoundException,
} from '@aws-sdk/client-ecr';
import { imageIndex, layer, MEDIA_TYPES } from '../support/images.js';
import { createRepository, pushImage, putImage } from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { countedIn } from '../support/recount.js';

describe('A batch of images', () => {
  let registry: TestRegistry;
  let repository: string;
  beforeAll(async () => (registry = await startRegistry({ store: 'filesystem' })));
  afterAll(() => registry?.close());
  const fresh = async (): Promise<string> => (repository = await createRepository(registry.ecr));

  const get = (...imageIds: ImageIdentifier[]) =>
    registry.ecr.send(new BatchGetImageCommand({ repositoryName: repository, imageIds }));
  const remove = async (...imageIds: ImageIdentifier[]) => {
    const command = new BatchDeleteImageCommand({ repositoryName: repository, imageIds });
    const { imageIds: removed, failures } = await registry.ecr.send(command);
    return { removed, failures };
  };
  const tagsOf = async (imageDigest: string): Promise<string[] | undefined> => {
    const command = new DescribeImagesCommand({ repositoryName: repository, imageIds: [{ imageDigest }] });
    return (await registry.ecr.send(command)).imageDetails![0]!.imageTags;
  };
  const unknown = layer(1, 'unknown').digest;

  const MALFORMED: [id: ImageIdentifier, code: string, reason: RegExp][] = [
    [{}, 'MissingDigestAndTag', /^Invalid request parameters: both tag and digest cannot be null$/],
    [
      { imageDigest: 'sha256' },
      'InvalidImageDigest',
      /^Invalid request parameters: image digest should satisfy the regex '\[a-zA-Z0-9-_\+\.\]\+:\[a-fA-F0-9\]\+'$/,
    ],
    [{ imageTag: 'a b' }, 'InvalidImageTag', /image tag/],
    [{ imageTag: 'never-pushed' }, 'ImageNotFound', /^Requested image not found$/],
    [{ imageDigest: unknown }, 'ImageNotFound', /^Requested image not found$/],
    [{ imageDigest: 'md5:00ff' }, 'ImageNotFound', /^Requested image not found$/],
  ];

  it('is fetched with every image that is there, and tells what is wrong with the others', async () => {
    await fresh();
    const one = await pushImage(registry.ecr, repository, 'one', ['v1', 'latest']);
    const two = await pushImage(registry.ecr, repository, 'two', ['v2']);
    const { images, failures } = await get(
      { imageTag: 'v1' },
      ...MALFORMED.map(([id]) => id),
      { imageDigest: two.manifest.digest },
      { imageDigest: one.manifest.digest, imageTag: 'latest' },
      { imageDigest: one.manifest.digest, imageTag: 'v2' },
    );
    expect(images!.map(({ imageId, imageManifest }) => [imageId, imageManifest])).toEqual([
      [{ imageDigest: one.manifest.digest, imageTag: 'v1' }, one.manifest.text],
      [{ imageDigest: two.manifest.digest }, two.manifest.text],
      [{ imageDigest: one.manifest.digest, imageTag: 'latest' }, one.manifest.text],
    ]);
    expect(failures!.map(({ imageId, failureCode }) => [imageId, failureCode])).toEqual([
      ...MALFORMED.map(([id, code]) => [id, code]),
      [{ imageDigest: one.manifest.digest, imageTag: 'v2' }, 'ImageTagDoesNotMatchDigest'],
    ]);
    for (const [index, [, , reason]] of MALFORMED.entries())
      expect(failures![index]!.failureReason).toMatch(reason);
  });

  it('is fetched unchanged, whichever media types the client accepts', async () => {
    await fresh();
    const { manifest } = await pushImage(registry.ecr, repository, 'accepted', ['v1']);
    const { images } = await registry.ecr.send(
      new BatchGetImageCommand({
        repositoryName: repository,
        imageIds: [{ imageTag: 'v1' }],
        acceptedMediaTypes: [MEDIA_TYPES.dockerManifest],
      }),
    );
    expect(images![0]).toMatchObject({
      imageManifest: manifest.text,
      imageManifestMediaType: MEDIA_TYPES.ociManifest,
    });
  });

  it('that is fetched has the time of the pull recorded', async () => {
    await fresh();
    const { manifest } = await pushImage(registry.ecr, repository, 'pulled', ['v1']);
    const describeIt = async () =>
      (
        await registry.ecr.send(
          new DescribeImagesCommand({
            repositoryName: repository,
            imageIds: [{ imageDigest: manifest.digest }],
          }),
        )
      ).imageDetails![0]!;
    expect(await describeIt()).not.toHaveProperty('lastRecordedPullTime');
    await get({ imageTag: 'v1' });
    expect((await describeIt()).lastRecordedPullTime).toBeInstanceOf(Date);
  });

  it('has 1 to 100 images of a repository that exists', async () => {
    await fresh();
    const many = Array.from({ length: 101 }, () => ({ imageTag: 'v1' }));
    for (const call of [get(), get(...many), remove(), remove(...many)]) {
      expect((await refusal(call, InvalidParameterException)).message).toMatch(
        /^Invalid parameter at 'imageIds' failed to satisfy constraint: 'Member must have length/,
      );
    }
    repository = 'no/such';
    for (const call of [get({ imageTag: 'v1' }), remove({ imageTag: 'v1' })])
      await refusal(call, RepositoryNotFoundException);
  });

  it('deleted by tag loses the tags, and the images that have no other', async () => {
    await fresh();
    const { manifest } = await pushImage(registry.ecr, repository, 'tags', ['a', 'b']);
    const imageDigest = manifest.digest;
    expect(await remove({ imageTag: 'a' })).toEqual({
      removed: [{ imageDigest, imageTag: 'a' }],
      failures: [],
    });
    expect(await tagsOf(imageDigest)).toEqual(['b']);
    expect(await remove({ imageTag: 'b' })).toEqual({
      removed: [{ imageDigest, imageTag: 'b' }],
      failures: [],
    });
    await refusal(tagsOf(imageDigest), ImageNotFoundException);
  });

  it('deleted by digest goes with all its tags, each of them told', async () => {
    await fresh();
    const tagged = await pushImage(registry.ecr, repository, 'tagged', ['b', 'a']);
    const untagged = await pushImage(registry.ecr, repository, 'untagged');
    const ids = [tagged, untagged].map(({ manifest }) => ({ imageDigest: manifest.digest }));
    expect(await remove(...ids)).toEqual({
      removed: [
        { imageDigest: tagged.manifest.digest, imageTag: 'b' },
        { imageDigest: tagged.manifest.digest, imageTag: 'a' },
        { imageDigest: untagged.manifest.digest },
      ],
      failures: [],
    });
    for (const { manifest } of [tagged, untagged])
      await refusal(tagsOf(manifest.digest), ImageNotFoundException);
  });

  it('deleted by digest and tag needs both to match', async () => {
    await fresh();
    const one = await pushImage(registry.ecr, repository, 'one', ['v1', 'v1.0']);
    await pushImage(registry.ecr, repository, 'two', ['v2']);
    const mismatch = { imageDigest: one.manifest.digest, imageTag: 'v2' };
    expect(await remove(mismatch)).toMatchObject({
      removed: [],
      failures: [{ imageId: mismatch, failureCode: 'ImageTagDoesNotMatchDigest' }],
    });
    expect(await tagsOf(one.manifest.digest)).toEqual(['v1', 'v1.0']);
    const { removed } = await remove({ imageDigest: one.manifest.digest, imageTag: 'v1' });
    expect(removed).toHaveLength(2);
    await refusal(tagsOf(one.manifest.digest), ImageNotFoundException);
  });

  it('deleted tells what is wrong with entries, and deletes the others', async () => {
    await fresh();
    const { manifest } = await pushImage(registry.ecr, repository, 'among faults', ['v1']);
    const { removed, failures } = await remove(...MALFORMED.map(([id]) => id), { imageTag: 'v1' });
    expect(removed).toEqual([{ imageDigest: manifest.digest, imageTag: 'v1' }]);
    expect(failures!.map(({ imageId, failureCode }) => [imageId, failureCode])).toEqual(
      MALFORMED.map(([id, code]) => [id, code]),
    );
  });

  it('keeps images an index names, and the last tag of one, until the index goes', async () => {
    await fresh();
    const { manifest: child } = await pushImage(registry.ecr, repository, 'child', ['child', 'spare']);
    const index = imageIndex([child]);
    await putImage(registry.ecr, repository, index, 'multi');
    expect((await remove({ imageTag: 'spare' })).failures).toEqual([]);
    for (const id of [{ imageTag: 'child' }, { imageDigest: child.digest }]) {
      expect(await remove(id)).toEqual({
        removed: [],
        failures: [
          {
            imageId: id,
            failureCode: 'ImageReferencedByManifestList',
            failureReason: `Requested image referenced by manifest list: [${index.digest}]`,
          },
        ],
      });
    }
    expect(await tagsOf(child.digest)).toEqual(['child']);
    await remove({ imageDigest: index.digest });
    expect((await remove({ imageDigest: child.digest })).failures).toEqual([]);
  });

  it('with an index and the images it names can be deleted in one call, in any order', async () => {
    await fresh();
    const children = [];
    for (const seed of ['a', 'b']) children.push((await pushImage(registry.ecr, repository, seed)).manifest);
    const index = imageIndex(children);
    const outer = imageIndex([index]);
    await putImage(registry.ecr, repository, index);
    await putImage(registry.ecr, repository, outer, 'outer');
    const all = [children[0]!, index, children[1]!, outer];
    const { removed, failures } = await remove(...all.map(({ digest }) => ({ imageDigest: digest })));
    expect(failures).toEqual([]);
    expect(new Set(removed!.map(({ imageDigest }) => imageDigest))).toEqual(
      new Set(all.map(({ digest }) => digest)),
    );
  });

  it('deleted by several clients at once is deleted once', async () => {
    await fresh();
    const { manifest } = await pushImage(registry.ecr, repository, 'raced', ['v1']);
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, () => remove({ imageDigest: manifest.digest })),
    );
    expect(outcomes.filter(({ removed }) => removed!.length === 1)).toHaveLength(1);
    expect(await countedIn(registry.prisma, repository, 'images')).toBe(0);
  });
});
