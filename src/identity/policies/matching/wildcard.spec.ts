import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Wildcard } from './wildcard.js';

/** By the definition, trying everything: slow, and hard to get wrong. */
function naive(pattern: string, text: string): boolean {
  if (pattern === '') return text === '';
  if (pattern[0] === '*') {
    return naive(pattern.slice(1), text) || (text !== '' && naive(pattern, text.slice(1)));
  }
  return (
    text !== '' && (pattern[0] === '?' || pattern[0] === text[0]) && naive(pattern.slice(1), text.slice(1))
  );
}

const letters = (alphabet: string[], maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...alphabet), maxLength });

describe('wildcards', () => {
  it.each([
    ['*', '', true],
    ['', '', true],
    ['', 'a', false],
    ['?', '', false],
    ['a*c', 'abc', true],
    ['a*c', 'ac', true],
    ['a*a', 'a', false],
    ['*ab?d*', 'xxabcabcdyy', true],
    ['ecr:Put*', 'ecr:PutImage', true],
    ['ecr:Put', 'ecr:PutImage', false],
    ['a.c', 'abc', false],
    ['[a]', 'a', false],
  ])('%s against "%s" is %s', (pattern, text, expected) => {
    expect(Wildcard.parse(pattern).matches(text)).toBe(expected);
  });

  it('match what the definition says', () => {
    fc.assert(
      fc.property(letters(['a', 'b', '*', '?'], 10), letters(['a', 'b', '*', '?'], 12), (pattern, text) => {
        expect(Wildcard.parse(pattern).matches(text)).toBe(naive(pattern, text));
      }),
      { numRuns: 3000 },
    );
  });

  it('match every text they are made from by putting stars in', () => {
    fc.assert(
      fc.property(
        fc.array(letters(['a', 'b', ':'], 6)),
        fc.array(letters(['a', 'b', ':'], 6)),
        (kept, hidden) => {
          const text = kept.map((piece, index) => piece + (hidden[index] ?? '')).join('');
          expect(Wildcard.parse(`${kept.join('*')}*`).matches(text)).toBe(true);
        },
      ),
    );
  });

  it.each([
    ['stars', '*a'],
    ['stars and question marks', '*a?'],
    ['pairs of stars', '**a'],
  ])(
    'come to an end with ten thousand characters of %s against a text that almost matches',
    (_what, piece) => {
      const pattern = `${piece.repeat(Math.floor(10_000 / piece.length))}b`;
      expect(Wildcard.parse(pattern).matches('a'.repeat(20_000))).toBe(false);
      expect(Wildcard.parse(pattern).matches(`${'a'.repeat(20_000)}b`)).toBe(true);
    },
  );
});
