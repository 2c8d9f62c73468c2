import { Injectable } from '@nestjs/common';
import { RegistryError } from '../domain/registry-error.js';
import { deriveKey } from './keys/key-derivation.js';
import { openText, sealText } from './keys/sealed-text.js';
import { RootKey } from './keys/root-key.js';

/** `nextToken` of listings: where to go on, sealed so that clients can neither read it nor make one up. */
@Injectable()
export class PageTokens {
  readonly #key: Buffer;

  constructor(rootKey: RootKey) {
    this.#key = deriveKey(rootKey.secretAccessKey, 'page-token');
  }

  /**
   * @param scope what the token is good for: operation, registry, repository and filter of the listing
   * @param key anything JSON keeps
   */
  seal(scope: string, key: unknown): string {
    return sealText(this.#key, JSON.stringify(key), scope);
  }

  /** @throws RegistryError InvalidParameter when the token was not sealed for this scope */
  open(scope: string, token: string): unknown {
    const text = openText(this.#key, token, scope);
    if (text === null) {
      throw RegistryError.invalidParameter(
        'nextToken',
        'must be a token that the same request returned before',
      );
    }
    return JSON.parse(text) as unknown;
  }
}
