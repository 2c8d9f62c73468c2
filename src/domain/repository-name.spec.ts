import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isRepositoryName, requireRepositoryName } from './repository-name.js';

/** As the API model writes it, anchored; too slow for hostile names, hence not used by the service. */
const MODEL = /^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*\/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$/;

describe('a repository name', () => {
  it.each(['ab', 'a1', '00', 'team/app', 'a/b/c/d', 'a.b_c-d/e', 'a__b', 'a--b', 'a---b/c', 'a'.repeat(256)])(
    'can be %s',
    (name) => expect(requireRepositoryName(name)).toBe(name),
  );

  it.each([
    '',
    'a',
    'a'.repeat(257),
    'A/b',
    'Team',
    'a b',
    'a/',
    '/a',
    'a//b',
    '-a',
    'a-',
    '.a',
    'a.',
    '_a',
    'a_',
    'a..b',
    'a___b',
    'a._b',
    'a/../b',
    'a:b',
    'a@b',
    'ä/b',
    'ab\n',
    'ab\0',
  ])('cannot be %j', (name) => {
    expect(() => requireRepositoryName(name)).toThrow(
      expect.objectContaining({ code: 'RepositoryNameInvalid' }),
    );
  });

  it('may be whatever the pattern of the API allows', () => {
    const letters = fc.string({
      unit: fc.constantFrom('a', '0', '.', '_', '-', '/', 'A'),
      minLength: 2,
      maxLength: 10,
    });
    fc.assert(
      fc.property(letters, (text) => {
        if (MODEL.test(text)) expect(isRepositoryName(text)).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });

  it('of hostile length is judged without backtracking', () => {
    for (const text of [
      'a-'.repeat(127),
      'a'.repeat(255) + '!',
      `${'a/'.repeat(127)}!`,
      '-'.repeat(256),
      'a'.repeat(10_000_000),
    ])
      expect(isRepositoryName(text)).toBe(false);
  });
});
