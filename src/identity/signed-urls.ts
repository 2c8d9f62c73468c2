import { createHmac, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { deriveKey } from './keys/key-derivation.js';
import { decodeBase64Url } from './keys/sealed-text.js';
import { RootKey } from './keys/root-key.js';

const SIGNED = /^(.*[?&]expires=([0-9]{1,12}))&signature=([A-Za-z0-9_-]{43})$/;

/** Download URLs that need no other credential: whoever holds one may fetch that path until it expires. */
@Injectable()
export class SignedUrls {
  readonly #key: Buffer;

  constructor(rootKey: RootKey) {
    this.#key = deriveKey(rootKey.secretAccessKey, 'signed-url');
  }

  /**
   * @param path absolute path, with or without a query, percent-encoded as it goes over the wire
   * @returns the path with `expires` (epoch seconds) and `signature` in its query
   */
  sign(path: string, expiresInSeconds: number, now = new Date()): string {
    const expires = Math.floor(now.getTime() / 1000 + expiresInSeconds);
    const signed = `${path}${path.includes('?') ? '&' : '?'}expires=${expires}`;
    return `${signed}&signature=${this.mac(signed).toString('base64url')}`;
  }

  /**
   * @param url path and query exactly as on the wire (`request.originalUrl`); anything added to them is a change
   * @returns false when the URL was not signed here, was changed, or has expired
   */
  verify(url: string, now = new Date()): boolean {
    const match = SIGNED.exec(url);
    const signature = match && decodeBase64Url(match[3]!);
    if (!match || !signature || !timingSafeEqual(signature, this.mac(match[1]!))) return false;
    return now.getTime() < Number(match[2]) * 1000;
  }

  private mac(text: string): Buffer {
    return createHmac('sha256', this.#key).update(text).digest();
  }
}
