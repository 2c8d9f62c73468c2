import { describe, expect, it } from '@jest/globals';
import { contentRange } from './content-range.js';

describe('contentRange', () => {
  it('reads the form of the distribution specification and the form of HTTP', () => {
    expect(contentRange('0-9')).toEqual({ first: 0, last: 9 });
    expect(contentRange('bytes 10-19/20')).toEqual({ first: 10, last: 19 });
    expect(contentRange('bytes 10-19/*')).toEqual({ first: 10, last: 19 });
    expect(contentRange('bytes 10-19')).toEqual({ first: 10, last: 19 });
    expect(contentRange(' 5-5 ')).toEqual({ first: 5, last: 5 });
  });

  it('takes the absence of the header for "next"', () => {
    expect(contentRange(undefined)).toBeNull();
  });

  it.each([
    '',
    '9',
    '9-',
    '-9',
    '9-0',
    '0-9/9',
    'bytes=0-9',
    '0-9,20-29',
    'a-b',
    '0x0-9',
    '1e3-2e3',
    '9007199254740992-9007199254740993',
    '0 - 9',
  ])('refuses %j', (header) => {
    expect(() => contentRange(header)).toThrow(expect.objectContaining({ code: 'RangeInvalid' }));
  });
});
