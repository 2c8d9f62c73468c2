import { hkdfSync } from 'node:crypto';

/** What a derived key is for. Keys of different purposes are independent, so nothing made for one passes as another. */
export type KeyPurpose = 'registry-token' | 'page-token' | 'signed-url' | 'root-key-fingerprint';

/**
 * A 32-byte key for one purpose, by HKDF-SHA-256 (RFC 5869) from the root secret. Every process given the same secret
 * derives the same keys, so replicas honour each other's tokens; a new secret invalidates all of them at once.
 */
export function deriveKey(rootSecret: string, purpose: KeyPurpose): Buffer {
  return Buffer.from(hkdfSync('sha256', rootSecret, 'stowage', `${purpose} v1`, 32));
}
