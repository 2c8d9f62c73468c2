import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { Digest } from './digest.js';

const SHA256 = `sha256:${'0123456789abcdef'.repeat(4)}`;
const SHA512 = `sha512:${'0123456789abcdef'.repeat(8)}`;

describe('a digest', () => {
  it.each([SHA256, SHA512])('is read from %s and written the same way', (text) => {
    const digest = Digest.require(text);
    expect(String(digest)).toBe(text);
    expect(`${digest.algorithm}:${digest.hex}`).toBe(text);
  });

  it.each([
    '',
    ':',
    'sha256',
    'sha256:',
    SHA256.slice(0, -1),
    `${SHA256}0`,
    `${SHA256}\n`,
    ` ${SHA256}`,
    SHA256.toUpperCase(),
    SHA256.replace('a', 'A'),
    SHA256.replace('a', 'g'),
    SHA256.replace('sha256', 'sha512'),
    SHA512.replace('sha512', 'sha256'),
    SHA256.replace('sha256', 'sha384'),
    SHA256.replace('sha256', 'md5'),
    SHA256.replace('sha256', 'constructor'),
    SHA256.replace(':', '::'),
    '0'.repeat(64),
  ])('is not %j', (text) => {
    expect(Digest.parse(text)).toBeNull();
    expect(() => Digest.require(text)).toThrow(expect.objectContaining({ code: 'DigestInvalid' }));
  });

  it('is made of the bytes of a hash', () => {
    const hash = createHash('sha256').update('x');
    expect(String(Digest.of('sha256', hash.copy().digest()))).toBe(`sha256:${hash.digest('hex')}`);
  });
});
