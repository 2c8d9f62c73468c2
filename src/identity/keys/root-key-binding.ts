import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { deriveKey } from './key-derivation.js';
import { RootKey } from './root-key.js';
import { type AcceptedRootKey, RootKeyRepository } from './root-key.repository.js';

/** This process was given another root key than the others on its database. */
export class RootKeyError extends Error {
  override readonly name = 'RootKeyError';
}

/**
 * Refuses to serve with another root key than the other processes of the deployment: signatures, login tokens, page tokens
 * and download URLs of one would be refused by the next, whichever a balancer happens to choose. The database holds a
 * fingerprint of the key, from which nothing leads back to it; the first process to start leaves its own.
 */
@Injectable()
export class RootKeyBinding implements OnModuleInit {
  readonly fingerprint: string;

  constructor(
    private readonly rootKey: RootKey,
    private readonly rootKeys: RootKeyRepository,
    @Inject(CONFIG) private readonly config: Config,
  ) {
    this.fingerprint = fingerprintOf(rootKey);
  }

  async onModuleInit(): Promise<void> {
    // Commands sign nothing, and one of them is there to change the key.
    if (!this.config.serves) return;
    let accepted = await this.rootKeys.accepted();
    if (accepted.length === 0) accepted = await this.rootKeys.acceptFirst(this.row());
    if (!this.isAmong(accepted)) throw new RootKeyError(this.refusal(accepted));
  }

  async accepted(): Promise<AcceptedRootKey[]> {
    return this.rootKeys.accepted();
  }

  /** Whether a process with the key of this one would be let in. */
  isAmong(accepted: AcceptedRootKey[]): boolean {
    return accepted.some(({ fingerprint }) => fingerprint === this.fingerprint);
  }

  /** From now on, processes that start need the key of this one. Those that run are not told. */
  async acceptOnly(): Promise<void> {
    await this.rootKeys.acceptOnly(this.row());
  }

  /** Where the key of this process comes from, for people. */
  get source(): string {
    return this.config.rootKey
      ? 'STOWAGE_ROOT_ACCESS_KEY_ID and STOWAGE_ROOT_SECRET_ACCESS_KEY'
      : join(this.config.dataDir, 'credentials');
  }

  private row(): Pick<AcceptedRootKey, 'fingerprint' | 'accessKeyId'> {
    return { fingerprint: this.fingerprint, accessKeyId: this.rootKey.accessKeyId };
  }

  private refusal(accepted: AcceptedRootKey[]): string {
    const { accessKeyId } = this.rootKey;
    const ids = accepted.map((key) => key.accessKeyId);
    const difference = ids.includes(accessKeyId)
      ? `the same access key id, ${accessKeyId}, but another secret`
      : `the access key id ${ids.join(' or ')}, and this process was given ${accessKeyId}`;
    return (
      `This database is used with another root key: ${difference}. All processes of a deployment need the same one, or ` +
      `they would refuse each other's tokens. Check ${this.source}; to change the key on purpose, stop all processes and ` +
      'run "npm run root-key -- --accept" with the new one.'
    );
  }
}

function fingerprintOf({ accessKeyId, secretAccessKey }: RootKey): string {
  return createHmac('sha256', deriveKey(secretAccessKey, 'root-key-fingerprint'))
    .update(accessKeyId)
    .digest('hex');
}
