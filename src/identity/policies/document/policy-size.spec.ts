import { describe, expect, it } from '@jest/globals';
import { parsePolicyDocument } from './policy-document.js';
import { POLICY_CHARACTERS, policyCharacters, type PolicyKind } from './policy-size.js';

/** A policy of exactly so many characters that are no white space, and some that are. */
function policyOf(kind: PolicyKind, characters: number, space = ''): string {
  const write = (filling: string): string =>
    JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          ...((kind === 'trust' || kind === 'resource') && { Principal: '*' }),
          Action: kind === 'trust' ? 'sts:AssumeRole' : 'ecr:PutImage',
          ...(kind !== 'trust' && { Resource: '*' }),
          Condition: { StringEquals: { 'aws:username': filling } },
        },
      ],
    });
  return space + write('x'.repeat(characters - write('').length));
}

describe('the size of a policy', () => {
  it('is counted without white space', () => {
    expect(policyCharacters('{ "a":\n\t"b c" }')).toBe('{"a":"bc"}'.length);
  });

  it.each<[PolicyKind, number, string, string]>([
    [
      'identity',
      POLICY_CHARACTERS.inlinePerRole,
      'LimitExceeded',
      'Cannot exceed quota for PolicySize: 10240',
    ],
    ['boundary', POLICY_CHARACTERS.managed, 'LimitExceeded', 'Cannot exceed quota for PolicySize: 6144'],
    ['trust', POLICY_CHARACTERS.trust, 'LimitExceeded', 'Cannot exceed quota for ACLSizePerRole: 2048'],
    ['session', POLICY_CHARACTERS.session, 'PackedPolicyTooLarge', 'Packed policy consumes more than 100%'],
    ['resource', 10_240, 'LimitExceeded', 'Cannot exceed quota for PolicySize: 10240'],
  ])('of kind %s is at most %d characters', (kind, limit, code, message) => {
    expect(parsePolicyDocument(policyOf(kind, limit), kind).statements).toHaveLength(1);
    expect(() => parsePolicyDocument(policyOf(kind, limit + 1), kind)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });

  it('counts white space in what ECR stores, and does not in what IAM does', () => {
    const space = ' '.repeat(10_000);
    expect(() => parsePolicyDocument(policyOf('resource', 500, space), 'resource')).toThrow('PolicySize');
    expect(parsePolicyDocument(policyOf('trust', 2_048, space), 'trust').statements).toHaveLength(1);
    const ocean = ' '.repeat(131_072);
    expect(() => parsePolicyDocument(policyOf('identity', 500, ocean), 'identity')).toThrow('PolicySize');
  });
});
