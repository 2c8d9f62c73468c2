import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { ByteBudget, Reservation } from '../../blob-store/byte-budget.js';
import { RegistryError } from '../../domain/registry-error.js';
import { readIntoMemory } from '../read-body.js';
import { frontEndError } from '../wire-error.js';
import { Base64Sink } from './base64-sink.js';
import type { EcrBody } from './ecr-body.js';
import { phraseOf } from './constraint-phrases.js';
import { PartScanner, type ScanFault } from './part-scanner.js';
import { notBase64, serialization } from './read-input.js';

/** Most decoded bytes of one part (LayerPartBlob of the API model). */
export const MAX_PART_BYTES = 20_971_520;

/**
 * Most bytes of the whole document: a part of the greatest size in base64 with every character escaped as PHP escapes the
 * slash, and some room for the other members.
 */
export const MAX_PART_BODY_BYTES = 64 * 1024 * 1024;

/**
 * Reads the body of an UploadLayerPart in one pass over the socket's chunks: hashes the body, decodes the part and sums
 * the decoded bytes up. The text of the part is never held, so a part costs its own size in memory and nothing more; room for
 * that is taken from the budget after the first few bytes.
 * @param contentLength bytes announced, or undefined for a chunked body
 * @returns the body, what is wrong with its content told as its `fault`, and the reservation, if the part is large enough for
 *   one, which the caller must release once the part is no longer needed
 * @throws RegistryError for a body that is too large or cut short, or the signal's reason; nothing is reserved then
 */
export async function readLayerPartBody(
  stream: Readable,
  contentLength: number | undefined,
  budget: ByteBudget,
  signal: AbortSignal,
): Promise<{ body: EcrBody; reservation: Reservation | null }> {
  if (contentLength !== undefined && contentLength > MAX_PART_BODY_BYTES)
    throw frontEndError('RequestEntityTooLarge');
  const capacity = Math.min(MAX_PART_BYTES, Math.floor(((contentLength ?? Infinity) * 3) / 4));
  const raw = createHash('sha256');
  let sink: Base64Sink | undefined;
  const scanner = new PartScanner((characters) => (sink ??= new Base64Sink(capacity)).write(characters));
  const reservation = await readIntoMemory(
    stream,
    { contentLength, limit: MAX_PART_BODY_BYTES, signal },
    { budget, bytes: capacity, perByte: 3 / 4 },
    (chunk) => {
      raw.update(chunk);
      scanner.write(chunk);
    },
  );
  const body = assemble(raw.digest('hex'), scanner, sink ?? new Base64Sink(0));
  reservation?.shrink(capacity - (body.layerPart?.bytes.length ?? 0));
  return { body, reservation };
}

function assemble(payloadSha256: string, scanner: PartScanner, sink: Base64Sink): EcrBody {
  if (scanner.fault) return { payloadSha256, document: undefined, fault: SCAN_FAULTS[scanner.fault]() };
  let document: unknown;
  try {
    document = JSON.parse(scanner.finish());
  } catch {
    return { payloadSha256, document: undefined, fault: serialization('The request body is not valid JSON') };
  }
  if (!scanner.hasBlob) return { payloadSha256, document };
  const part = sink.finish();
  if (part) {
    (document as Record<string, unknown>)['layerPartBlob'] = part.bytes;
    return { payloadSha256, document, layerPart: part };
  }
  // The names stay readable: who may do what is decided before anybody is told what is wrong with the part.
  return { payloadSha256, document, fault: sink.fault === 'too large' ? tooLarge() : notBase64() };
}

const SCAN_FAULTS: Readonly<Record<ScanFault, () => RegistryError>> = {
  malformed: notBase64,
  'blob given twice': () => serialization('The member layerPartBlob is given more than once'),
  'other members too large': () => frontEndError('RequestEntityTooLarge'),
};

function tooLarge(): RegistryError {
  return RegistryError.invalidParameter('layerPartBlob', phraseOf.tooLong('LayerPartBlob', MAX_PART_BYTES));
}
