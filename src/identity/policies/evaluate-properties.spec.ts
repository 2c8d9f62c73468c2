import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type CompiledPolicy, compilePolicy } from './compiled-policy.js';
import { parsePolicyDocument } from './document/policy-document.js';
import type { PolicyKind } from './document/policy-size.js';
import { type ApplicablePolicies, type Decision, evaluate } from './evaluate.js';
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

function decide(principal: RequestPrincipal, policies: ApplicablePolicies): Decision {
  const context = new RequestContext({});
  return evaluate(
    { principal, action: 'ecr:PutImage', resource: APP, resourceAccountId: HOME, context },
    policies,
  );
}

describe('decisions', () => {
  const effect = fc.constantFrom('Allow', 'Deny');
  const action = fc.constantFrom('*', 'ecr:*', 'ecr:Put*', 'ecr:Get*', 's3:*');
  const names = fc.constantFrom(
    '*',
    HOME,
    AWAY,
    `arn:aws:iam::${HOME}:user/ann`,
    ROLE,
    `arn:aws:sts::${HOME}:assumed-role/ci/run`,
  );
  const statement = fc.record({
    Effect: effect,
    Action: action,
    Resource: fc.constantFrom('*', APP, 'arn:aws:s3:*'),
  });
  const granting = fc.record({ Effect: effect, Action: action, Principal: fc.record({ AWS: names }) });
  const some = <T>(one: fc.Arbitrary<T>) => fc.array(one, { minLength: 1, maxLength: 3 });
  const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });
  const world = fc.record({
    principal: fc.constantFrom(root(), root(AWAY), user(), user(AWAY), session(), session(AWAY), {
      type: 'anonymous',
    } as const),
    identity: fc.array(some(statement), { maxLength: 2 }),
    resource: maybe(some(granting)),
    boundary: maybe(some(statement)),
    session: maybe(some(statement)),
  });
  type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

  function outcome({ principal, ...drawn }: World): Decision['outcome'] {
    return decide(principal, {
      identity: drawn.identity.map((statements) => policy('identity', ...statements)),
      ...(drawn.resource && { resource: [policy('resource', ...drawn.resource)] }),
      ...(drawn.boundary && { boundary: policy('boundary', ...drawn.boundary) }),
      ...(drawn.session && { session: [policy('session', ...drawn.session)] }),
    }).outcome;
  }

  it('are to deny once any policy that applies denies', () => {
    fc.assert(
      fc.property(world, fc.constantFrom('resource', 'boundary', 'session'), (drawn, where) => {
        const everyone =
          where === 'resource' ? [{ Effect: 'Deny', Action: 'ecr:Put*', Principal: { AWS: '*' } }] : [];
        const denying = [{ Effect: 'Deny', Action: 'ecr:Put*', Resource: '*' }];
        const changed =
          where === 'resource'
            ? { resource: [...(drawn.resource ?? []), ...everyone] }
            : { [where]: denying };
        expect(outcome({ ...drawn, ...changed } as World)).toBe('explicit-deny');
      }),
    );
  });

  it('never turn to deny by one Allow more, nor a Deny to anything else', () => {
    fc.assert(
      fc.property(world, statement, granting, (drawn, more, grantMore) => {
        const before = outcome(drawn);
        const added = { ...more, Effect: 'Allow' };
        const after = [
          { ...drawn, identity: [...drawn.identity, [added]] },
          { ...drawn, resource: [...(drawn.resource ?? []), { ...grantMore, Effect: 'Allow' }] },
          ...(drawn.boundary ? [{ ...drawn, boundary: [...drawn.boundary, added] }] : []),
          ...(drawn.session ? [{ ...drawn, session: [...drawn.session, added] }] : []),
        ].map((changed) => outcome(changed as World));
        if (before === 'allowed') expect(new Set(after)).toEqual(new Set(['allowed']));
        if (before === 'explicit-deny') expect(new Set(after)).toEqual(new Set(['explicit-deny']));
      }),
    );
  });

  it('never turn to allow by a boundary or a session policy', () => {
    fc.assert(
      fc.property(world, some(statement), (drawn, statements) => {
        const { boundary: _boundary, session: _session, ...free } = drawn;
        if (outcome(free as World) === 'allowed') return;
        expect(outcome({ ...free, boundary: statements } as World)).not.toBe('allowed');
        expect(outcome({ ...free, session: statements } as World)).not.toBe('allowed');
      }),
    );
  });

  it('across accounts need a resource policy, whatever the identity may', () => {
    fc.assert(
      fc.property(world, (drawn) => {
        const { resource: _resource, ...alone } = drawn;
        expect(outcome({ ...alone, principal: user(AWAY) } as World)).not.toBe('allowed');
      }),
    );
  });
});
