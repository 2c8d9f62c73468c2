import { randomUUID } from 'node:crypto';
import type { StagedBlob } from '../../../blob-store/blob-store.js';
import type { ByteRange } from '../../../domain/byte-range.js';
import { RegistryError, type UploadPosition } from '../../../domain/registry-error.js';
import type { Repository } from '../../repositories/repository.js';

/** ECR's minimum for every part but the last. Bytes. */
export const MIN_LAYER_PART_BYTES = 5 * 1024 * 1024;
/** What InitiateLayerUpload asks for, as the observed service does. Bytes. */
export const PART_SIZE = 10 * 1024 * 1024;
/** A lease is renewed while bytes flow; after so long without renewal its holder is taken for dead. */
export const LEASE_SECONDS = 15;

const UPLOAD_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUploadId(text: string): boolean {
  return UPLOAD_ID.test(text);
}

/** An upload session as its row stands, held under a lease by this request. */
export interface Upload {
  id: string;
  repositoryId: bigint;
  /** Bytes durable and acknowledged; also the next byte expected. */
  offsetBytes: number;
  staged: StagedBlob | null;
  tailBytes: number;
  sha256SoFar: string | null;
  sha512SoFar: string | null;
  wantsSha512: boolean;
  partCount: number;
  smallestInnerPart: number | null;
  lastPartBytes: number | null;
  /** Proves the right to change the row; null once a recorded change gave it back. */
  lease: string | null;
}

/** A finished upload, as long as its row is kept. */
export interface CompletedUpload {
  sha256: string;
  sha512: string | null;
}

/** The facts ECR's InvalidLayerPartException carries. */
export function positionOf(
  repository: Repository,
  upload: Pick<Upload, 'id' | 'offsetBytes'>,
): UploadPosition {
  const position: UploadPosition = {
    registryId: repository.registry.accountId,
    repositoryName: repository.name,
    uploadId: upload.id,
  };
  // While nothing was accepted there is no last valid byte; the model allows no negative one.
  if (upload.offsetBytes > 0) position.lastValidByteReceived = upload.offsetBytes - 1;
  return position;
}

export function newUploadId(): string {
  return randomUUID();
}

/** @throws RegistryError InvalidLayerPart unless the range, if there is one, begins at the next byte */
export function assertNext(repository: Repository, upload: Upload, range: ByteRange | undefined): void {
  if (range && range.first !== upload.offsetBytes)
    throw RegistryError.notTheNextByte(range.first, positionOf(repository, upload));
}

/** Staged state of an upload whose bytes are one finished object already; only a completion with the right digest is missing. */
export type CommittedObject = { committed: string; sizeBytes: number };

export function isCommitted(staged: StagedBlob | null): staged is CommittedObject {
  return typeof staged?.['committed'] === 'string';
}
