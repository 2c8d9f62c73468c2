import { describe, expect, it } from '@jest/globals';
import { type CompiledPolicy, compilePolicy } from './compiled-policy.js';
import { parsePolicyDocument } from './document/policy-document.js';
import type { PolicyKind } from './document/policy-size.js';
import { type ApplicablePolicies, type AuthorizationRequest, type Decision, evaluate } from './evaluate.js';
import type { RequestPrincipal } from './matching/principals.js';
import { RequestContext } from './request-context.js';

const HOME = '111111111111';
const AWAY = '222222222222';
const APP = `arn:aws:ecr:us-east-1:${HOME}:repository/app`;
const ROLE = `arn:aws:iam::${HOME}:role/ci`;

const root = (accountId = HOME): RequestPrincipal => ({
  type: 'root',
  accountId,
  arn: `arn:aws:iam::${accountId}:root`,
});
const user = (accountId = HOME): RequestPrincipal => ({
  type: 'user',
  accountId,
  arn: `arn:aws:iam::${accountId}:user/ann`,
});
const session = (accountId = HOME): RequestPrincipal => ({
  type: 'assumed-role',
  accountId,
  arn: `arn:aws:sts::${accountId}:assumed-role/ci/run`,
  roleArn: `arn:aws:iam::${accountId}:role/ci`,
});

function policy(kind: PolicyKind, ...statements: object[]): CompiledPolicy {
  return compilePolicy(
    kind,
    parsePolicyDocument(JSON.stringify({ Version: '2012-10-17', Statement: statements }), kind),
  );
}

const allow = (Action: string | string[] = 'ecr:*', more: object = {}) => ({
  Effect: 'Allow',
  Action,
  Resource: '*',
  ...more,
});
const deny = (Action = 'ecr:*') => ({ Effect: 'Deny', Action, Resource: '*' });
const identity = (...statements: object[]) => [policy('identity', ...statements)];
const grant = (principal: unknown, statement: object = allow()) => [
  policy('resource', { ...statement, Principal: principal }),
];
const OTHER = policy('boundary', allow('s3:*'));

function decide(
  principal: RequestPrincipal,
  policies: Partial<ApplicablePolicies>,
  more: Partial<AuthorizationRequest> = {},
): Decision {
  const request = {
    principal,
    action: 'ecr:PutImage',
    resource: APP,
    resourceAccountId: HOME,
    context: new RequestContext({}),
  };
  return evaluate({ ...request, ...more }, { identity: [], ...policies });
}

