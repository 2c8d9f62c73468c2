import { describe, expect, it } from '@jest/globals';
import type { Caller, Principal } from '../caller.js';
import { rootArn } from '../keys/access-keys.js';
import { Authorizer } from './authorizer.js';
import { ecrResourceArns, ociResourceArn } from './resource-arns.js';

const ROOT: Principal = { arn: rootArn('111111111111'), accountId: '111111111111', accessKeyId: 'key' };
const USER: Principal = { ...ROOT, arn: 'arn:aws:iam::111111111111:user/ann' };
const OWN = 'arn:aws:ecr:us-east-1:111111111111:repository/app';
const FOREIGN = 'arn:aws:ecr:us-east-1:222222222222:repository/app';
const authorizer = new Authorizer();

describe('authorizer', () => {
  it('lets the root principal do everything in its own account', async () => {
    await authorizer.authorize(ROOT, 'ecr:PutImage', OWN);
    await authorizer.authorize(ROOT, 'ecr:DescribeRepositories', '*');
    expect(await authorizer.allows(ROOT, 'ecr:PutImage', OWN)).toBe(true);
  });

  it('lets nobody into the registry of another account', async () => {
    await expect(authorizer.authorize(ROOT, 'ecr:PutImage', FOREIGN)).rejects.toMatchObject({
      code: 'AccessDenied',
      message: `User: arn:aws:iam::111111111111:root is not authorized to perform: ecr:PutImage on resource: ${FOREIGN} because no resource-based policy allows the ecr:PutImage action`,
    });
    expect(await authorizer.allows(ROOT, 'ecr:PutImage', FOREIGN)).toBe(false);
  });

  it('is not fooled by the partition or by the root of another account', async () => {
    expect(await authorizer.allows(ROOT, 'ecr:PutImage', FOREIGN.replace('arn:aws:', 'arn:aws-cn:'))).toBe(
      false,
    );
    const stranger = { ...ROOT, arn: rootArn('222222222222') };
    expect(await authorizer.allows(stranger, 'ecr:PutImage', OWN)).toBe(false);
  });

  it('grants other principals nothing as long as there are no policies', async () => {
    await expect(authorizer.authorize(USER, 'ecr:ListImages', '*')).rejects.toMatchObject({
      code: 'AccessDenied',
      message:
        'User: arn:aws:iam::111111111111:user/ann is not authorized to perform: ecr:ListImages on resource: * because no identity-based policy allows the ecr:ListImages action',
    });
  });
});

describe('resources of a request', () => {
  const caller: Caller = { principal: ROOT, region: 'us-east-1' };

  it('are repositories of the registry addressed, in the Region of the caller', () => {
    expect(ecrResourceArns(['app'], {}, caller)).toEqual([OWN]);
    expect(ecrResourceArns(['app'], { registryId: '111111111111' }, caller)).toEqual([OWN]);
    expect(ecrResourceArns(['app'], { registryId: '222222222222' }, caller)).toEqual([FOREIGN]);
    expect(ociResourceArn('app', caller)).toBe(OWN);
  });

  it('are ARNs where the request has them', () => {
    expect(ecrResourceArns([FOREIGN], {}, caller)).toEqual([FOREIGN]);
  });

  it('are the whole registry where nothing is named, also when it is the registry of another account', () => {
    expect(ecrResourceArns(['*'], {}, caller)).toEqual(['*']);
    expect(ecrResourceArns([], {}, caller)).toEqual(['*']);
    expect(ociResourceArn(undefined, caller)).toBe('*');
    const whole = 'arn:aws:ecr:us-east-1:222222222222:repository/*';
    expect(ecrResourceArns(['*'], { registryId: '222222222222' }, caller)).toEqual([whole]);
    expect(ecrResourceArns([], { registryId: '222222222222' }, caller)).toEqual([whole]);
  });

  it.each([1, '', '222', '22222222222x', null, ['222222222222']])(
    'leave a registryId of %j to the validation',
    (registryId) => expect(ecrResourceArns(['app'], { registryId }, caller)).toEqual([OWN]),
  );
});
