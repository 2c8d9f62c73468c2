import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  BatchDeleteImageCommand,
  type CreateRepositoryRequest,
  ImageAlreadyExistsException,
  ImageTagAlreadyExistsException,
  PutImageTagMutabilityCommand,
} from '@aws-sdk/client-ecr';
import { createRepository, pushImage, pushLayersOfImage, putImage } from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

type Mode = Pick<CreateRepositoryRequest, 'imageTagMutability' | 'imageTagMutabilityExclusionFilters'>;

describe('A tag', () => {
  let registry: TestRegistry;
  beforeAll(async () => (registry = await startRegistry({ store: 'filesystem' })));
  afterAll(() => registry?.close());

  const excluding = (imageTagMutability: Mode['imageTagMutability'], ...filters: string[]): Mode => ({
    imageTagMutability,
    imageTagMutabilityExclusionFilters: filters.map((filter) => ({ filterType: 'WILDCARD', filter })),
  });
  /** Tags one image and then another. */
  const moves = async (mode: Mode, tag: string): Promise<boolean> => {
    const name = await createRepository(registry.ecr, mode);
    await pushImage(registry.ecr, name, 'first', [tag]);
    const second = await pushLayersOfImage(registry.ecr, name, 'second');
    try {
      await putImage(registry.ecr, name, second.manifest, tag);
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(ImageTagAlreadyExistsException);
      expect((error as Error).message).toBe(
        `The image tag '${tag}' already exists in the '${name}' repository and cannot be overwritten because the repository is immutable.`,
      );
      // Neither the tag moved nor did the image slip in without it.
      expect(
        await registry.prisma.image.count({
          where: { digest: second.manifest.digest, repository: { name } },
        }),
      ).toBe(0);
      return false;
    }
  };

  const RULES: [mode: Mode, tag: string, moves: boolean][] = [
    [{ imageTagMutability: 'MUTABLE' }, 'latest', true],
    [{ imageTagMutability: 'IMMUTABLE' }, 'latest', false],
    [excluding('MUTABLE_WITH_EXCLUSION', 'release-*'), 'latest', true],
    [excluding('MUTABLE_WITH_EXCLUSION', 'release-*'), 'release-1', false],
    [excluding('IMMUTABLE_WITH_EXCLUSION', 'dev-*', 'latest'), 'dev-', true],
    [excluding('IMMUTABLE_WITH_EXCLUSION', 'dev-*', 'latest'), 'latest', true],
    [excluding('IMMUTABLE_WITH_EXCLUSION', 'dev-*', 'latest'), 'latest-1', false],
    [excluding('IMMUTABLE_WITH_EXCLUSION', 'dev-*', 'latest'), 'my-dev-1', false],
    [excluding('IMMUTABLE_WITH_EXCLUSION', 'dev-*'), 'DEV-1', false],
    [excluding('IMMUTABLE_WITH_EXCLUSION', '*'), 'anything', true],
    [excluding('IMMUTABLE_WITH_EXCLUSION', '*-rc*'), '1.0-rc2', true],
    [excluding('IMMUTABLE_WITH_EXCLUSION', '1.0'), '1x0', false],
  ];
  it.each(RULES)('in a repository with %j: %s moves: %s', async (mode, tag, expected) => {
    expect(await moves(mode, tag)).toBe(expected);
  });

  it('of an immutable repository goes to new images, and further tags to old ones', async () => {
    const name = await createRepository(registry.ecr, { imageTagMutability: 'IMMUTABLE' });
    const { manifest } = await pushImage(registry.ecr, name, 'one', ['v1', 'v1.0']);
    await refusal(putImage(registry.ecr, name, manifest, 'v1'), ImageAlreadyExistsException);
    await pushImage(registry.ecr, name, 'two', ['v2']);
  });

  it('of an immutable repository may be given anew after it was deleted', async () => {
    const name = await createRepository(registry.ecr, { imageTagMutability: 'IMMUTABLE' });
    await pushImage(registry.ecr, name, 'one', ['v1', 'keep']);
    await registry.ecr.send(
      new BatchDeleteImageCommand({ repositoryName: name, imageIds: [{ imageTag: 'v1' }] }),
    );
    await pushImage(registry.ecr, name, 'two', ['v1']);
  });

  it('obeys a change of the rule from the next push on', async () => {
    const name = await createRepository(registry.ecr);
    await pushImage(registry.ecr, name, 'one', ['v1']);
    await pushImage(registry.ecr, name, 'two', ['v1']);
    await registry.ecr.send(
      new PutImageTagMutabilityCommand({ repositoryName: name, imageTagMutability: 'IMMUTABLE' }),
    );
    await refusal(pushImage(registry.ecr, name, 'three', ['v1']), ImageTagAlreadyExistsException);
  });

  it('of an immutable repository goes to exactly one of the images pushed with it at once', async () => {
    const name = await createRepository(registry.ecr, { imageTagMutability: 'IMMUTABLE' });
    const images = await Promise.all(
      Array.from({ length: 8 }, (_, index) => pushLayersOfImage(registry.ecr, name, `rival ${index}`)),
    );
    const outcomes = await Promise.allSettled(
      images.map(({ manifest }) => putImage(registry.ecr, name, manifest, 'only')),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        expect(outcome.reason).toBeInstanceOf(ImageTagAlreadyExistsException);
  });

  it('is bound by the same rule at the OCI door', async () => {
    const name = await createRepository(registry.ecr, { imageTagMutability: 'IMMUTABLE' });
    const first = await pushImage(registry.ecr, name, 'one', ['v1']);
    const second = await pushLayersOfImage(registry.ecr, name, 'two');
    const push = (text: string): Promise<Response> =>
      registry.fetchOci(`/v2/${name}/manifests/v1`, {
        method: 'PUT',
        headers: { 'content-type': first.manifest.mediaType },
        body: text,
      });
    const refused = await push(second.manifest.text);
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({ errors: [{ code: 'TAG_INVALID' }] });
    expect((await push(first.manifest.text)).status).toBe(201);
  });
});
