import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  CreateRepositoryCommand,
  DeleteRepositoryCommand,
  DescribeRepositoriesCommand,
  InvalidParameterException,
  InvalidTagParameterException,
  ListTagsForResourceCommand,
  paginateDescribeRepositories,
  PutImageTagMutabilityCommand,
  type Repository,
  RepositoryAlreadyExistsException,
  RepositoryNotEmptyException,
  RepositoryNotFoundException,
  TooManyTagsException,
} from '@aws-sdk/client-ecr';
import { beginUpload, createRepository, pushImage, pushLayer } from '../support/pushes.js';
import { layer } from '../support/images.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

const ACCOUNT = '000000000000';

describe('Repositories', () => {
  let registry: TestRegistry;
  beforeAll(async () => (registry = await startRegistry({ store: 'filesystem' })));
  afterAll(() => registry?.close());

  const describeOne = async (name: string): Promise<Repository | undefined> =>
    (await registry.ecr.send(new DescribeRepositoriesCommand({ repositoryNames: [name] }))).repositories?.[0];
  const names = async (maxResults?: number): Promise<string[]> => {
    const found: string[] = [];
    for await (const page of paginateDescribeRepositories({ client: registry.ecr }, { maxResults }))
      found.push(...page.repositories!.map(({ repositoryName }) => repositoryName!));
    return found;
  };

  it('are created with the defaults of ECR and described the same way afterwards', async () => {
    const before = Date.now();
    const { repository } = await registry.ecr.send(
      new CreateRepositoryCommand({ repositoryName: 'team/web' }),
    );
    expect(repository).toEqual({
      repositoryArn: `arn:aws:ecr:us-east-1:${ACCOUNT}:repository/team/web`,
      registryId: ACCOUNT,
      repositoryName: 'team/web',
      repositoryUri: `${new URL(registry.url).host}/team/web`,
      createdAt: expect.any(Date),
      imageTagMutability: 'MUTABLE',
      imageScanningConfiguration: { scanOnPush: false },
      encryptionConfiguration: { encryptionType: 'AES256' },
    });
    expect(Math.abs(repository!.createdAt!.getTime() - before)).toBeLessThan(60_000);
    expect(await describeOne('team/web')).toEqual(repository);
  });

  it('keep what they were created with', async () => {
    const name = await createRepository(registry.ecr, {
      registryId: ACCOUNT,
      imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
      imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'dev-*' }],
      imageScanningConfiguration: { scanOnPush: true },
      encryptionConfiguration: { encryptionType: 'AES256' },
      tags: [{ Key: 'team', Value: 'storage' }],
    });
    const repository = await describeOne(name);
    expect(repository).toMatchObject({
      imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
      imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'dev-*' }],
      imageScanningConfiguration: { scanOnPush: true },
    });
    const { tags } = await registry.ecr.send(
      new ListTagsForResourceCommand({ resourceArn: repository!.repositoryArn }),
    );
    expect(tags).toEqual([{ Key: 'team', Value: 'storage' }]);
  });

  it('cannot be created twice, and the second attempt changes nothing', async () => {
    const name = await createRepository(registry.ecr);
    const before = await describeOne(name);
    const again = new CreateRepositoryCommand({
      repositoryName: name,
      imageTagMutability: 'IMMUTABLE',
      tags: [{ Key: 'late', Value: '' }],
    });
    const error = await refusal(registry.ecr.send(again), RepositoryAlreadyExistsException);
    expect(error.message).toBe(
      `The repository with name '${name}' already exists in the registry with id '${ACCOUNT}'`,
    );
    expect(error.$metadata.httpStatusCode).toBe(400);
    expect(await describeOne(name)).toEqual(before);
    const { tags } = await registry.ecr.send(
      new ListTagsForResourceCommand({ resourceArn: before!.repositoryArn }),
    );
    expect(tags).toEqual([]);
  });

  it('exist once however many clients create one at the same time', async () => {
    const attempts = Array.from({ length: 16 }, () =>
      registry.ecr.send(new CreateRepositoryCommand({ repositoryName: 'raced' })),
    );
    const outcomes = await Promise.allSettled(attempts);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        expect(outcome.reason).toBeInstanceOf(RepositoryAlreadyExistsException);
    expect((await names()).filter((name) => name === 'raced')).toHaveLength(1);
  });

  it('are not half there after a creation that failed on any of its parts', async () => {
    const filters = [{ filterType: 'WILDCARD' as const, filter: '*' }];
    const tags = (count: number) =>
      Array.from({ length: count }, (_, index) => ({ Key: `k${index}`, Value: '' }));
    const faulty = [
      [InvalidTagParameterException, { tags: [{ Key: 'aws:mine', Value: '' }] }],
      [TooManyTagsException, { tags: tags(51) }],
      [InvalidParameterException, { imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION' }],
      [InvalidParameterException, { imageTagMutabilityExclusionFilters: filters }],
      [InvalidParameterException, { encryptionConfiguration: { encryptionType: 'KMS' } }],
    ] as const;
    for (const [type, parts] of faulty) {
      const command = new CreateRepositoryCommand({
        repositoryName: 'half',
        ...(parts as Partial<CreateRepositoryCommand['input']>),
      });
      await refusal(registry.ecr.send(command), type);
      await refusal(describeOne('half'), RepositoryNotFoundException);
    }
    await createRepository(registry.ecr, { repositoryName: 'half', tags: tags(50) });
    expect(await describeOne('half')).toBeDefined();
  });

  it('are listed in name order, page by page, each exactly once', async () => {
    for (const name of ['page/c', 'page/a', 'page-1', 'page/b'])
      await createRepository(registry.ecr, { repositoryName: name });
    const all = await names();
    expect(all).toEqual([...all].sort());
    expect(new Set(all).size).toBe(all.length);
    expect(await names(1)).toEqual(all);
    expect(await names(3)).toEqual(all);
    const whole = await registry.ecr.send(new DescribeRepositoriesCommand({ maxResults: 1000 }));
    expect(whole).not.toHaveProperty('nextToken');
  });

  it('are not paged with a token nobody was given', async () => {
    const { nextToken } = await registry.ecr.send(new DescribeRepositoriesCommand({ maxResults: 1 }));
    const flipped = nextToken!.slice(0, -1) + (nextToken!.endsWith('A') ? 'B' : 'A');
    for (const token of [flipped, 'made-up', '']) {
      const call = registry.ecr.send(new DescribeRepositoriesCommand({ nextToken: token }));
      expect((await refusal(call, InvalidParameterException)).message).toMatch(
        /^Invalid parameter at 'nextToken'/,
      );
    }
    const elsewhere = registry.ecrWith({ region: 'eu-central-1' });
    await refusal(elsewhere.send(new DescribeRepositoriesCommand({ nextToken })), InvalidParameterException);
    const mixed = new DescribeRepositoriesCommand({ repositoryNames: ['page/a'], maxResults: 5 });
    await refusal(registry.ecr.send(mixed), InvalidParameterException);
  });

  it('fail a description as a whole when one of the names is missing', async () => {
    const name = await createRepository(registry.ecr);
    const call = registry.ecr.send(
      new DescribeRepositoriesCommand({ repositoryNames: [name, 'gone-1', 'gone-2'] }),
    );
    const error = await refusal(call, RepositoryNotFoundException);
    expect(error.message).toBe(
      `The repository with name 'gone-1' does not exist in the registry with id '${ACCOUNT}'`,
    );
  });

  it('are described in the order of the names asked for', async () => {
    const first = await createRepository(registry.ecr, { repositoryName: 'order/b' });
    const second = await createRepository(registry.ecr, { repositoryName: 'order/a' });
    const { repositories } = await registry.ecr.send(
      new DescribeRepositoriesCommand({ repositoryNames: [first, second] }),
    );
    expect(repositories!.map(({ repositoryName }) => repositoryName)).toEqual([first, second]);
  });

  it('are deleted, described one last time, and may be created anew', async () => {
    const name = await createRepository(registry.ecr, { tags: [{ Key: 'old', Value: '1' }] });
    const before = await describeOne(name);
    const { repository } = await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: name }));
    expect(repository).toEqual(before);
    await refusal(describeOne(name), RepositoryNotFoundException);
    await refusal(
      registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: name })),
      RepositoryNotFoundException,
    );
    await createRepository(registry.ecr, { repositoryName: name });
    const { tags } = await registry.ecr.send(
      new ListTagsForResourceCommand({ resourceArn: before!.repositoryArn }),
    );
    expect(tags).toEqual([]);
  });

  it('with images are deleted by force only', async () => {
    const name = await createRepository(registry.ecr);
    await pushImage(registry.ecr, name, 'kept');
    const error = await refusal(
      registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: name })),
      RepositoryNotEmptyException,
    );
    expect(error.message).toBe(
      `The repository with name '${name}' in registry with id '${ACCOUNT}' cannot be deleted because it still contains images`,
    );
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: name, force: true }));
    await refusal(describeOne(name), RepositoryNotFoundException);
  });

  it('with layers and open uploads but no image count as empty', async () => {
    const name = await createRepository(registry.ecr);
    await pushLayer(registry.ecr, name, layer(100, name));
    await (await beginUpload(registry.ecr, name)).part(Buffer.from('unfinished'), 0);
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: name }));
    await refusal(describeOne(name), RepositoryNotFoundException);
  });

  it('change their tag mutability, and lose their exclusions with the mode', async () => {
    const name = await createRepository(registry.ecr);
    const filters = [
      { filterType: 'WILDCARD' as const, filter: 'latest' },
      { filterType: 'WILDCARD' as const, filter: 'dev*x*' },
    ];
    const answer = await registry.ecr.send(
      new PutImageTagMutabilityCommand({
        repositoryName: name,
        imageTagMutability: 'MUTABLE_WITH_EXCLUSION',
        imageTagMutabilityExclusionFilters: filters,
      }),
    );
    expect(answer).toMatchObject({
      registryId: ACCOUNT,
      repositoryName: name,
      imageTagMutability: 'MUTABLE_WITH_EXCLUSION',
      imageTagMutabilityExclusionFilters: filters,
    });
    expect((await describeOne(name))?.imageTagMutabilityExclusionFilters).toEqual(filters);
    await registry.ecr.send(
      new PutImageTagMutabilityCommand({ repositoryName: name, imageTagMutability: 'IMMUTABLE' }),
    );
    const after = await describeOne(name);
    expect(after?.imageTagMutability).toBe('IMMUTABLE');
    expect(after).not.toHaveProperty('imageTagMutabilityExclusionFilters');
  });

  it('refuse a mutability whose exclusions do not fit', async () => {
    const name = await createRepository(registry.ecr);
    const put = (input: Partial<PutImageTagMutabilityCommand['input']>): Promise<InvalidParameterException> =>
      refusal(
        registry.ecr.send(
          new PutImageTagMutabilityCommand({
            repositoryName: name,
            imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
            ...input,
          }),
        ),
        InvalidParameterException,
      );
    expect((await put({})).message).toBe(
      "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: 'ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as IMMUTABLE_WITH_EXCLUSION'",
    );
    const wildcards = (filter: string) => ({
      imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD' as const, filter }],
    });
    expect((await put({ ...wildcards('*'), imageTagMutability: 'MUTABLE' })).message).toContain('MUTABLE');
    await put(wildcards('a*b*c*'));
    expect((await describeOne(name))?.imageTagMutability).toBe('MUTABLE');
  });
});
