import { describe, expect, it } from '@jest/globals';
import { isTag, parseReference } from './image-reference.js';

const DIGEST = `sha256:${'a'.repeat(64)}`;

describe('a reference to an image', () => {
  it.each(['latest', 'v1.0', '_', 'A', '0', 'a'.repeat(300), 'x-y_z.0', DIGEST.slice(7)])(
    'can be the tag %s',
    (tag) => {
      expect(isTag(tag)).toBe(true);
      expect(parseReference(tag)).toEqual({ tag });
    },
  );

  it.each([DIGEST, `sha512:${'0'.repeat(128)}`])('can be the digest %s', (digest) => {
    expect(parseReference(digest)).toEqual({ digest });
  });

  it.each(['', '-a', '.a', 'a b', 'a/b', 'a+b', 'ä', 'a\n', 'a\0', 'a'.repeat(301)])(
    'cannot be the tag %j',
    (text) => {
      expect(isTag(text)).toBe(false);
      expect(parseReference(text)).toBeNull();
    },
  );

  it.each(['a:b', ':', 'sha256:', 'sha256:short', DIGEST.toUpperCase(), `${DIGEST}:x`, `latest@${DIGEST}`])(
    'is meant as a digest and is none: %s',
    (text) => expect(parseReference(text)).toBeNull(),
  );
});
