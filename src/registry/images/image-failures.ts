import { Digest } from '../../domain/digest.js';
import { type ImageIdentifier, isTag } from '../../domain/image-reference.js';
import type { ImageFailure, ImageFailureCode } from './image.js';

const REASONS: Record<ImageFailureCode, string> = {
  MissingDigestAndTag: 'Invalid request parameters: both tag and digest cannot be null',
  InvalidImageDigest:
    "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
  InvalidImageTag: "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9-_.]+'",
  ImageNotFound: 'Requested image not found',
  ImageTagDoesNotMatchDigest: 'Requested image tag does not match the requested image digest',
  ImageReferencedByManifestList: 'Requested image referenced by manifest list',
};

/** One failed entry of a batch, in ECR's words. */
export function imageFailure(
  image: ImageIdentifier,
  code: ImageFailureCode,
  parents?: string[],
): ImageFailure {
  return { image, code, reason: parents ? `${REASONS[code]}: [${parents.join(', ')}]` : REASONS[code] };
}

/** What is wrong with an identifier before anything is looked up; null when nothing is. */
export function identifierFault(identifier: ImageIdentifier): ImageFailure | null {
  const { digest, tag } = identifier;
  if (digest === undefined && tag === undefined) return imageFailure(identifier, 'MissingDigestAndTag');
  if (digest !== undefined && !/^[a-zA-Z0-9\-_+.]+:[a-fA-F0-9]+$/.test(digest))
    return imageFailure(identifier, 'InvalidImageDigest');
  if (tag !== undefined && !isTag(tag)) return imageFailure(identifier, 'InvalidImageTag');
  if (digest !== undefined && !Digest.parse(digest)) return imageFailure(identifier, 'ImageNotFound');
  return null;
}
