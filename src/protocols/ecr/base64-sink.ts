import { crc32 } from 'node:zlib';

/**
 * Characters decoded at once. Longer texts land in V8's large-object space, where the decoder measured ten times slower.
 * A multiple of four, so that every slice is whole quanta.
 */
const SLICE = 64 * 1024;

const MINUS = 0x2d;
const EQUALS = 0x3d;
const UNDERSCORE = 0x5f;

export type Base64Fault = 'malformed' | 'too large';

/**
 * Decodes base64 that arrives in pieces into one preallocated buffer and sums them up on the way. Strict: the
 * standard alphabet of RFC 4648, section 4, with its padding and nothing else. After a fault it only swallows.
 */
export class Base64Sink {
  private readonly out: Buffer;
  private sum = 0;
  private length = 0;
  /** Up to three characters of a quantum that is not complete yet. */
  private carry = '';
  private padding = 0;
  private found: Base64Fault | null = null;

  /** @param capacity most decoded bytes */
  constructor(capacity: number) {
    // Not zeroed, and no page of it is touched before it is written, so a generous capacity costs nothing.
    this.out = Buffer.allocUnsafeSlow(capacity);
  }

  get fault(): Base64Fault | null {
    return this.found;
  }

  write(text: Buffer): void {
    if (this.found !== null || text.length === 0) return;
    if (this.padding > 0) return this.pad(text);
    const equals = text.indexOf(EQUALS);
    const characters = equals === -1 ? text : text.subarray(0, equals);
    // Node reads the URL-safe alphabet as well; everything else it skips, which shows in the decoded length.
    if (characters.includes(MINUS) || characters.includes(UNDERSCORE)) this.found = 'malformed';
    else this.decode(characters);
    if (equals !== -1) this.pad(text.subarray(equals));
  }

  /** @returns the decoded bytes and their CRC-32, or null when there is a fault */
  finish(): { bytes: Buffer; crc32: number } | null {
    const characters = this.carry.length;
    if (this.found === null && (characters === 1 || this.padding !== (4 - characters) % 4))
      this.found = 'malformed';
    if (this.found === null && characters > 0) this.decodeText(this.carry, characters - 1);
    if (this.found !== null) return null;
    return { bytes: this.out.subarray(0, this.length), crc32: this.sum };
  }

  private decode(characters: Buffer): void {
    let start = 0;
    if (this.carry !== '') {
      start = Math.min(4 - this.carry.length, characters.length);
      this.carry += characters.toString('latin1', 0, start);
      if (this.carry.length < 4) return;
      this.decodeText(this.carry, 3);
      this.carry = '';
    }
    const end = characters.length - ((characters.length - start) % 4);
    for (let from = start; from < end && this.found === null; from += SLICE) {
      const to = Math.min(from + SLICE, end);
      this.decodeText(characters.toString('latin1', from, to), ((to - from) / 4) * 3);
    }
    this.carry = characters.toString('latin1', end);
  }

  private decodeText(text: string, bytes: number): void {
    if (this.length + bytes > this.out.length) {
      this.found = 'too large';
      return;
    }
    if (this.out.write(text, this.length, 'base64') !== bytes) {
      this.found = 'malformed';
      return;
    }
    this.sum = crc32(this.out.subarray(this.length, this.length + bytes), this.sum);
    this.length += bytes;
  }

  private pad(text: Buffer): void {
    this.padding += text.length;
    if (this.padding > 2 || text.some((byte) => byte !== EQUALS)) this.found = 'malformed';
  }
}