describe('within an account', () => {
  it('nobody but the root may do anything without a policy', () => {
    expect(decide(user(), {})).toMatchObject({ outcome: 'implicit-deny', lacking: ['identity'] });
    expect(decide(session(), {})).toMatchObject({ outcome: 'implicit-deny', lacking: ['identity'] });
    expect(decide({ type: 'anonymous' }, {})).toMatchObject({
      outcome: 'implicit-deny',
      lacking: ['resource'],
    });
    expect(decide(root(), {})).toMatchObject({ outcome: 'allowed', by: 'root', matched: [] });
  });

  it('either the identity policy or the resource policy is enough', () => {
    expect(decide(user(), { identity: identity(allow()) })).toMatchObject({
      outcome: 'allowed',
      by: 'identity',
    });
    const resource = grant({ AWS: `arn:aws:iam::${HOME}:user/ann` });
    expect(decide(user(), { resource })).toMatchObject({ outcome: 'allowed', by: 'resource' });
    expect(decide(user(), { identity: identity(allow()), resource })).toMatchObject({
      by: 'identity-and-resource',
    });
  });

  it('a resource policy that names the account leaves it to the identity policies', () => {
    const resource = grant({ AWS: HOME });
    expect(decide(user(), { resource })).toMatchObject({ outcome: 'implicit-deny', lacking: ['identity'] });
    expect(decide(user(), { resource, identity: identity(allow()) }).outcome).toBe('allowed');
  });

  it.each<[string, RequestPrincipal, unknown, string, string]>([
    ['a user by name', user(), { AWS: `arn:aws:iam::${HOME}:user/ann` }, 'allowed', 'allowed'],
    [
      'a session by name',
      session(),
      { AWS: `arn:aws:sts::${HOME}:assumed-role/ci/run` },
      'allowed',
      'allowed',
    ],
    ['everyone', session(), '*', 'allowed', 'allowed'],
    ['the role of a session', session(), { AWS: ROLE }, 'implicit-deny', 'implicit-deny'],
    ['the account', session(), { AWS: HOME }, 'implicit-deny', 'implicit-deny'],
  ])(
    'what a resource policy grants to %s: bounds that do not allow it',
    (_who, principal, named, bounded, limited) => {
      const resource = grant(named);
      expect(decide(principal, { resource, boundary: OTHER }).outcome).toBe(bounded);
      if (principal.type === 'assumed-role')
        expect(decide(principal, { resource, session: [OTHER] }).outcome).toBe(limited);
    },
  );

  it('a grant to the role is enough within the bounds of the role and the session', () => {
    const within = {
      resource: grant({ AWS: ROLE }),
      boundary: policy('boundary', allow()),
      session: [policy('session', allow())],
    };
    expect(decide(session(), within)).toMatchObject({ outcome: 'allowed', by: 'resource' });
  });

  it('identity policies hold within the boundary and the session policy', () => {
    const own = { identity: identity(allow()) };
    expect(decide(user(), { ...own, boundary: OTHER })).toMatchObject({
      outcome: 'implicit-deny',
      lacking: ['boundary'],
      boundaryAllows: false,
    });
    expect(decide(session(), { ...own, session: [OTHER] })).toMatchObject({ lacking: ['session'] });
    expect(decide(session(), { ...own, session: [OTHER, policy('session', allow())] }).outcome).toBe(
      'allowed',
    );
    expect(decide(user(), { ...own, boundary: policy('boundary', allow()) })).toMatchObject({
      boundaryAllows: true,
    });
  });

  it('bounds grant nothing by themselves', () => {
    const policies = { boundary: policy('boundary', allow()), session: [policy('session', allow())] };
    expect(decide(session(), policies)).toMatchObject({ outcome: 'implicit-deny', lacking: ['identity'] });
  });

  it('a list of no session policies allows nothing, where none at all bounds nothing', () => {
    expect(decide(session(), { identity: identity(allow()), session: [] })).toMatchObject({
      lacking: ['session'],
    });
    expect(decide(session(), { identity: identity(allow()) }).outcome).toBe('allowed');
  });

  it('the root is bound by resource policies alone', () => {
    expect(decide(root(), { identity: identity(deny()) }).outcome).toBe('allowed');
    const resource = [policy('resource', { ...deny(), Principal: { AWS: HOME } })];
    expect(decide(root(), { resource })).toMatchObject({ outcome: 'explicit-deny', deniedBy: 'resource' });
  });

  it('anybody at all may do what a resource policy grants to everyone', () => {
    expect(decide({ type: 'anonymous' }, { resource: grant('*') })).toMatchObject({
      outcome: 'allowed',
      by: 'resource',
    });
    expect(decide({ type: 'anonymous' }, { resource: grant({ AWS: HOME }) }).outcome).toBe('implicit-deny');
    const lambda: RequestPrincipal = { type: 'service', service: 'lambda.amazonaws.com' };
    expect(decide(lambda, { resource: grant({ Service: 'lambda.amazonaws.com' }) }).outcome).toBe('allowed');
  });
});

describe('across accounts', () => {
  const resource = grant({
    AWS: [`arn:aws:iam::${AWAY}:user/ann`, `arn:aws:sts::${AWAY}:assumed-role/ci/run`],
  });

  it('both sides must allow', () => {
    expect(decide(user(AWAY), { identity: identity(allow()) })).toMatchObject({
      crossAccount: true,
      lacking: ['resource'],
    });
    expect(decide(user(AWAY), { resource })).toMatchObject({ lacking: ['identity'] });
    expect(decide(user(AWAY), { resource, identity: identity(allow()) })).toMatchObject({
      outcome: 'allowed',
      by: 'identity-and-resource',
    });
    expect(decide(user(AWAY), {})).toMatchObject({ lacking: ['resource', 'identity'] });
  });

  it('not even a grant by name or to everyone passes the bounds', () => {
    const own = { identity: identity(allow()) };
    expect(decide(session(AWAY), { ...own, resource, session: [OTHER] })).toMatchObject({
      lacking: ['session'],
    });
    expect(decide(user(AWAY), { ...own, resource: grant('*'), boundary: OTHER })).toMatchObject({
      lacking: ['boundary'],
    });
    expect(decide(user(AWAY), { resource: grant('*') })).toMatchObject({ lacking: ['identity'] });
  });

  it('the root of another account needs the resource policy and nothing else', () => {
    expect(decide(root(AWAY), {})).toMatchObject({ lacking: ['resource'] });
    expect(decide(root(AWAY), { resource: grant({ AWS: AWAY }) }).outcome).toBe('allowed');
  });
});

