import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  CreateRepositoryCommand,
  DescribeRepositoriesCommand,
  type ECRClient,
  InvalidParameterException,
  PutImageTagMutabilityCommand,
} from '@aws-sdk/client-ecr';
import { createRepository } from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

const NAME_GRAMMAR = '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*';
const FILTER = '^[0-9a-zA-Z._*-]{1,128}$';

type Create = CreateRepositoryCommand['input'];

describe('A request about repositories that breaks a constraint', () => {
  let registry: TestRegistry;
  beforeAll(async () => (registry = await startRegistry({ store: 'filesystem' })));
  afterAll(() => registry?.close());

  const messageOf = async (call: Promise<unknown>): Promise<string> =>
    (await refusal(call, InvalidParameterException)).message;
  const constraint = (member: string, text: string): string =>
    `Invalid parameter at '${member}' failed to satisfy constraint: '${text}'`;

  const NAMES: [what: string, name: string | undefined, text: string][] = [
    ['no name', undefined, 'must not be null'],
    ['a name of one character', 'a', 'must have length greater than or equal to 2'],
    ['a name of 257 characters', 'a'.repeat(257), 'must have length less than or equal to 256'],
    ['an upper-case letter', 'Team/app', `must satisfy regular expression '${NAME_GRAMMAR}'`],
    ['a separator in front', '-app', `must satisfy regular expression '${NAME_GRAMMAR}'`],
    ['a separator at the end', 'app/', `must satisfy regular expression '${NAME_GRAMMAR}'`],
    ['two dots in a row', 'a..b', `must satisfy regular expression '${NAME_GRAMMAR}'`],
    ['two slashes in a row', 'a//b', `must satisfy regular expression '${NAME_GRAMMAR}'`],
    ['three underscores in a row', 'a___b', `must satisfy regular expression '${NAME_GRAMMAR}'`],
  ];
  it.each(NAMES)('%s is told about', async (_what, repositoryName, text) => {
    const call = registry.ecr.send(new CreateRepositoryCommand({ repositoryName }));
    expect(await messageOf(call)).toBe(constraint('repositoryName', text));
  });

  it.each(['ab', 'a'.repeat(256), 'a__b', 'a---b', 'a.b_c-d/e/f0', '00'])(
    'the name %s is none',
    async (name) => {
      await createRepository(registry.ecr, { repositoryName: name });
      await registry.ecr.send(new DescribeRepositoriesCommand({ repositoryNames: [name] }));
    },
  );

  const filters = (...texts: string[]): Partial<Create> => ({
    imageTagMutability: 'MUTABLE_WITH_EXCLUSION',
    imageTagMutabilityExclusionFilters: texts.map((filter) => ({ filterType: 'WILDCARD', filter })),
  });
  const FILTERS = 'imageTagMutabilityExclusionFilters';
  const OTHERS: [what: string, input: object, member: string, text: string][] = [
    [
      'a registry id that is no account',
      { registryId: 'abc' },
      'registryId',
      'must satisfy regular expression [0-9]{12}',
    ],
    [
      'an unknown mutability',
      { imageTagMutability: 'SOMETIMES' },
      'imageTagMutability',
      'Member must satisfy enum value set: [IMMUTABLE, MUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]',
    ],
    [
      'an unknown encryption',
      { encryptionConfiguration: { encryptionType: 'ROT13' } },
      'encryptionConfiguration.encryptionType',
      'Member must satisfy enum value set: [AES256, KMS, KMS_DSSE]',
    ],
    ['no exclusion filter', filters(), FILTERS, 'Member must have length greater than or equal to 1'],
    [
      'six exclusion filters',
      filters('a', 'b', 'c', 'd', 'e', 'f'),
      FILTERS,
      'Member must have length less than or equal to 5',
    ],
    [
      'an exclusion filter of 129 characters',
      filters('a'.repeat(129)),
      `${FILTERS}.filter`,
      'Member must have length less than or equal to 128',
    ],
    [
      'an exclusion filter no tag can match',
      filters('a/b'),
      `${FILTERS}.filter`,
      `Member must satisfy regular expression pattern: ${FILTER}`,
    ],
    ['a tag without a key', { tags: [{ Value: 'x' }] }, 'tags.Key', 'must not be null'],
  ];
  it.each(OTHERS)('%s is told about', async (_what, input, member, text) => {
    const call = registry.ecr.send(new CreateRepositoryCommand({ repositoryName: 'constrained', ...input }));
    expect(await messageOf(call)).toBe(constraint(member, text));
  });

  it('pages of no or of too many repositories are told about', async () => {
    const list = (maxResults: number): Promise<string> =>
      messageOf(registry.ecr.send(new DescribeRepositoriesCommand({ maxResults })));
    expect(await list(0)).toBe(constraint('maxResults', 'Member must have value greater than or equal to 1'));
    expect(await list(1001)).toBe(
      constraint('maxResults', 'Member must have value less than or equal to 1000'),
    );
  });

  it('lists of no or of too many names are told about', async () => {
    const list = (repositoryNames: string[]): Promise<string> =>
      messageOf(registry.ecr.send(new DescribeRepositoriesCommand({ repositoryNames })));
    expect(await list([])).toBe(
      constraint('repositoryNames', 'Member must have length greater than or equal to 1'),
    );
    const many = Array.from({ length: 101 }, (_, index) => `repository-${index}`);
    expect(await list(many)).toBe(
      constraint('repositoryNames', 'Member must have length less than or equal to 100'),
    );
  });

  it('is refused for the first fault alone when it has several', async () => {
    const call = registry.ecr.send(
      new PutImageTagMutabilityCommand({
        registryId: 'x',
        repositoryName: 'Y',
        imageTagMutability: 'Z',
      } as unknown as PutImageTagMutabilityCommand['input']),
    );
    expect((await messageOf(call)).match(/failed to satisfy constraint/g)).toHaveLength(1);
  });
});

