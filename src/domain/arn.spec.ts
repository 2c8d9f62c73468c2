import { describe, expect, it } from '@jest/globals';
import { parseRepositoryArn, repositoryArn } from './arn.js';

const REGISTRY = { accountId: '111122223333', region: 'eu-central-1' };

describe('the ARN of a repository', () => {
  it('is written as ECR writes it, and read back', () => {
    const arn = repositoryArn(REGISTRY, 'team/app');
    expect(arn).toBe('arn:aws:ecr:eu-central-1:111122223333:repository/team/app');
    expect(parseRepositoryArn(arn)).toEqual({ registry: REGISTRY, repositoryName: 'team/app' });
  });

  it.each(['aws-cn', 'aws-us-gov', 'aws-iso-b'])('may be of the partition %s', (partition) => {
    expect(parseRepositoryArn(`arn:${partition}:ecr:cn-north-1:111122223333:repository/ab`)).toEqual({
      registry: { accountId: '111122223333', region: 'cn-north-1' },
      repositoryName: 'ab',
    });
  });

  it.each([
    '',
    'team/app',
    'arn:aws:s3:::bucket',
    'arn:aws:ecr:eu-central-1:111122223333:cluster/ab',
    'arn:aws:ecr:eu-central-1:111122223333:repository/',
    'arn:aws:ecr:eu-central-1:111122223333:repository/a',
    'arn:aws:ecr:eu-central-1:11112222333:repository/ab',
    'arn:aws:ecr::111122223333:repository/ab',
    'arn:aws:ecr:EU:111122223333:repository/ab',
    'arn:azure:ecr:eu-central-1:111122223333:repository/ab',
    'xarn:aws:ecr:eu-central-1:111122223333:repository/ab',
    `arn:aws:ecr:eu-central-1:111122223333:repository/${'a'.repeat(257)}`,
  ])('is not %j', (text) => expect(parseRepositoryArn(text)).toBeNull());
});
