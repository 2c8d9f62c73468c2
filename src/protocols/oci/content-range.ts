import type { ByteRange } from '../../domain/byte-range.js';
import { RegistryError } from '../../domain/registry-error.js';

/**
 * The place of an upload chunk. The distribution specification writes `<first>-<last>`; `bytes <first>-<last>/<size>`,
 * the form of RFC 9110, is what HTTP libraries produce and means the same.
 * @returns null when the request carries no `Content-Range`: the chunk continues where the upload stands
 * @throws RegistryError RangeInvalid
 */
export function contentRange(header: string | undefined): ByteRange | null {
  if (header === undefined) return null;
  const match = /^(?:bytes[ \t]+)?(\d{1,16})-(\d{1,16})(?:\/(\d{1,16}|\*))?$/i.exec(header.trim());
  if (!match) throw rangeInvalid('Content-Range must have the form <first byte>-<last byte>');
  const [first, last] = [Number(match[1]), Number(match[2])];
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last))
    throw rangeInvalid('Content-Range is out of bounds');
  if (last < first) throw rangeInvalid('The last byte of Content-Range is before its first byte');
  if (match[3] !== undefined && match[3] !== '*' && Number(match[3]) <= last) {
    throw rangeInvalid('Content-Range ends after the size it announces');
  }
  return { first, last };
}

function rangeInvalid(message: string): RegistryError {
  return new RegistryError('RangeInvalid', message);
}
