import { describe, expect, it } from '@jest/globals';
import { assertTagCount, assertTagKey, assertTags } from './resource-tags.js';

const INVALID = expect.objectContaining({
  code: 'InvalidTagParameter',
  message: expect.stringMatching(/^Tag parameters are invalid/),
});

describe('resource tags', () => {
  it.each(['k', 'a b', 'team:cost-centre', 'größe_1.2/=+@', 'k'.repeat(128), 'awsome', 'x:aws:'])(
    'may have the key %j',
    (key) => expect(() => assertTagKey(key)).not.toThrow(),
  );

  it.each(['', 'k'.repeat(129), 'aws:x', 'AWS:x', 'Aws:', 'a;b', 'a\n', 'a\0', '😀', '<b>'])(
    'cannot have the key %j',
    (key) => expect(() => assertTagKey(key)).toThrow(INVALID),
  );

  it('may have an empty value, and one of 256 characters', () => {
    for (const value of ['', 'v'.repeat(256), 'aws:'])
      expect(() => assertTags([{ key: 'k', value }])).not.toThrow();
    for (const value of ['v'.repeat(257), 'a;b', '\0'])
      expect(() => assertTags([{ key: 'k', value }])).toThrow(INVALID);
  });

  it('have each key once, in exact letters', () => {
    const tags = (...keys: string[]) => keys.map((key) => ({ key, value: '' }));
    expect(() => assertTags(tags('a', 'A'))).not.toThrow();
    expect(() => assertTags(tags('a', 'b', 'a'))).toThrow(INVALID);
  });

  it('are at most 50', () => {
    expect(() => assertTagCount(50)).not.toThrow();
    expect(() => assertTagCount(51)).toThrow(expect.objectContaining({ code: 'TooManyTags' }));
  });
});