describe('A registry', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({
      store: 'filesystem',
      config: { STOWAGE_REGIONS: 'us-east-1, eu-central-1' },
    });
  });
  afterAll(() => registry?.close());

  const namesIn = async (ecr: ECRClient): Promise<string[]> =>
    (await ecr.send(new DescribeRepositoriesCommand({}))).repositories!.map(
      ({ repositoryName }) => repositoryName!,
    );

  it('is another one in each Region', async () => {
    const frankfurt = registry.ecrWith({ region: 'eu-central-1' });
    await createRepository(registry.ecr, { repositoryName: 'in-virginia' });
    await createRepository(frankfurt, { repositoryName: 'in-frankfurt' });
    await createRepository(registry.ecr, { repositoryName: 'in-both' });
    await createRepository(frankfurt, { repositoryName: 'in-both' });
    expect(await namesIn(registry.ecr)).toEqual(['in-both', 'in-virginia']);
    expect(await namesIn(frankfurt)).toEqual(['in-both', 'in-frankfurt']);
    const { repositories } = await frankfurt.send(new DescribeRepositoriesCommand({}));
    expect(repositories![0]!.repositoryArn).toBe('arn:aws:ecr:eu-central-1:000000000000:repository/in-both');
  });

  it('is refused in a Region that is not served', async () => {
    const call = registry.ecrWith({ region: 'eu-west-1' }).send(new DescribeRepositoriesCommand({}));
    const error = await refusal(call, Error);
    expect(error.message).toContain('valid region');
  });

  it('of another account is out of reach, whether or not it has the repository', async () => {
    await createRepository(registry.ecr, { repositoryName: 'mine' });
    for (const repositoryNames of [undefined, ['mine'], ['other']]) {
      const call = registry.ecr.send(
        new DescribeRepositoriesCommand({ registryId: '111122223333', repositoryNames }),
      );
      const error = await refusal(call, Error);
      expect(error.name).toBe('AccessDeniedException');
      expect(error.message).toMatch(
        /^User: arn:aws:iam::000000000000:root is not authorized to perform: ecr:DescribeRepositories on resource: arn:aws:ecr:us-east-1:111122223333:repository\//,
      );
    }
    const creation = new CreateRepositoryCommand({ registryId: '111122223333', repositoryName: 'theirs' });
    expect((await refusal(registry.ecr.send(creation), Error)).name).toBe('AccessDeniedException');
  });
});
