import { expect, it } from '@jest/globals';
import { denialMessage } from './denial-message.js';
import type { Decision, PolicyType } from './evaluate.js';
import type { RequestPrincipal } from './matching/principals.js';
import { RequestContext } from './request-context.js';

const APP = 'arn:aws:ecr:us-east-1:111111111111:repository/app';
const ANN: RequestPrincipal = {
  type: 'user',
  accountId: '111111111111',
  arn: 'arn:aws:iam::111111111111:user/ann',
};

function decision(outcome: object, principal = ANN): Decision {
  const request = {
    principal,
    action: 'ecr:PutImage',
    resource: APP,
    resourceAccountId: '111111111111',
    context: new RequestContext({}),
  };
  return {
    request,
    crossAccount: false,
    matched: [],
    boundaryAllows: null,
    ...outcome,
  } as unknown as Decision;
}

const REFUSED = `User: arn:aws:iam::111111111111:user/ann is not authorized to perform: ecr:PutImage on resource: ${APP}`;

it.each<[PolicyType, string]>([
  ['identity', 'because no identity-based policy allows the ecr:PutImage action'],
  ['boundary', 'because no permissions boundary allows the ecr:PutImage action'],
  ['session', 'because no session policy allows the ecr:PutImage action'],
  ['resource', 'because no resource-based policy allows the ecr:PutImage action'],
  ['trust', 'because no role trust policy allows the ecr:PutImage action'],
])('a denial for want of an Allow in %s says so', (type, reason) => {
  const message = denialMessage(decision({ outcome: 'implicit-deny', lacking: [type, 'session'] }));
  expect(message).toBe(`${REFUSED} ${reason}`);
});

it.each<[PolicyType, string]>([
  ['identity', 'with an explicit deny in an identity-based policy'],
  ['boundary', 'with an explicit deny in a permissions boundary'],
  ['session', 'with an explicit deny in a session policy'],
  ['resource', 'with an explicit deny in a resource-based policy'],
  ['trust', 'with an explicit deny in the role trust policy'],
])('a denial by a Deny in %s says so', (deniedBy, reason) => {
  expect(denialMessage(decision({ outcome: 'explicit-deny', deniedBy }))).toBe(`${REFUSED} ${reason}`);
});

it.each<[RequestPrincipal, string]>([
  [{ type: 'anonymous' }, 'anonymous'],
  [{ type: 'service', service: 'lambda.amazonaws.com' }, 'lambda.amazonaws.com'],
  [{ type: 'web-identity', provider: 'arn:aws:iam::1:oidc-provider/x' }, 'arn:aws:iam::1:oidc-provider/x'],
  [
    { type: 'assumed-role', accountId: '1', arn: 'arn:aws:sts::1:assumed-role/r/s', roleArn: 'r' },
    'arn:aws:sts::1:assumed-role/r/s',
  ],
])('a denial names %j as %s', (principal, name) => {
  const message = denialMessage(decision({ outcome: 'implicit-deny', lacking: ['resource'] }, principal));
  expect(message).toMatch(`User: ${name} is not authorized`);
});

it('there is no denial where the decision is to allow', () => {
  expect(denialMessage(decision({ outcome: 'allowed', by: 'identity' }))).toBeNull();
});
