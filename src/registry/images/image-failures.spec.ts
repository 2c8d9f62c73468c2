import { describe, expect, it } from '@jest/globals';
import { identifierFault, imageFailure } from './image-failures.js';

describe('identifierFault', () => {
  const digest = `sha256:${'0'.repeat(64)}`;

  it('finds none in what may name an image', () => {
    for (const identifier of [
      { tag: 'v1' },
      { digest },
      { digest, tag: 'v1' },
      { digest: `sha512:${'a'.repeat(128)}` },
    ])
      expect(identifierFault(identifier)).toBeNull();
  });

  it.each([
    [{}, 'MissingDigestAndTag'],
    [{ digest: '' }, 'InvalidImageDigest'],
    [{ digest: 'sha256' }, 'InvalidImageDigest'],
    [{ digest: 'sha256:' }, 'InvalidImageDigest'],
    [{ digest: 'sha256:xyz' }, 'InvalidImageDigest'],
    [{ digest: `${digest}\n` }, 'InvalidImageDigest'],
    [{ digest: 'sha256:xyz', tag: 'v1' }, 'InvalidImageDigest'],
    [{ tag: '' }, 'InvalidImageTag'],
    [{ tag: 'a b' }, 'InvalidImageTag'],
    [{ tag: 'a'.repeat(301) }, 'InvalidImageTag'],
    [{ digest, tag: ':' }, 'InvalidImageTag'],
    // Well formed for ECR, and no digest the registry could have.
    [{ digest: 'md5:00' }, 'ImageNotFound'],
    [{ digest: 'sha256:00' }, 'ImageNotFound'],
    [{ digest: digest.toUpperCase() }, 'ImageNotFound'],
  ])('says of %j: %s', (image, code) => {
    expect(identifierFault(image)).toMatchObject({ image, code });
  });
});

describe('imageFailure', () => {
  it('has the words of ECR', () => {
    expect(imageFailure({}, 'MissingDigestAndTag').reason).toBe(
      'Invalid request parameters: both tag and digest cannot be null',
    );
    expect(imageFailure({}, 'InvalidImageDigest').reason).toBe(
      "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
    );
    expect(imageFailure({}, 'ImageNotFound').reason).toBe('Requested image not found');
    expect(imageFailure({}, 'ImageReferencedByManifestList', ['a', 'b']).reason).toBe(
      'Requested image referenced by manifest list: [a, b]',
    );
  });
});