describe('a role is assumed', () => {
  const assume = (
    principal: RequestPrincipal,
    policies: Partial<ApplicablePolicies>,
    action = 'sts:AssumeRole',
  ) => decide(principal, policies, { action, resource: ROLE });
  const trust = (Principal: unknown, Action = 'sts:AssumeRole') =>
    policy('trust', { Effect: 'Allow', Principal, Action });
  const own = { identity: identity(allow('sts:*')) };

  it('only by whom it trusts', () => {
    expect(assume(user(), { ...own, trust: trust({ AWS: AWAY }) })).toMatchObject({ lacking: ['trust'] });
    expect(assume(user(), { trust: trust({ AWS: `arn:aws:iam::${HOME}:user/ann` }) })).toMatchObject({
      outcome: 'allowed',
    });
  });

  it('by members of a trusted account that their own policies allow to', () => {
    for (const accountId of [HOME, AWAY]) {
      const trusted = { trust: trust({ AWS: accountId }) };
      expect(assume(user(accountId), trusted)).toMatchObject({ lacking: ['identity'] });
      expect(assume(user(accountId), { ...own, ...trusted }).outcome).toBe('allowed');
    }
  });

  it('with a token of a provider it trusts', () => {
    const provider = `arn:aws:iam::${HOME}:oidc-provider/token.example.com`;
    const Condition = { StringLike: { 'token.example.com:sub': 'repo:org/*' } };
    const action = 'sts:AssumeRoleWithWebIdentity';
    const trusted = policy('trust', {
      Effect: 'Allow',
      Principal: { Federated: provider },
      Action: action,
      Condition,
    });
    const request = (sub: string, name = provider) =>
      decide(
        { type: 'web-identity', provider: name },
        { trust: trusted },
        {
          action,
          resource: ROLE,
          context: new RequestContext({ 'token.example.com:sub': sub }),
        },
      );
    expect(request('repo:org/app').outcome).toBe('allowed');
    expect(request('repo:other/app')).toMatchObject({ outcome: 'implicit-deny', lacking: ['trust'] });
    expect(request('repo:org/app', `${provider}.evil.example`).outcome).toBe('implicit-deny');
  });

  it('by nobody whom it refuses', () => {
    const refusing = policy('trust', { Effect: 'Deny', Principal: '*', Action: 'sts:AssumeRole' });
    expect(assume(root(), { trust: refusing })).toMatchObject({
      outcome: 'explicit-deny',
      deniedBy: 'trust',
    });
  });
});

describe('a policy of another kind', () => {
  it('is no answer, where it would be about everyone or about nobody', () => {
    expect(() => decide({ type: 'anonymous' }, { resource: identity(allow()) })).toThrow(
      'no policy of type resource',
    );
    expect(() => decide(user(), { trust: policy('identity', allow()) })).toThrow('no policy of type trust');
    expect(() => decide(user(), { identity: grant('*') })).toThrow('no policy of type identity');
    expect(() => decide(user(), { session: grant('*') })).toThrow('no policy of type session');
  });
});

describe('what a decision tells', () => {
  it('is every statement that decided it, with its policy and place', () => {
    const first = policy('identity', allow('s3:*'), { ...allow(), Sid: 'Pushes' });
    const decision = decide(user(), { identity: [first, ...identity(allow('ecr:Put*'))] });
    expect(decision.matched.map(({ type, statement }) => [type, statement.index, statement.sid])).toEqual([
      ['identity', 1, 'Pushes'],
      ['identity', 0, undefined],
    ]);
    const { document, range } = decision.matched[0]!.statement;
    expect(document).toBe(first.document);
    expect(JSON.parse(document.text.slice(range.start, range.end))).toMatchObject({ Sid: 'Pushes' });
  });

  it('is the Deny statements alone once there is one', () => {
    const decision = decide(user(), {
      identity: identity(allow(), deny()),
      boundary: policy('boundary', deny('ecr:Put*')),
    });
    expect(decision).toMatchObject({ outcome: 'explicit-deny', deniedBy: 'identity', boundaryAllows: null });
    expect(decision.matched.map(({ type, statement }) => [type, statement.effect])).toEqual([
      ['identity', 'Deny'],
      ['boundary', 'Deny'],
    ]);
  });
});
