import { createHash } from 'node:crypto';
import { Inject, Injectable, Logger } from '@nestjs/common';
import { BLOB_STORE, BlobMissing, type BlobStore } from '../../blob-store/blob-store.js';
import { StoreBinding } from '../layers/collection/store-binding.js';
import { IntegrityRepository, type RecordedBlob } from './integrity.repository.js';
import type { Pace } from '../../jobs/pace.js';

/** What a layer's object turned out to be. */
export type Verdict =
  | { outcome: 'whole' }
  /** The row is gone, or names another object by now: it is somebody else's business. */
  | { outcome: 'changed' }
  | { outcome: 'missing' }
  | { outcome: 'wrong'; sizeBytes: number; sha256: string }
  /** The store answers, but not with this object. */
  | { outcome: 'unreadable'; error: Error };

type Look = Exclude<Verdict, { outcome: 'changed' }>;

/** Nothing can be said of any layer while this is so. */
export class StoreUnavailable extends Error {
  constructor(options?: ErrorOptions) {
    super(
      'The blob store does not answer, or is not the one that holds the layers of this database',
      options,
    );
    this.name = 'StoreUnavailable';
  }
}

/**
 * Reads objects and compares them with their records. It believes no bad news before it has heard them twice, from a store that
 * answers and still carries the name of this database's store: an unmounted disk looks empty, and a deleted bucket too.
 */
@Injectable()
export class ObjectVerifier {
  private readonly logger = new Logger(ObjectVerifier.name);

  constructor(
    @Inject(BLOB_STORE) private readonly store: BlobStore,
    private readonly blobs: IntegrityRepository,
    private readonly binding: StoreBinding,
  ) {}

  /** Hashes all bytes of the layer. @throws StoreUnavailable, AbortError */
  async verify(blob: RecordedBlob, pace: Pace, signal: AbortSignal): Promise<Verdict> {
    const first = await this.look(blob, pace, signal);
    if (first.outcome === 'whole') return first;
    await this.requireStore();
    const second = await this.look(blob, pace, signal);
    if (second.outcome === 'whole') {
      const msg = 'A layer was not as recorded at a first look, and was at the second';
      this.logger.warn({ msg, digest: `sha256:${blob.sha256}`, first: first.outcome });
      return second;
    }
    await this.requireStore();
    return (await this.stillNames(blob)) ? second : { outcome: 'changed' };
  }

  /** The same by the object's size alone. @throws StoreUnavailable */
  async verifySize(
    blob: RecordedBlob,
  ): Promise<'as-recorded' | 'changed' | 'missing' | { sizeBytes: number }> {
    const found = await this.store.find(blob.objectKey).catch(unavailable);
    if (found?.sizeBytes === blob.sizeBytes) return 'as-recorded';
    await this.requireStore();
    if (!(await this.stillNames(blob))) return 'changed';
    return found ? { sizeBytes: found.sizeBytes } : 'missing';
  }

  /** @throws StoreUnavailable */
  async requireStore(): Promise<void> {
    await this.store.check().catch(unavailable);
    if (!(await this.binding.isThere().catch(unavailable))) throw new StoreUnavailable();
  }

  private async look(blob: RecordedBlob, pace: Pace, signal: AbortSignal): Promise<Look> {
    const sha256 = createHash('sha256');
    const sha512 = blob.sha512 === null ? null : createHash('sha512');
    let sizeBytes = 0;
    try {
      for await (const chunk of await this.store.read(blob.objectKey)) {
        const bytes = chunk as Buffer;
        sizeBytes += bytes.length;
        sha256.update(bytes);
        sha512?.update(bytes);
        await pace.keep(bytes.length, signal);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof BlobMissing) return { outcome: 'missing' };
      return { outcome: 'unreadable', error: error instanceof Error ? error : new Error(String(error)) };
    }
    const found = sha256.digest('hex');
    const whole = found === blob.sha256 && (sha512?.digest('hex') ?? null) === blob.sha512;
    return whole && sizeBytes === blob.sizeBytes
      ? { outcome: 'whole' }
      : { outcome: 'wrong', sizeBytes, sha256: found };
  }

  /** To be asked after the look at the store: an object goes only when its row is gone or names another one. */
  private async stillNames(blob: RecordedBlob): Promise<boolean> {
    return (await this.blobs.find(blob.id))?.objectKey === blob.objectKey;
  }
}

function unavailable(cause: unknown): never {
  throw new StoreUnavailable({ cause });
}
