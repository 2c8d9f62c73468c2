import { describe, expect, it } from '@jest/globals';
import { nextPageLink } from './links.js';

describe('nextPageLink', () => {
  it('points to the next page of a listing', () => {
    expect(nextPageLink('/v2/a/b/tags/list', { n: 10, last: 'v1' })).toBe(
      '</v2/a/b/tags/list?n=10&last=v1>; rel="next"',
    );
    expect(nextPageLink('https://registry.test/v2/_catalog', { n: undefined, last: 'a/b' })).toBe(
      '<https://registry.test/v2/_catalog?last=a%2Fb>; rel="next"',
    );
  });

  it('keeps every value of a parameter that is given more than once', () => {
    expect(nextPageLink('/v2/a/referrers/d', { artifactType: ['x', 'y'], none: [], last: '1' })).toBe(
      '</v2/a/referrers/d?artifactType=x&artifactType=y&last=1>; rel="next"',
    );
  });

  it('lets no value break out of the header', () => {
    const link = nextPageLink('/v2/a>;rel=x\r\n/tags/list', { last: '>; rel="prev"\r\nx: y' });
    expect(link).toMatch(/^<[^<>"\s]+>; rel="next"$/);
  });

  it('does not encode a path twice', () => {
    expect(nextPageLink('/v2/a%2Fb/tags/list', { last: 'x' })).toBe(
      '</v2/a%2Fb/tags/list?last=x>; rel="next"',
    );
  });
});
