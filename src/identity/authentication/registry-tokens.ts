import { createSecretKey, type KeyObject } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { CONFIG, type Config } from '../../config/config.js';
import { RegistryError } from '../../domain/registry-error.js';
import { unrecognizedClient } from './signature-errors.js';
import type { Caller } from '../caller.js';
import { deriveKey } from '../keys/key-derivation.js';
import { openText, sealText } from '../keys/sealed-text.js';
import { RootKey } from '../keys/root-key.js';

/** The only user name of the OCI door. */
export const TOKEN_USER = 'AWS';

export interface RegistryToken {
  /** The password that goes with {@link TOKEN_USER}: base64url, so it holds no colon, quote or space. */
  password: string;
  expiresAt: Date;
}

const CONTEXT = 'registry token v1';
const MAX_PASSWORD_LENGTH = 4096;
/** Opened tokens remembered by one process. What a token says can never change; whether it still holds is asked every time. */
const MOST_OPENED = 2_000;

const Contents = z.object({
  principal: z.string(),
  accountId: z.string(),
  accessKeyId: z.string(),
  region: z.string(),
  /** Epoch seconds. */
  issuedAt: z.number(),
  expiresAt: z.number(),
});

/** Login tokens: the caller of GetAuthorizationToken, sealed so that the OCI door needs no database to know them again. */
@Injectable()
export class RegistryTokens {
  readonly #key: KeyObject;
  readonly #opened = new LRUCache<string, z.infer<typeof Contents>>({ max: MOST_OPENED });

  constructor(
    rootKey: RootKey,
    @Inject(CONFIG) private readonly config: Config,
  ) {
    this.#key = createSecretKey(deriveKey(rootKey.secretAccessKey, 'registry-token'));
  }

  /** A token for the caller's Region that lives STOWAGE_TOKEN_HOURS. */
  issue(caller: Caller, now = new Date()): RegistryToken {
    const { arn, accountId, accessKeyId } = caller.principal;
    const issuedAt = Math.floor(now.getTime() / 1000);
    const expiresAt = issuedAt + Math.round(this.config.STOWAGE_TOKEN_HOURS * 3600);
    const contents: z.infer<typeof Contents> = {
      principal: arn,
      accountId,
      accessKeyId,
      region: caller.region,
      issuedAt,
      expiresAt,
    };
    return {
      password: sealText(this.#key, JSON.stringify(contents), CONTEXT),
      expiresAt: new Date(expiresAt * 1000),
    };
  }

  /** @throws RegistryError UnrecognizedClient when it is no token of this registry, AccessDenied when it has expired */
  verify(password: string, now = new Date()): Caller {
    const { principal, accountId, accessKeyId, region, expiresAt } = this.open(password);
    if (now.getTime() >= expiresAt * 1000) {
      throw new RegistryError(
        'AccessDenied',
        'Your authorization token has expired. Reauthenticate and try again.',
      );
    }
    return { principal: { arn: principal, accountId, accessKeyId }, region };
  }

  private open(password: string): z.infer<typeof Contents> {
    const known = this.#opened.get(password);
    if (known) return known;
    const text = password.length <= MAX_PASSWORD_LENGTH ? openText(this.#key, password, CONTEXT) : null;
    if (text === null) throw unrecognizedClient();
    const contents = Contents.parse(JSON.parse(text));
    this.#opened.set(password, contents);
    return contents;
  }
}
