import { describe, expect, it } from '@jest/globals';
import { RootKey } from './keys/root-key.js';
import { SignedUrls } from './signed-urls.js';

const SECRET = '0123456789abcdefghijklmnopqrstuvwxyzABCD';
const urls = new SignedUrls(new RootKey('STOWABCDEFGH', SECRET));
const NOW = new Date('2026-03-04T05:06:07Z');
const PATH = '/layers/5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270';

describe('signed URLs', () => {
  it('stay below the path they are for and say when they end', () => {
    expect(urls.sign(PATH, 3600, NOW)).toMatch(
      new RegExp(`^${PATH}\\?expires=1772604367&signature=[A-Za-z0-9_-]{43}$`),
    );
    expect(urls.sign(`${PATH}?a=b`, 3600, NOW)).toMatch(
      /\?a=b&expires=1772604367&signature=[A-Za-z0-9_-]{43}$/,
    );
  });

  it('are good until they expire', () => {
    const url = urls.sign(PATH, 60, NOW);
    expect(urls.verify(url, NOW)).toBe(true);
    expect(urls.verify(url, new Date(NOW.getTime() + 59_999))).toBe(true);
    expect(urls.verify(url, new Date(NOW.getTime() + 60_000))).toBe(false);
  });

  it('are refused when a single character was changed, removed or added', () => {
    const url = urls.sign(`${PATH}?a=b`, 60, NOW);
    for (let index = 0; index < url.length; index++) {
      const another = url[index] === 'A' ? 'B' : 'A';
      expect(urls.verify(url.slice(0, index) + another + url.slice(index + 1), NOW)).toBe(false);
      expect(urls.verify(url.slice(0, index) + url.slice(index + 1), NOW)).toBe(false);
      expect(urls.verify(url.slice(0, index) + another + url.slice(index), NOW)).toBe(false);
    }
  });

  it('are refused with a later expiry, with parameters added, and without a signature', () => {
    const url = urls.sign(PATH, 60, NOW);
    const [signed, signature] = url.split('&signature=') as [string, string];
    for (const changed of [
      url.replace(/expires=\d+/, 'expires=99999999999'),
      `${url}&expires=99999999999`,
      `${signed}&expires=99999999999&signature=${signature}`,
      `${url}&response-content-type=text/html`,
      `${url}&signature=${signature}`,
      signed,
      PATH,
      '',
    ]) {
      expect(urls.verify(changed, NOW)).toBe(false);
    }
  });

  it('are refused by a registry with another secret', () => {
    const other = new SignedUrls(new RootKey('STOWABCDEFGH', `${SECRET}x`));
    expect(urls.verify(other.sign(PATH, 60, NOW), NOW)).toBe(false);
  });
});
