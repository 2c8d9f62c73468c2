import { describe, expect, it } from '@jest/globals';
import { parsePolicyDocument } from '../document/policy-document.js';
import { type ContextValues, RequestContext } from '../request-context.js';
import { CompiledCondition } from './conditions.js';

type Values = string | number | boolean | (string | number | boolean)[];

function holds(
  operator: string,
  key: string,
  values: Values,
  context: ContextValues,
  version = '2012-10-17',
): boolean {
  const Condition = { [operator]: { [key]: values } };
  const text = JSON.stringify({
    Version: version,
    Statement: { Effect: 'Allow', Action: '*', Resource: '*', Condition },
  });
  const [condition] = parsePolicyDocument(text, 'identity').statements[0]!.conditions;
  return new CompiledCondition(condition!, version === '2012-10-17').holds(new RequestContext(context));
}

describe('conditions', () => {
  it.each<[string, Values, string, boolean]>([
    ['StringEquals', 'a', 'a', true],
    ['StringEquals', 'a', 'A', false],
    ['StringEquals', 'a*', 'ab', false],
    ['StringEquals', ['b', 'a'], 'a', true],
    ['StringNotEquals', ['b', 'a'], 'a', false],
    ['StringNotEquals', ['b', 'a'], 'c', true],
    ['StringEqualsIgnoreCase', 'Team', 'tEAM', true],
    ['StringNotEqualsIgnoreCase', 'Team', 'tEAM', false],
    ['StringLike', 'a*', 'ab', true],
    ['StringLike', 'a?', 'a', false],
    ['StringNotLike', ['a*', 'b*'], 'bc', false],
    ['StringNotLike', ['a*', 'b*'], 'cc', true],
    ['NumericEquals', 5, '5.0', true],
    ['NumericNotEquals', '5', '6', true],
    ['NumericLessThan', '10', '9', true],
    ['NumericLessThanEquals', '10', '10', true],
    ['NumericGreaterThan', '10', '9', false],
    ['NumericGreaterThanEquals', ['10', '8'], '9', true],
    ['NumericEquals', '5', 'five', false],
    ['NumericNotEquals', '5', 'five', true],
    ['DateLessThan', '2026-01-01T00:00:00Z', '2025-12-31T23:59:59Z', true],
    ['DateGreaterThan', '2026-01-01T00:00:00+01:00', '2025-12-31T23:30:00Z', true],
    ['DateEquals', '2026-01-01', '1767225600', true],
    ['Bool', true, 'true', true],
    ['Bool', 'TRUE', 'true', true],
    ['Bool', 'false', 'true', false],
    ['BinaryEquals', 'QUJD', 'QUJD', true],
    ['BinaryEquals', 'QUJD', 'QUJE', false],
    ['IpAddress', ['203.0.113.0/24', '2001:db8::/32'], '2001:db8::1', true],
    ['NotIpAddress', '203.0.113.0/24', '203.0.113.1', false],
    ['NotIpAddress', '203.0.113.0/24', '2001:db8::1', true],
    ['ArnEquals', 'arn:aws:iam::*:role/c?', 'arn:aws:iam::1:role/ci', true],
    ['ArnLike', 'arn:aws:iam::1:*', 'arn:aws:iam::1:role/ci', true],
    ['ArnLike', '*', 'arn:aws:iam::1:role/ci', false],
    ['ArnNotLike', 'arn:aws:iam::1:*', 'arn:aws:iam::2:role/ci', true],
    ['ArnNotEquals', 'arn:aws:iam::1:*', 'arn:aws:iam::1:role/ci', false],
    ['Null', 'true', 'x', false],
    ['Null', 'false', 'x', true],
  ])('%s of %j for %s is %s', (operator, values, value, expected) => {
    expect(holds(operator, 'aws:PrincipalTag/t', values, { 'aws:PrincipalTag/t': value })).toBe(expected);
  });

  it('ask for keys in any case', () => {
    expect(holds('StringEquals', 'AWS:principaltag/TEAM', 'a', { 'aws:PrincipalTag/team': 'a' })).toBe(true);
  });

  it.each<[string, Values, boolean]>([
    ['StringEquals', 'a', false],
    ['StringNotEquals', 'a', true],
    ['StringEqualsIfExists', 'a', true],
    ['StringNotEqualsIfExists', 'a', true],
    ['NotIpAddress', '10.0.0.0/8', true],
    ['IpAddress', '10.0.0.0/8', false],
    ['BoolIfExists', 'true', true],
    ['NumericNotEquals', '1', true],
    ['ArnNotLike', 'arn:aws:iam::1:*', true],
    ['ForAnyValue:StringEquals', 'a', false],
    ['ForAnyValue:StringNotEquals', 'a', false],
    ['ForAnyValue:StringEqualsIfExists', 'a', true],
    ['ForAllValues:StringEquals', 'a', true],
    ['ForAllValues:StringNotEquals', 'a', true],
    ['Null', 'true', true],
    ['Null', 'false', false],
  ])('%s of %j without the key is %s', (operator, values, expected) => {
    expect(holds(operator, 'aws:x', values, {})).toBe(expected);
    expect(holds(operator, 'aws:x', values, { 'aws:x': [] })).toBe(expected);
  });

  it.each<[string, Values, string[], boolean]>([
    ['ForAllValues:StringEquals', ['a', 'b'], ['a', 'b'], true],
    ['ForAllValues:StringEquals', ['a', 'b'], ['a', 'c'], false],
    ['ForAnyValue:StringEquals', ['a', 'b'], ['a', 'c'], true],
    ['ForAnyValue:StringEquals', ['a', 'b'], ['c', 'd'], false],
    ['ForAllValues:StringNotEquals', ['a'], ['b', 'c'], true],
    ['ForAllValues:StringNotEquals', ['a'], ['a', 'c'], false],
    ['ForAnyValue:StringNotEquals', ['a'], ['a', 'c'], true],
    ['ForAnyValue:StringNotEquals', ['a'], ['a'], false],
    ['ForAllValues:StringLike', ['t*'], ['team', 'tier'], true],
    ['StringEquals', ['a'], ['a', 'c'], true],
    ['StringNotEquals', ['a'], ['a', 'c'], false],
    ['StringNotEquals', ['a'], ['b', 'c'], true],
  ])('%s of %j for the list %j is %s', (operator, values, list, expected) => {
    expect(holds(operator, 'aws:TagKeys', values, { 'aws:TagKeys': list })).toBe(expected);
  });

  it.each<[string, Values, boolean]>([
    ['StringEquals', '${aws:username}', true],
    ['StringEqualsIgnoreCase', '${aws:username}', true],
    ['StringLike', 'a*${*}${aws:username}', false],
    ['StringEquals', "${aws:userid, 'ann'}", true],
    ['StringEquals', '${aws:userid}', false],
    ['StringEquals', ['${aws:userid}', 'ann'], true],
    ['StringNotEquals', '${aws:userid}', false],
    ['StringNotEquals', ['${aws:userid}', 'x'], false],
    ['StringNotEquals', '${aws:username}x', true],
  ])('%s with the variable %j is %s', (operator, values, expected) => {
    expect(
      holds(operator, 'aws:PrincipalTag/t', values, { 'aws:PrincipalTag/t': 'ann', 'aws:username': 'ann' }),
    ).toBe(expected);
  });

  it('have no variables in the older version', () => {
    const context = { 'aws:x': '${aws:username}', 'aws:username': 'ann' };
    expect(holds('StringEquals', 'aws:x', '${aws:username}', context, '2008-10-17')).toBe(true);
    expect(holds('StringEquals', 'aws:x', '${aws:username}', context)).toBe(false);
  });
});
