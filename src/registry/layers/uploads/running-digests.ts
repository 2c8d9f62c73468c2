import { createHash, type Hash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';

/** Hashed in a millisecond or less. */
const TURN_BYTES = 1024 * 1024;

/** SHA-256 of all bytes up to an offset, and SHA-512 where a client asked for it. Node cannot export such a state, only copy it. */
export class RunningDigest {
  private constructor(
    readonly offset: number,
    private readonly sha256: Hash,
    private readonly sha512: Hash | null,
  ) {}

  static start(withSha512: boolean): RunningDigest {
    return new RunningDigest(0, createHash('sha256'), withSha512 ? createHash('sha512') : null);
  }

  /** A copy to feed; the original stays what it was if the request fails. */
  fork(): DigestFeed {
    return new DigestFeed(
      this.offset,
      this.sha256.copy(),
      this.sha512?.copy() ?? null,
      (offset, sha256, sha512) => new RunningDigest(offset, sha256, sha512),
    );
  }
}

/** One request's continuation of a {@link RunningDigest}. */
export class DigestFeed {
  constructor(
    private offset: number,
    private readonly sha256: Hash,
    private readonly sha512: Hash | null,
    private readonly freeze: (offset: number, sha256: Hash, sha512: Hash | null) => RunningDigest,
  ) {}

  update(bytes: Buffer): void {
    this.offset += bytes.length;
    this.sha256.update(bytes);
    this.sha512?.update(bytes);
  }

  /** The same for many bytes at once, in turns with others: they are on their way to the store meanwhile. */
  async updateAside(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; at += TURN_BYTES) {
      this.update(bytes.subarray(at, at + TURN_BYTES));
      await turn();
    }
  }

  /** Hex digests of all bytes so far; the state goes on. */
  digests(): { sha256: string; sha512: string | null } {
    return { sha256: this.sha256.copy().digest('hex'), sha512: this.sha512?.copy().digest('hex') ?? null };
  }

  frozen(): RunningDigest {
    return this.freeze(this.offset, this.sha256, this.sha512);
  }
}

/**
 * Hash states of sessions this process appended to last. Only a saving: a session that is not here, or here at another
 * offset, is hashed again from the store when it completes.
 */
export class RunningDigests {
  private readonly states = new Map<string, RunningDigest>();

  constructor(private readonly capacity = 10_000) {}

  /** The state at exactly this offset, or null. */
  at(uploadId: string, offset: number, withSha512: boolean): RunningDigest | null {
    if (offset === 0) return RunningDigest.start(withSha512);
    const state = this.states.get(uploadId);
    return state?.offset === offset ? state : null;
  }

  keep(uploadId: string, state: RunningDigest): void {
    this.states.delete(uploadId);
    this.states.set(uploadId, state);
    if (this.states.size > this.capacity) this.states.delete(this.states.keys().next().value!);
  }

  forget(uploadId: string): void {
    this.states.delete(uploadId);
  }
}
