import type { ImageIdentifier } from '../../domain/image-reference.js';

/** A stored image with its exact bytes. */
export interface StoredImage {
  id: bigint;
  digest: string;
  manifest: Buffer;
  mediaType: string;
  lastPulledAt: Date | null;
}

/** What DescribeImages tells of one. */
export interface ImageDetail {
  id: bigint;
  digest: string;
  /** In tagging order. */
  tags: string[];
  mediaType: string;
  artifactType: string | null;
  subjectDigest: string | null;
  sizeBytes: number;
  pushedAt: Date;
  lastPulledAt: Date | null;
}

export interface Referrer {
  id: bigint;
  digest: string;
  mediaType: string;
  artifactType: string | null;
  annotations: Record<string, string> | null;
  /** Of the manifest, in bytes. */
  size: number;
}

/** ECR's codes for one entry of a batch. */
export type ImageFailureCode =
  | 'MissingDigestAndTag'
  | 'InvalidImageDigest'
  | 'InvalidImageTag'
  | 'ImageNotFound'
  | 'ImageTagDoesNotMatchDigest'
  | 'ImageReferencedByManifestList';

export interface ImageFailure {
  image: ImageIdentifier;
  code: ImageFailureCode;
  reason: string;
}

export type TagStatus = 'TAGGED' | 'UNTAGGED' | 'ANY';
