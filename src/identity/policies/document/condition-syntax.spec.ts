import { describe, expect, it } from '@jest/globals';
import { parsePolicyDocument } from './policy-document.js';
import type { PolicyKind } from './policy-size.js';

const STATEMENT = { Effect: 'Allow', Action: 'ecr:*', Resource: '*' };

function parse(kind: PolicyKind, ...statements: object[]) {
  return parsePolicyDocument(JSON.stringify({ Version: '2012-10-17', Statement: statements }), kind);
}

describe('a condition', () => {
  it.each<[string, unknown, string]>([
    ['a list', [], 'Condition of Statement 1 must be an object.'],
    [
      'an unknown operator',
      { StringMatches: { 'aws:x': 'a' } },
      'unknown condition operator "StringMatches"',
    ],
    [
      'an operator in another case',
      { stringEquals: { 'aws:x': 'a' } },
      'unknown condition operator "stringEquals"',
    ],
    ['an unknown set operator', { 'ForSome:StringEquals': { 'aws:x': 'a' } }, 'unknown condition operator'],
    ['NullIfExists', { NullIfExists: { 'aws:x': 'true' } }, 'unknown condition operator'],
    ['Null over a set', { 'ForAnyValue:Null': { 'aws:x': 'true' } }, 'unknown condition operator'],
    [
      'an operator out of Object',
      { constructor: { 'aws:x': 'true' } },
      'unknown condition operator "constructor"',
    ],
    ['a block of another type', { StringEquals: 'a' }, 'StringEquals of Statement 1 must be an object.'],
    [
      'a key without a service',
      { StringEquals: { username: 'a' } },
      'Actions/Conditions must be prefaced by a vendor',
    ],
    ['no value', { StringEquals: { 'aws:x': [] } }, '"aws:x" of Statement 1 has no value.'],
    [
      'a null',
      { StringEquals: { 'aws:x': null } },
      'must be a string, a number, a boolean or a list of those',
    ],
    [
      'an object for a value',
      { StringEquals: { 'aws:x': [{}] } },
      'must be a string, a number, a boolean or a list of those',
    ],
    [
      'a text for a number',
      { NumericEquals: { 'aws:x': 'many' } },
      '"many" is no value for "aws:x" in NumericEquals',
    ],
    ['a text for a date', { DateLessThan: { 'aws:CurrentTime': 'soon' } }, '"soon" is no value'],
    ['a text for a boolean', { Bool: { 'aws:SecureTransport': 'yes' } }, '"yes" is no value'],
    ['a text for base64', { BinaryEquals: { 'aws:x': '***' } }, '"***" is no value'],
    ['a text for an address', { IpAddress: { 'aws:SourceIp': '10.0.0.0/33' } }, '"10.0.0.0/33" is no value'],
    ['a text for an ARN', { ArnLike: { 'aws:PrincipalArn': 'user/ann' } }, '"user/ann" is no value'],
    ['a text for Null', { Null: { 'aws:x': 'maybe' } }, '"maybe" is no value'],
    ['a variable for a number', { NumericEquals: { 'aws:x': '${aws:y}' } }, '"${aws:y}" is no value'],
    ['a variable left open', { StringEquals: { 'aws:x': '${aws:y' } }, '"${aws:y" is no value'],
  ])('has no condition with %s', (_what, Condition, message) => {
    expect(() => parse('identity', { ...STATEMENT, Condition })).toThrow(message);
  });
});
