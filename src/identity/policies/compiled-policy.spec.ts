import { describe, expect, it } from '@jest/globals';
import {
  type CompiledPolicy,
  compilePolicy,
  missingContextKeys,
  type StatementRequest,
} from './compiled-policy.js';
import { parsePolicyDocument } from './document/policy-document.js';
import { splitArn } from './matching/arn-pattern.js';
import { type ContextValues, RequestContext } from './request-context.js';

const APP = 'arn:aws:ecr:us-east-1:111111111111:repository/app';
const arn = '111111111111';

function compile(statement: object, version = '2012-10-17'): CompiledPolicy {
  const text = JSON.stringify({ Version: version, Statement: { Effect: 'Allow', ...statement } });
  return compilePolicy('mine', parsePolicyDocument(text, 'identity'));
}

function applies(
  policy: CompiledPolicy,
  action: string,
  resource: string,
  context: ContextValues = {},
): boolean {
  const request: StatementRequest = {
    principal: { type: 'user', accountId: arn, arn: `arn:aws:iam::${arn}:user/ann` },
    action: action.toLowerCase(),
    resource: splitArn(resource),
    context: new RequestContext(context),
    bounded: false,
  };
  return policy.allows[0]!.match(request) !== 'none';
}

describe('a compiled statement', () => {
  it('takes actions in any case, resources in theirs', () => {
    const policy = compile({ Action: 'ECR:put*', Resource: APP });
    expect(applies(policy, 'ecr:PutImage', APP)).toBe(true);
    expect(applies(policy, 'ecr:BatchGetImage', APP)).toBe(false);
    expect(applies(policy, 'ecr:PutImage', APP.replace('app', 'App'))).toBe(false);
  });

  it('is about all actions but those of NotAction', () => {
    const policy = compile({ NotAction: ['ecr:Put*', 'iam:*'], Resource: '*' });
    expect(applies(policy, 'ecr:BatchGetImage', APP)).toBe(true);
    expect(applies(policy, 'ECR:PUTIMAGE', APP)).toBe(false);
  });

  it('is about all resources but those of NotResource', () => {
    const policy = compile({ Action: '*', NotResource: ['arn:aws:ecr:*:*:repository/a*'] });
    expect(applies(policy, 'ecr:PutImage', APP)).toBe(false);
    expect(applies(policy, 'ecr:PutImage', APP.replace('app', 'web'))).toBe(true);
    expect(applies(compile({ Action: '*', NotResource: '*' }), 'ecr:PutImage', APP)).toBe(false);
  });

  it('is about the registry as a whole where it names no ARN', () => {
    const all = 'arn:aws:ecr:*:*:*';
    expect(applies(compile({ Action: '*', Resource: '*' }), 'ecr:GetAuthorizationToken', '*')).toBe(true);
    expect(applies(compile({ Action: '*', Resource: all }), 'ecr:GetAuthorizationToken', '*')).toBe(false);
    expect(applies(compile({ Action: '*', NotResource: all }), 'ecr:GetAuthorizationToken', '*')).toBe(true);
    expect(applies(compile({ Action: '*', NotResource: '*' }), 'ecr:GetAuthorizationToken', '*')).toBe(false);
  });

  it('reads a whole registry of another account as an ARN of which the star is a character', () => {
    const whole = 'arn:aws:ecr:us-east-1:222222222222:repository/*';
    expect(applies(compile({ Action: '*', Resource: whole }), 'ecr:DescribeRepositories', whole)).toBe(true);
    const one = whole.replace('*', 'app');
    expect(applies(compile({ Action: '*', Resource: one }), 'ecr:DescribeRepositories', whole)).toBe(false);
  });

  it('does not apply while a variable of its resource has no value, NotResource included', () => {
    const Resource = 'arn:aws:ecr:us-east-1:111111111111:repository/${aws:username}';
    expect(applies(compile({ Action: '*', Resource }), 'ecr:PutImage', APP, { 'aws:username': 'app' })).toBe(
      true,
    );
    expect(applies(compile({ Action: '*', Resource }), 'ecr:PutImage', APP)).toBe(false);
    expect(applies(compile({ Action: '*', NotResource: Resource }), 'ecr:PutImage', APP)).toBe(false);
    const olderOne = compile({ Action: '*', NotResource: Resource }, '2008-10-17');
    expect(applies(olderOne, 'ecr:PutImage', APP, { 'aws:username': 'app' })).toBe(true);
  });

  it('needs every condition', () => {
    const Condition = {
      StringEquals: { 'aws:username': 'ann', 'aws:PrincipalTag/team': 'a' },
      Bool: { 'aws:SecureTransport': 'true' },
    };
    const context = { 'aws:username': 'ann', 'aws:PrincipalTag/team': 'a', 'aws:SecureTransport': 'true' };
    const policy = compile({ Action: '*', Resource: '*', Condition });
    expect(applies(policy, 'ecr:PutImage', APP, context)).toBe(true);
    for (const key of Object.keys(context)) {
      expect(applies(policy, 'ecr:PutImage', APP, { ...context, [key]: 'other' })).toBe(false);
    }
  });
});

describe('a compiled policy', () => {
  it('tells which condition keys it reads, each once', () => {
    const policy = compile({
      Action: '*',
      Resource: 'arn:aws:ecr:a:1:repository/${aws:PrincipalTag/Team}',
      Condition: { StringEquals: { 'aws:UserName': '${aws:userid}' }, StringLike: { 'AWS:username': 'a*' } },
    });
    expect(policy.contextKeys).toEqual(['aws:UserName', 'aws:principaltag/team', 'aws:userid']);
  });

  it('tells which of its keys a request does not give', () => {
    const one = compile({
      Action: '*',
      Resource: '*',
      Condition: { Bool: { 'aws:SecureTransport': 'true' } },
    });
    const other = compile({
      Action: '*',
      Resource: '*',
      Condition: { Null: { 'AWS:securetransport': 'true', 'aws:TagKeys': 'true' } },
    });
    expect(missingContextKeys([one, other], new RequestContext({}))).toEqual([
      'aws:SecureTransport',
      'aws:TagKeys',
    ]);
    expect(missingContextKeys([one, other], new RequestContext({ 'aws:securetransport': 'true' }))).toEqual([
      'aws:TagKeys',
    ]);
  });
});
