import { describe, expect, it } from '@jest/globals';
import { parsePolicyDocument } from './policy-document.js';
import type { PolicyKind } from './policy-size.js';
import { PolicySyntaxError } from './policy-syntax-error.js';

const STATEMENT = { Effect: 'Allow', Action: 'ecr:*', Resource: '*' };
const TRUST = { Effect: 'Allow', Principal: { AWS: '111111111111' }, Action: 'sts:AssumeRole' };

function parse(kind: PolicyKind, ...statements: object[]) {
  return parsePolicyDocument(JSON.stringify({ Version: '2012-10-17', Statement: statements }), kind);
}

describe('a statement', () => {
  const { Effect: _effect, ...noEffect } = STATEMENT;
  const { Action: _action, ...noAction } = STATEMENT;
  const { Resource: _resource, ...noResource } = STATEMENT;
  it.each<[string, object, string]>([
    [
      'an unknown element',
      { ...STATEMENT, Actions: '*' },
      'Syntax errors in policy. Statement 1 has an unknown element "Actions".',
    ],
    ['no Effect', noEffect, 'Syntax errors in policy. Statement 1 has no Effect.'],
    [
      'another Effect',
      { ...STATEMENT, Effect: 'allow' },
      'Syntax errors in policy. Effect of Statement 1 must be Allow or Deny.',
    ],
    ['no Action', noAction, 'Policy statement must contain actions.'],
    ['an empty Action', { ...STATEMENT, Action: [] }, 'Policy statement must contain actions.'],
    [
      'Action and NotAction',
      { ...STATEMENT, NotAction: '*' },
      'Syntax errors in policy. Statement 1 has both Action and NotAction.',
    ],
    [
      'an action of another type',
      { ...STATEMENT, Action: 1 },
      'Syntax errors in policy. Action of Statement 1 must be a string or a list of strings.',
    ],
    [
      'a list within a list',
      { ...STATEMENT, Action: [['*']] },
      'Syntax errors in policy. Action of Statement 1 must be a string or a list of strings.',
    ],
    [
      'an action without a service',
      { ...STATEMENT, Action: 'PutImage' },
      'Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.',
    ],
    [
      'an action with two colons',
      { ...STATEMENT, Action: 'ecr:Put:Image' },
      'Actions/Condition can contain only one colon.',
    ],
    ['a wildcard in the service', { ...STATEMENT, Action: 'ec*:Put' }, 'Vendor ec* is not valid'],
    [
      'no name behind the service',
      { ...STATEMENT, Action: 'ecr:' },
      'Syntax errors in policy. The action "ecr:" of Statement 1 is not one.',
    ],
    ['no Resource', noResource, 'Policy statement must contain resources.'],
    ['an empty Resource', { ...STATEMENT, Resource: [] }, 'Policy statement must contain resources.'],
    [
      'Resource and NotResource',
      { ...STATEMENT, NotResource: '*' },
      'Syntax errors in policy. Statement 1 has both Resource and NotResource.',
    ],
    [
      'a resource that is no ARN',
      { ...STATEMENT, Resource: 'app' },
      'Resource app must be in ARN format or "*".',
    ],
    [
      'a resource of another partition',
      { ...STATEMENT, Resource: 'arn:azure:ecr:x:1:y' },
      'Partition "azure" is not valid for resource "arn:azure:ecr:x:1:y".',
    ],
    [
      'a wildcard for the service of a resource',
      { ...STATEMENT, Resource: 'arn:aws:e*:x:1:y' },
      'Resource vendor must be fully qualified and cannot contain regexes.',
    ],
    [
      'a resource without a service',
      { ...STATEMENT, Resource: 'arn:aws' },
      'Resource vendor must be fully qualified and cannot contain regexes.',
    ],
    [
      'a Sid with a dash',
      { ...STATEMENT, Sid: 'a-b' },
      'Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*',
    ],
    [
      'a Sid of another type',
      { ...STATEMENT, Sid: 1 },
      'Syntax errors in policy. Sid of Statement 1 must be a string.',
    ],
    ['a Principal', { ...STATEMENT, Principal: '*' }, 'Policy document should not specify a principal.'],
    [
      'a NotPrincipal',
      { ...STATEMENT, NotPrincipal: '*' },
      'Policy document should not specify a principal.',
    ],
  ])('of an identity has no statement with %s', (_what, statement, message) => {
    for (const kind of ['identity', 'boundary', 'session'] as const) {
      expect(() => parse(kind, statement)).toThrow(new PolicySyntaxError(message));
    }
  });

  it('tells of a variable that is not written as one, or stands too early', () => {
    for (const Resource of [
      'arn:aws:ecr:x:1:repository/${',
      'arn:aws:ecr:${aws:RequestedRegion}:1:repository/x',
    ]) {
      expect(() => parse('identity', { ...STATEMENT, Resource })).toThrow('has a variable that is not one');
    }
  });

  it.each<[string, object, string]>([
    ['a resource', { ...TRUST, Resource: '*' }, 'Has prohibited field Resource'],
    ['resources left out', { ...TRUST, NotResource: '*' }, 'AssumeRole policy must not contain resources.'],
    [
      'another service',
      { ...TRUST, Action: 'ecr:PutImage' },
      'AssumeRole policy may only specify STS AssumeRole actions.',
    ],
    ['all actions', { ...TRUST, Action: '*' }, 'AssumeRole policy may only specify STS AssumeRole actions.'],
    [
      'another action of STS',
      { ...TRUST, Action: 'sts:GetCallerIdentity' },
      'AssumeRole policy may only specify STS AssumeRole actions.',
    ],
    ['no principal', { Effect: 'Allow', Action: 'sts:AssumeRole' }, 'Missing required field Principal'],
    [
      'everybody but some',
      { Effect: 'Deny', NotPrincipal: { AWS: '111111111111' }, Action: 'sts:AssumeRole' },
      'Syntax errors in policy. Statement 1 has a NotPrincipal, which the trust policy of a role cannot have.',
    ],
  ])('of a role that says whom it trusts has no statement with %s', (_what, statement, message) => {
    expect(() => parse('trust', statement)).toThrow(new PolicySyntaxError(message));
  });

  it.each([
    'sts:AssumeRole',
    'sts:AssumeRoleWithWebIdentity',
    'sts:AssumeRoleWithSAML',
    'sts:TagSession',
    'sts:SetSourceIdentity',
    'sts:AssumeRole*',
  ])('of a role may speak of %s', (Action) => {
    const Principal = { Federated: 'arn:aws:iam::111111111111:oidc-provider/token.example.com' };
    const Condition = { StringLike: { 'token.example.com:sub': 'repo:org/*' } };
    expect(parse('trust', { ...TRUST, Principal, Action, Condition }).statements).toHaveLength(1);
  });
});
