import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  InvalidParameterException,
  InvalidTagParameterException,
  ListTagsForResourceCommand,
  RepositoryNotFoundException,
  type Tag,
  TagResourceCommand,
  TooManyTagsException,
  UntagResourceCommand,
} from '@aws-sdk/client-ecr';
import { createRepository } from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

describe('Tags of a repository', () => {
  let registry: TestRegistry;
  beforeAll(async () => (registry = await startRegistry({ store: 'filesystem' })));
  afterAll(() => registry?.close());

  const arnOf = (name: string): string => `arn:aws:ecr:us-east-1:000000000000:repository/${name}`;
  const create = async (tags: Tag[] = []): Promise<string> =>
    arnOf(await createRepository(registry.ecr, { tags }));
  const list = async (resourceArn: string): Promise<Tag[]> =>
    (await registry.ecr.send(new ListTagsForResourceCommand({ resourceArn }))).tags!;
  const put = (resourceArn: string, tags: Tag[]): Promise<unknown> =>
    registry.ecr.send(new TagResourceCommand({ resourceArn, tags }));

  it('are added, and replaced where the key is there already', async () => {
    const arn = await create([{ Key: 'team', Value: 'a' }]);
    await put(arn, [
      { Key: 'team', Value: 'b' },
      { Key: 'Kostenstelle größer', Value: '' },
    ]);
    expect(await list(arn)).toHaveLength(2);
    expect(await list(arn)).toEqual(
      expect.arrayContaining([
        { Key: 'team', Value: 'b' },
        { Key: 'Kostenstelle größer', Value: '' },
      ]),
    );
  });

  it('are removed by key; keys that are not there are no fault', async () => {
    const arn = await create([
      { Key: 'a', Value: '1' },
      { Key: 'b', Value: '2' },
    ]);
    await registry.ecr.send(new UntagResourceCommand({ resourceArn: arn, tagKeys: ['a', 'never'] }));
    expect(await list(arn)).toEqual([{ Key: 'b', Value: '2' }]);
  });

  it('are at most 50, and the call that would add a 51st adds none', async () => {
    const arn = await create(Array.from({ length: 49 }, (_, index) => ({ Key: `k${index}`, Value: '' })));
    const two = [
      { Key: 'x', Value: '' },
      { Key: 'y', Value: '' },
    ];
    await refusal(put(arn, two), TooManyTagsException);
    expect(await list(arn)).toHaveLength(49);
    await put(arn, [{ Key: 'x', Value: '' }]);
    await put(arn, [{ Key: 'x', Value: 'changed' }]);
    expect(await list(arn)).toHaveLength(50);
  });

  it('are at most 50 when many clients add some at once', async () => {
    const arn = await create(Array.from({ length: 45 }, (_, index) => ({ Key: `k${index}`, Value: '' })));
    const outcomes = await Promise.allSettled(
      Array.from({ length: 16 }, (_, index) => put(arn, [{ Key: `raced-${index}`, Value: '' }])),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
    expect(await list(arn)).toHaveLength(50);
  });

  it.each([
    ['a reserved prefix', [{ Key: 'aws:team', Value: '' }]],
    ['the reserved prefix in other letters', [{ Key: 'AWS:team', Value: '' }]],
    ['an empty key', [{ Key: '', Value: '' }]],
    ['a key of 129 characters', [{ Key: 'k'.repeat(129), Value: '' }]],
    ['a value of 257 characters', [{ Key: 'k', Value: 'v'.repeat(257) }]],
    ['a character that is not allowed', [{ Key: 'k', Value: 'a;b' }]],
    [
      'a key twice',
      [
        { Key: 'k', Value: '1' },
        { Key: 'k', Value: '2' },
      ],
    ],
  ])('cannot have %s', async (_what, tags) => {
    const arn = await create();
    const error = await refusal(put(arn, tags), InvalidTagParameterException);
    expect(error.message).toMatch(/^Tag parameters are invalid/);
    expect(await list(arn)).toEqual([]);
  });

  it('cannot be put on what is not there or is no repository', async () => {
    await refusal(put(arnOf('never-created'), []), RepositoryNotFoundException);
    await refusal(list(arnOf('never-created')), RepositoryNotFoundException);
    const others = [
      'team/app',
      'arn:aws:s3:::bucket',
      'arn:aws:ecr:us-east-1:000000000000:cluster/team',
      'arn:aws:ecr:us-east-1:000000000000:repository/',
    ];
    for (const arn of others) {
      const error = await refusal(put(arn, []), InvalidParameterException);
      expect(error.message).toBe(
        "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'",
      );
    }
  });

  it('of another account are out of reach', async () => {
    const call = list('arn:aws:ecr:us-east-1:111122223333:repository/team');
    expect((await refusal(call, Error)).name).toBe('AccessDeniedException');
  });
});
