import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parsePolicyDocument, printPolicyDocument } from './policy-document.js';
import type { PolicyKind } from './policy-size.js';
import { PolicySyntaxError } from './policy-syntax-error.js';

const STATEMENT = { Effect: 'Allow', Action: 'ecr:*', Resource: '*' };
const GRANT = { Effect: 'Allow', Principal: { AWS: '111111111111' }, Action: 'ecr:BatchGetImage' };

function parse(kind: PolicyKind, ...statements: object[]) {
  return parsePolicyDocument(JSON.stringify({ Version: '2012-10-17', Statement: statements }), kind);
}

describe('a policy document', () => {
  it('may have one statement in place of a list, and one text in place of a list', () => {
    const document = parsePolicyDocument(JSON.stringify({ Statement: STATEMENT }), 'identity');
    expect(document).toMatchObject({
      version: '2008-10-17',
      statements: [
        {
          effect: 'Allow',
          actions: { negated: false, patterns: ['ecr:*'] },
          resources: { negated: false, patterns: ['*'] },
          conditions: [],
        },
      ],
    });
  });

  it('has its conditions taken apart', () => {
    const Condition = {
      'ForAnyValue:StringLikeIfExists': { 'aws:TagKeys': ['a', 'b*'] },
      Bool: { 'aws:SecureTransport': true },
      NumericLessThan: { 'aws:MultiFactorAuthAge': 12.5 },
    };
    expect(parse('identity', { ...STATEMENT, Condition }).statements[0]!.conditions).toEqual([
      {
        operator: 'StringLike',
        quantifier: 'ForAnyValue',
        ifExists: true,
        key: 'aws:TagKeys',
        values: ['a', 'b*'],
      },
      { operator: 'Bool', ifExists: false, key: 'aws:SecureTransport', values: ['true'] },
      { operator: 'NumericLessThan', ifExists: false, key: 'aws:MultiFactorAuthAge', values: ['12.5'] },
    ]);
  });

  it('of a repository may leave out the resource, repeat its Sids and put spaces in them', () => {
    const document = parse(
      'resource',
      { ...GRANT, Sid: 'new statement' },
      { ...GRANT, Sid: 'new statement' },
    );
    expect(document.statements.map(({ sid, resources }) => [sid, resources])).toEqual([
      ['new statement', undefined],
      ['new statement', undefined],
    ]);
  });

  it.each<[string, string]>([
    ['[]', 'Syntax errors in policy. The policy must be an object.'],
    ['"x"', 'Syntax errors in policy. The policy must be an object.'],
    ['{"Version":"2012-10-17"}', 'Syntax errors in policy. The policy has no Statement.'],
    ['{"Statement":[]}', 'Syntax errors in policy. The policy has no Statement.'],
    ['{"Statement":"x"}', 'Syntax errors in policy. Statement 1 must be an object.'],
    ['{"Statement":[null]}', 'Syntax errors in policy. Statement 1 must be an object.'],
    [
      '{"version":"2012-10-17","Statement":[]}',
      'Syntax errors in policy. The policy has an unknown element "version".',
    ],
    [
      '{"Version":"2012-10-18","Statement":[]}',
      'Syntax errors in policy. Version must be one of 2008-10-17, 2012-10-17.',
    ],
    ['{"Version":20121017,"Statement":[]}', 'Syntax errors in policy. Version must be a string.'],
    ['{"Id":"x","Statement":[]}', 'Syntax errors in policy. Id is for policies of resources.'],
    [
      '{"__proto__":{},"Statement":[]}',
      'Syntax errors in policy. The policy has an unknown element "__proto__".',
    ],
  ])('is not %s', (text, message) => {
    expect(() => parsePolicyDocument(text, 'identity')).toThrow(new PolicySyntaxError(message));
  });

  it('has no Sid twice', () => {
    const twice = [
      { ...STATEMENT, Sid: 'one' },
      { ...STATEMENT, Sid: 'one' },
    ];
    expect(() => parse('identity', ...twice)).toThrow(
      'Statement IDs (SID) in a single policy must be unique.',
    );
    const blank = twice.map((statement) => ({ ...statement, Sid: '' }));
    expect(parse('identity', ...blank).statements).toHaveLength(2);
  });

  it('says the same again when it is printed and read', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<PolicyKind>('identity', 'resource'),
        fc.infiniteStream(fc.nat()),
        (kind, stream) => {
          const first = parsePolicyDocument(randomDocument(kind, stream), kind);
          const again = parsePolicyDocument(printPolicyDocument(first), kind);
          const spoken = ({ statements, text: _text, ...rest }: typeof first) => ({
            ...rest,
            statements: statements.map(({ range: _range, ...statement }) => statement),
          });
          expect(spoken(again)).toEqual(spoken(first));
        },
      ),
    );
  });
});

function randomDocument(kind: PolicyKind, stream: Iterator<number>): string {
  const below = (limit: number): number => (stream.next().value as number) % limit;
  const pick = <T>(...items: T[]): T => items[below(items.length)]!;
  const list = <T>(...items: T[]): T | T[] => (below(2) ? pick(...items) : [pick(...items), pick(...items)]);
  const condition = () => ({
    [`${pick('', 'ForAnyValue:', 'ForAllValues:')}${pick('StringEquals', 'StringNotLike', 'ArnLike')}${pick('', 'IfExists')}`]:
      {
        [pick('aws:PrincipalArn', 'ecr:ResourceTag/a b', 'aws:__proto__')]: list(
          'arn:a*',
          'arn:${aws:username}',
          '*',
        ),
      },
    ...(below(2) && { NumericEquals: { 'aws:x': list<unknown>(1, '2.50', -3) } }),
  });
  const statement = (index: number) => ({
    ...(below(2) && { Sid: `S${index}` }),
    Effect: pick('Allow', 'Deny'),
    ...(kind === 'resource' && {
      Principal: pick<unknown>(
        '*',
        { AWS: list('111111111111', '*') },
        { Service: 'a.b', Federated: list('c.d') },
      ),
    }),
    [pick('Action', 'NotAction')]: list('*', 'ecr:*', 'ECR:Put?mage'),
    ...((kind === 'identity' || below(2)) && {
      [pick('Resource', 'NotResource')]: list(
        '*',
        'arn:aws:ecr:*',
        'arn:aws:ecr:a:1:repository/${aws:username}',
      ),
    }),
    ...(below(2) && { Condition: condition() }),
  });
  return JSON.stringify({
    ...(below(2) && { Version: pick('2008-10-17', '2012-10-17') }),
    ...(kind === 'resource' && below(2) && { Id: 'id' }),
    Statement: Array.from({ length: 1 + below(3) }, (_, index) => statement(index)),
  });
}
