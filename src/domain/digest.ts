import { RegistryError } from './registry-error.js';

/** Content digest algorithms the registry stores and verifies. */
export type DigestAlgorithm = 'sha256' | 'sha512';

const HEX_LENGTH: Record<DigestAlgorithm, number> = { sha256: 64, sha512: 128 };

/** A content digest `algorithm:hex`, lower-case hex, as the OCI image specification writes it. */
export class Digest {
  private constructor(
    readonly algorithm: DigestAlgorithm,
    readonly hex: string,
  ) {}

  /** @returns the digest, or null when the text is not one the registry can verify. */
  static parse(text: string): Digest | null {
    const colon = text.indexOf(':');
    const algorithm = text.slice(0, colon);
    const hex = text.slice(colon + 1);
    if (algorithm !== 'sha256' && algorithm !== 'sha512') return null;
    if (hex.length !== HEX_LENGTH[algorithm] || !/^[0-9a-f]+$/.test(hex)) return null;
    return new Digest(algorithm, hex);
  }

  /** @throws RegistryError DigestInvalid */
  static require(text: string): Digest {
    const digest = Digest.parse(text);
    if (!digest) throw RegistryError.digestInvalid(text);
    return digest;
  }

  static of(algorithm: DigestAlgorithm, hash: Uint8Array): Digest {
    return new Digest(algorithm, Buffer.from(hash).toString('hex'));
  }

  toString(): string {
    return `${this.algorithm}:${this.hex}`;
  }
}
