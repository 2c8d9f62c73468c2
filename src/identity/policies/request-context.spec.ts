import { describe, expect, it } from '@jest/globals';
import { CONTEXT_KEYS, RequestContext } from './request-context.js';

describe('the context of a request', () => {
  const context = new RequestContext({
    'aws:UserName': 'ann',
    'aws:TagKeys': ['a', 'b'],
    'aws:Single': ['one'],
    'aws:Empty': [],
    'aws:Blank': '',
    'aws:Absent': undefined,
  });

  it('answers by key in lower case', () => {
    expect(context.get('aws:username')).toEqual(['ann']);
    expect(context.get('aws:tagkeys')).toEqual(['a', 'b']);
    expect(context.get('aws:blank')).toEqual(['']);
  });

  it('has no key without a value', () => {
    expect(context.get('aws:empty')).toBeUndefined();
    expect(context.get('aws:absent')).toBeUndefined();
    expect(context.get('__proto__')).toBeUndefined();
    expect(context.get('constructor')).toBeUndefined();
  });

  it('has a single value only of a key with exactly one', () => {
    expect(context.single('aws:single')).toBe('one');
    expect(context.single('aws:tagkeys')).toBeUndefined();
    expect(context.single('aws:empty')).toBeUndefined();
  });

  it('is made of keys that differ in more than case', () => {
    const keys = Object.keys(CONTEXT_KEYS).map((key) => key.toLowerCase());
    expect(new Set(keys).size).toBe(keys.length);
  });
});
