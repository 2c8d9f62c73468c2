import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { TagMutability } from './repository.js';
import { assertExclusionFilters, matchesWildcard, mayMoveTag } from './tag-mutability.js';

describe('matchesWildcard', () => {
  it.each([
    ['latest', 'latest', true],
    ['latest', 'Latest', false],
    ['latest', 'latest-1', false],
    ['latest', '', false],
    ['*', '', true],
    ['*', 'anything', true],
    ['dev-*', 'dev-', true],
    ['dev-*', 'dev-1', true],
    ['dev-*', 'my-dev-1', false],
    ['*-rc', '1.0-rc', true],
    ['*-rc', '1.0-rc1', false],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['ab*bc', 'abc', false],
    ['a*b*c', 'abc', true],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['a*bb*b', 'abb', false],
    ['**', 'x', true],
    ['1.0', '1x0', false],
    ['[a-z]+', 'abc', false],
    ['$&*', '$&', true],
  ])('%j matches %j: %s', (filter, text, expected) => {
    expect(matchesWildcard(filter, text)).toBe(expected);
  });

  it('agrees with a regular expression for every filter and text', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '-', '.'), maxLength: 12 });
    const filters = fc.string({ unit: fc.constantFrom('a', 'b', '-', '.', '*'), maxLength: 8 });
    fc.assert(
      fc.property(filters, letters, (filter, text) => {
        const pattern = filter.split('*').map((literal) => literal.replaceAll(/[.-]/g, '\\$&'));
        expect(matchesWildcard(filter, text)).toBe(new RegExp(`^${pattern.join('.*')}$`, 's').test(text));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('mayMoveTag', () => {
  const moves = (tagMutability: TagMutability, tag: string): boolean =>
    mayMoveTag({ tagMutability, exclusionFilters: ['dev-*', 'latest'] }, tag);

  it.each([
    ['MUTABLE', true, true],
    ['IMMUTABLE', false, false],
    ['MUTABLE_WITH_EXCLUSION', false, true],
    ['IMMUTABLE_WITH_EXCLUSION', true, false],
  ] as const)('under %s says %s for an excluded tag and %s for any other', (mode, excluded, other) => {
    for (const tag of ['dev-1', 'latest']) expect(moves(mode, tag)).toBe(excluded);
    for (const tag of ['v1', 'latest-2']) expect(moves(mode, tag)).toBe(other);
  });
});

describe('assertExclusionFilters', () => {
  it('wants filters for the modes with exclusions, and none for the others', () => {
    for (const mode of ['MUTABLE', 'IMMUTABLE'] as const) {
      for (const none of [undefined, []]) expect(() => assertExclusionFilters(mode, none)).not.toThrow();
      expect(() => assertExclusionFilters(mode, ['a'])).toThrow(
        `must be null when imageTagMutability is set as ${mode}`,
      );
      const excluding = `${mode}_WITH_EXCLUSION` as const;
      expect(() => assertExclusionFilters(excluding, ['a', '*b*'])).not.toThrow();
      for (const none of [undefined, []])
        expect(() => assertExclusionFilters(excluding, none)).toThrow(
          `can't be null when imageTagMutability is set as ${excluding}`,
        );
    }
  });

  it('allows two wildcards in a filter', () => {
    expect(() => assertExclusionFilters('IMMUTABLE_WITH_EXCLUSION', ['a', '*a*b*'])).toThrow(
      expect.objectContaining({ code: 'InvalidParameter' }),
    );
  });
});
