import { describe, expect, it } from '@jest/globals';
import { pageQuery } from './page-query.js';

describe('pageQuery', () => {
  it('has a page size of its own when none is asked for', () => {
    expect(pageQuery({})).toEqual({ n: 100 });
    expect(pageQuery(undefined, 7)).toEqual({ n: 7 });
  });

  it('takes what the client asks for, up to the largest page', () => {
    expect(pageQuery({ n: '0' })).toEqual({ n: 0 });
    expect(pageQuery({ n: '25', last: 'v1' })).toEqual({ n: 25, last: 'v1' });
    expect(pageQuery({ n: '5000' })).toEqual({ n: 1000 });
  });

  it('starts at the beginning after an empty `last`', () => {
    expect(pageQuery({ last: '' })).toEqual({ n: 100 });
  });

  it.each([
    { n: '-1' },
    { n: '1.5' },
    { n: '' },
    { n: 'ten' },
    { n: '1e2' },
    { n: ['1', '2'] },
    { last: ['a', 'b'] },
  ])('refuses %j', (query) => {
    expect(() => pageQuery(query)).toThrow(expect.objectContaining({ code: 'InvalidParameter' }));
  });
});
