import { describe, expect, it } from '@jest/globals';
import { parsePolicyDocument } from './policy-document.js';
import type { PolicyKind } from './policy-size.js';

const GRANT = { Effect: 'Allow', Principal: { AWS: '111111111111' }, Action: 'ecr:BatchGetImage' };

function parse(kind: PolicyKind, ...statements: object[]) {
  return parsePolicyDocument(JSON.stringify({ Version: '2012-10-17', Statement: statements }), kind);
}

describe('a principal', () => {
  it.each<[string, object, string]>([
    ['without a principal', { Effect: 'Allow', Action: 'ecr:*' }, 'Missing required field Principal'],
    ['with both', { ...GRANT, NotPrincipal: '*' }, 'has both Principal and NotPrincipal'],
    [
      'that lets in everybody but some',
      { Effect: 'Allow', NotPrincipal: { AWS: '111111111111' }, Action: 'ecr:*' },
      'Allow with NotPrincipal is not allowed.',
    ],
    ['with no name', { ...GRANT, Principal: {} }, 'Missing required field Principal cannot be empty!'],
    [
      'with an empty list',
      { ...GRANT, Principal: { AWS: [] } },
      'Missing required field Principal cannot be empty!',
    ],
    [
      'with an ARN out of its place',
      { ...GRANT, Principal: 'arn:aws:iam::111111111111:root' },
      'Invalid principal in policy: "AWS":"arn:aws:iam::111111111111:root"',
    ],
    [
      'with a short account',
      { ...GRANT, Principal: { AWS: '1111' } },
      'Invalid principal in policy: "AWS":"1111"',
    ],
    [
      'with a wildcard in a name',
      { ...GRANT, Principal: { AWS: 'arn:aws:iam::111111111111:user/*' } },
      'Invalid principal in policy: "AWS"',
    ],
    [
      'with a group',
      { ...GRANT, Principal: { AWS: 'arn:aws:iam::111111111111:group/all' } },
      'Invalid principal in policy: "AWS"',
    ],
    [
      'with a wildcard service',
      { ...GRANT, Principal: { Service: '*' } },
      'Invalid principal in policy: "Service":"*"',
    ],
    [
      'with a user of S3',
      { ...GRANT, Principal: { CanonicalUser: 'abc' } },
      'Invalid principal in policy: "CanonicalUser":"abc"',
    ],
    [
      'with an unknown kind',
      { ...GRANT, Principal: { __proto__x: 'abc' } },
      'Invalid principal in policy: "__proto__x":"abc"',
    ],
    [
      'with a number',
      { ...GRANT, Principal: { AWS: 111111111111 } },
      'Principal of Statement 1 must be a string or a list of strings.',
    ],
  ])('of a repository has no statement %s', (_what, statement, message) => {
    expect(() => parse('resource', statement)).toThrow(message);
  });
});
