/** What of an UploadLayerPart document is not the layer part, and therefore parsed as JSON afterwards. Bytes. */
const MAX_OTHER_BYTES = 64 * 1024;

const BLOB_MEMBER = 'layerPartBlob';

const QUOTE = 0x22;
const SLASH = 0x2f;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

export type ScanFault = 'malformed' | 'other members too large' | 'blob given twice';

/**
 * Finds the string value of the top-level member `layerPartBlob` in a JSON document that arrives in pieces, and passes its
 * characters on without ever holding them. Everything else is kept, with an empty string in the value's place; whether that
 * is JSON is for a JSON parser to say. So the scanner need only agree with the parser about documents that are valid: it
 * tracks strings, nesting and whose turn it is, key or value, in the outermost object.
 */
export class PartScanner {
  private other = Buffer.allocUnsafe(2048);
  private otherLength = 0;
  private found: ScanFault | null = null;
  private blobMembers = 0;
  private blobStarted = false;

  private place: 'between' | 'string' | 'blob' = 'between';
  /** 1 after a backslash, 2 to 5 within `\uXXXX`; 0 otherwise. */
  private escape = 0;
  private codePoint = 0;

  private depth = 0;
  private inObject = false;
  private keyNext = false;
  /** Where in `other` the key being read, or read last, begins and ends, without its quotes. */
  private keyStart = 0;
  private keyEnd = 0;
  /** The colon after the key `layerPartBlob` was the last token. */
  private blobNext = false;

  /** @param onBlob receives the value's characters, unescaped, one byte each; the buffer is only valid during the call */
  constructor(private readonly onBlob: (characters: Buffer) => void) {}

  get fault(): ScanFault | null {
    return this.found;
  }

  /** Whether the document has the member with a string value. */
  get hasBlob(): boolean {
    return this.blobStarted;
  }

  write(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.found === null) {
      at = this.place === 'blob' ? this.scanBlob(chunk, at) : this.scanOther(chunk, at);
    }
  }

  /** @returns the text of the document, an empty string in place of the blob */
  finish(): string {
    return this.other.toString('utf8', 0, this.otherLength);
  }

  /** @returns where to go on: the end of the chunk or the first character of the blob */
  private scanOther(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (!this.keep(byte) || this.found !== null) return chunk.length;
      if (this.place === 'string') this.inString(byte);
      else if (byte === QUOTE) {
        if (this.startString()) return at + 1;
      } else this.between(byte);
    }
    return chunk.length;
  }

  private inString(byte: number): void {
    if (this.escape > 0) this.escape = 0;
    else if (byte === BACKSLASH) this.escape = 1;
    else if (byte === QUOTE) this.endString();
  }

  /** @returns whether it is the blob that starts */
  private startString(): boolean {
    const blob = this.blobNext;
    this.blobNext = false;
    this.place = blob ? 'blob' : 'string';
    if (blob) this.blobStarted = true;
    if (this.isKey()) this.keyStart = this.otherLength;
    return blob;
  }

  private endString(): void {
    this.place = 'between';
    if (!this.isKey()) return;
    this.keyNext = false;
    this.keyEnd = this.otherLength - 1;
  }

  private isKey(): boolean {
    return this.depth === 1 && this.inObject && this.keyNext;
  }

  private between(byte: number): void {
    switch (byte) {
      case 0x20:
      case 0x09:
      case 0x0a:
      case 0x0d:
        return;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (++this.depth === 1) this.keyNext = this.inObject = byte === OPEN_BRACE;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        this.depth--;
        break;
      case COMMA:
        if (this.depth === 1) this.keyNext = this.inObject;
        break;
      case COLON:
        this.blobNext = this.depth === 1 && this.inObject && this.keyIsBlob();
        if (this.blobNext && ++this.blobMembers > 1) this.found = 'blob given twice';
        return;
    }
    this.blobNext = false;
  }

  private keyIsBlob(): boolean {
    const key = this.other.toString('latin1', this.keyStart, this.keyEnd);
    if (!key.includes('\\')) return key === BLOB_MEMBER;
    try {
      return JSON.parse(`"${key}"`) === BLOB_MEMBER;
    } catch {
      return false;
    }
  }

  /** @returns where to go on: the end of the chunk or the byte after the closing quote */
  private scanBlob(chunk: Buffer, from: number): number {
    const quote = this.escape === 1 ? -1 : chunk.indexOf(QUOTE, from);
    const end = quote === -1 ? chunk.length : quote;
    const piece = chunk.subarray(from, end);
    // Almost every client writes base64 without escapes; then the chunk is passed on as it is.
    if (this.escape === 0 && !piece.includes(BACKSLASH)) {
      this.onBlob(piece);
      return quote === -1 ? end : this.endBlob(end);
    }
    return this.scanEscapedBlob(chunk, from);
  }

  private scanEscapedBlob(chunk: Buffer, from: number): number {
    const plain = Buffer.allocUnsafe(chunk.length - from);
    let length = 0;
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (this.escape === 0) {
        if (byte === QUOTE) {
          this.onBlob(plain.subarray(0, length));
          return this.endBlob(at);
        }
        if (byte !== BACKSLASH) plain[length++] = byte;
        else if (chunk[at + 1] === SLASH) plain[length++] = chunk[++at]!;
        else this.escape = 1;
      } else {
        const character = this.unescape(byte);
        if (this.found !== null) return chunk.length;
        if (character !== null) plain[length++] = character;
      }
    }
    this.onBlob(plain.subarray(0, length));
    return chunk.length;
  }

  private endBlob(quoteAt: number): number {
    this.place = 'between';
    return this.keep(QUOTE) ? quoteAt + 1 : quoteAt;
  }

  /**
   * PHP escapes the slash, others may write any character as `\uXXXX`. The escapes of quote, backslash and control
   * characters are JSON, too, but never base64.
   * @returns the character meant, or null while it is incomplete
   */
  private unescape(byte: number): number | null {
    if (this.escape === 1) {
      this.escape = 0;
      if (byte === SLASH) return byte;
      if (byte !== 0x75) return this.malformed();
      this.escape = 2;
      this.codePoint = 0;
      return null;
    }
    const digit = hexDigit(byte);
    if (digit === -1) return this.malformed();
    this.codePoint = this.codePoint * 16 + digit;
    if (++this.escape < 6) return null;
    this.escape = 0;
    return this.codePoint < 0x80 ? this.codePoint : this.malformed();
  }

  private malformed(): null {
    this.found = 'malformed';
    return null;
  }

  private keep(byte: number): boolean {
    if (this.otherLength === this.other.length) {
      if (this.otherLength >= MAX_OTHER_BYTES) {
        this.found = 'other members too large';
        return false;
      }
      this.other = Buffer.concat([this.other, Buffer.allocUnsafe(this.other.length)]);
    }
    this.other[this.otherLength++] = byte;
    return true;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
