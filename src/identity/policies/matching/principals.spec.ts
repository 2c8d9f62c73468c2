import { describe, expect, it } from '@jest/globals';
import type { PolicyPrincipals } from '../document/policy-elements.js';
import { PrincipalMatcher, type RequestPrincipal } from './principals.js';

const ACCOUNT = '111111111111';
const ROOT_ARN = `arn:aws:iam::${ACCOUNT}:root`;
const USER_ARN = `arn:aws:iam::${ACCOUNT}:user/ann`;
const ROLE_ARN = `arn:aws:iam::${ACCOUNT}:role/build/ci`;
const SESSION_ARN = `arn:aws:sts::${ACCOUNT}:assumed-role/ci/run`;

const root: RequestPrincipal = { type: 'root', accountId: ACCOUNT, arn: ROOT_ARN };
const user: RequestPrincipal = { type: 'user', accountId: ACCOUNT, arn: USER_ARN };
const session: RequestPrincipal = {
  type: 'assumed-role',
  accountId: ACCOUNT,
  arn: SESSION_ARN,
  roleArn: ROLE_ARN,
};
const anonymous: RequestPrincipal = { type: 'anonymous' };
const lambda: RequestPrincipal = { type: 'service', service: 'lambda.amazonaws.com' };
const PROVIDER = `arn:aws:iam::${ACCOUNT}:oidc-provider/token.example.com`;
const token: RequestPrincipal = { type: 'web-identity', provider: PROVIDER };

const NONE: PolicyPrincipals = { negated: false, everyone: false, aws: [], service: [], federated: [] };
const aws = (...names: string[]) => new PrincipalMatcher({ ...NONE, aws: names });
const not = (...names: string[]) => new PrincipalMatcher({ ...NONE, negated: true, aws: names });

describe('Principal', () => {
  it('is everyone, the anonymous included, as * and as {"AWS": "*"}', () => {
    for (const matcher of [new PrincipalMatcher({ ...NONE, everyone: true }), aws('*')]) {
      for (const principal of [root, user, session, anonymous, lambda, token]) {
        expect(matcher.match(principal, false)).toBe('direct');
      }
    }
  });

  it.each([ACCOUNT, ROOT_ARN])('%s is the account, for whoever belongs to it', (name) => {
    for (const principal of [root, user, session]) expect(aws(name).match(principal, false)).toBe('account');
    for (const principal of [anonymous, lambda, token])
      expect(aws(name).match(principal, false)).toBe('none');
  });

  it('is a user by its ARN, in its case and with its path', () => {
    expect(aws(USER_ARN).match(user, false)).toBe('direct');
    expect(aws(USER_ARN.toUpperCase()).match(user, false)).toBe('none');
    expect(aws(`arn:aws:iam::${ACCOUNT}:user/team/ann`).match(user, false)).toBe('none');
    expect(aws(`arn:aws:iam::222222222222:user/ann`, '222222222222').match(user, false)).toBe('none');
  });

  it('is a session by its own ARN or by that of its role, and the closer of them counts', () => {
    expect(aws(SESSION_ARN).match(session, false)).toBe('direct');
    expect(aws(ROLE_ARN).match(session, false)).toBe('role');
    expect(aws(ACCOUNT, ROLE_ARN).match(session, false)).toBe('role');
    expect(aws(ACCOUNT, ROLE_ARN, SESSION_ARN).match(session, false)).toBe('direct');
  });

  it('is a service or an identity provider by its own kind alone', () => {
    expect(new PrincipalMatcher({ ...NONE, service: ['lambda.amazonaws.com'] }).match(lambda, false)).toBe(
      'direct',
    );
    expect(new PrincipalMatcher({ ...NONE, federated: [PROVIDER] }).match(token, false)).toBe('direct');
    expect(new PrincipalMatcher({ ...NONE, service: [PROVIDER] }).match(token, false)).toBe('none');
    expect(new PrincipalMatcher({ ...NONE, federated: ['lambda.amazonaws.com'] }).match(lambda, false)).toBe(
      'none',
    );
  });
});

describe('NotPrincipal', () => {
  it('spares a user who is listed with the account, and nobody else of it', () => {
    const matcher = not(USER_ARN, ACCOUNT);
    expect(matcher.match(user, false)).toBe('none');
    expect(matcher.match(root, false)).toBe('none');
    expect(matcher.match(session, false)).toBe('direct');
    expect(matcher.match(anonymous, false)).toBe('direct');
    expect(not(USER_ARN).match(user, false)).toBe('direct');
    expect(not(ACCOUNT).match(user, false)).toBe('direct');
  });

  it('spares a session that is listed with its role and the account', () => {
    expect(not(SESSION_ARN, ROLE_ARN, ROOT_ARN).match(session, false)).toBe('none');
    expect(not(SESSION_ARN, ROLE_ARN).match(session, false)).toBe('direct');
    expect(not(ROLE_ARN, ACCOUNT).match(session, false)).toBe('direct');
  });

  it('never spares who has a permissions boundary', () => {
    expect(not(USER_ARN, ACCOUNT).match(user, true)).toBe('direct');
    expect(not('*').match(user, true)).toBe('none');
  });

  it('spares services and identity providers that are listed', () => {
    const services = new PrincipalMatcher({ ...NONE, negated: true, service: ['lambda.amazonaws.com'] });
    expect(services.match(lambda, false)).toBe('none');
    expect(services.match(token, false)).toBe('direct');
  });
});
