import { createHash } from 'node:crypto';
import type { RegistryError } from '../../domain/registry-error.js';

/** The bytes of an UploadLayerPart, decoded while they were read. */
export interface LayerPart {
  bytes: Buffer;
  /** CRC-32 of {@link bytes}. */
  crc32: number;
}

/** What `request.body` is at the ECR door. */
export interface EcrBody {
  /** SHA-256 of the body as received, lower-case hex: the payload hash of the signature. */
  payloadSha256: string;
  /** The parsed JSON document; of an UploadLayerPart with its decoded bytes in place of the text. */
  document: unknown;
  /** Why there is no document. Thrown by the input pipe, after the caller has been authenticated. */
  fault?: RegistryError;
  layerPart?: LayerPart;
}

/** The body of a request without one: an input with no members. */
export function emptyEcrBody(): EcrBody {
  return { payloadSha256: createHash('sha256').digest('hex'), document: {} };
}

export function isEcrBody(value: unknown): value is EcrBody {
  return typeof value === 'object' && value !== null && 'payloadSha256' in value && 'document' in value;
}
