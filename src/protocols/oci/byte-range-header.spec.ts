import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { requestedRange, UnsatisfiableRange } from './byte-range-header.js';

describe('requestedRange', () => {
  it.each([
    ['bytes=0-0', { first: 0, last: 0 }],
    ['bytes=0-9', { first: 0, last: 9 }],
    ['bytes=4-', { first: 4, last: 9 }],
    ['bytes=4-100', { first: 4, last: 9 }],
    ['bytes=-3', { first: 7, last: 9 }],
    ['bytes=-30', { first: 0, last: 9 }],
    ['Bytes=1-2', { first: 1, last: 2 }],
  ])('finds the bytes of %s in a blob of ten', (header, range) => {
    expect(requestedRange(header, 10)).toEqual(range);
  });

  it.each([
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=0-1,4-5',
    'items=0-1',
    'bytes 0-1',
  ])('answers the whole blob to %j', (header) => {
    expect(requestedRange(header, 10)).toBeNull();
  });

  it.each([
    ['bytes=10-', 10],
    ['bytes=5-4', 10],
    ['bytes=10-12', 10],
    ['bytes=-0', 10],
    ['bytes=0-', 0],
    ['bytes=-5', 0],
  ])('cannot satisfy %s of %i bytes', (header, size) => {
    expect(() => requestedRange(header, size)).toThrow(UnsatisfiableRange);
  });

  it('never reaches outside of the blob', () => {
    fc.assert(
      fc.property(
        fc.option(fc.nat(), { nil: '' }),
        fc.option(fc.nat(), { nil: '' }),
        fc.integer({ min: 1 }),
        (first, last, size) => {
          try {
            const range = requestedRange(`bytes=${first}-${last}`, size);
            if (range) expect(range.first >= 0 && range.first <= range.last && range.last < size).toBe(true);
          } catch (error) {
            expect(error).toBeInstanceOf(UnsatisfiableRange);
          }
        },
      ),
    );
  });
});
