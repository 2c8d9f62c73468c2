import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import type { Principal } from '../caller.js';
import { RootKey } from './root-key.js';

export interface AccessKey {
  principal: Principal;
  secretAccessKey: string;
}

/** The access keys requests may be signed with. There is one so far: the root key. */
@Injectable()
export class AccessKeys {
  readonly #root: AccessKey;

  constructor(
    private readonly rootKey: RootKey,
    @Inject(CONFIG) config: Config,
  ) {
    const accountId = config.STOWAGE_ACCOUNT_ID;
    this.#root = {
      principal: { arn: rootArn(accountId), accountId, accessKeyId: rootKey.accessKeyId },
      secretAccessKey: rootKey.secretAccessKey,
    };
  }

  /**
   * @param sessionToken sent along with temporary credentials; none are issued, so a key that comes with one is unknown
   * @returns the key, or null when it is unknown
   */
  async find(accessKeyId: string, sessionToken?: string): Promise<AccessKey | null> {
    if (sessionToken !== undefined || accessKeyId !== this.rootKey.accessKeyId) return null;
    return this.#root;
  }
}

/** ARN of an account's root principal, as IAM writes it. */
export function rootArn(accountId: string): string {
  return `arn:aws:iam::${accountId}:root`;
}
