import { Inject, Injectable, Logger } from '@nestjs/common';
import { BLOB_STORE, type BlobStore, type StagedBlob } from '../../../blob-store/blob-store.js';
import { CollectionMetrics } from './collection-metrics.js';

/** So many failures in a row are the store's, not the objects'. */
const SICK_AFTER = 3;

/** Takes bytes out of the store. What cannot be removed now stands in nobody's way. */
@Injectable()
export class ObjectRemoval {
  private readonly logger = new Logger(ObjectRemoval.name);

  constructor(
    @Inject(BLOB_STORE) private readonly store: BlobStore,
    private readonly metrics: CollectionMetrics,
  ) {}

  /** @returns the keys that are gone now, whoever removed them */
  async remove(keys: string[]): Promise<Set<string>> {
    if (keys.length === 0) return new Set();
    try {
      await this.store.remove(keys);
      return new Set(keys);
    } catch (error) {
      if (keys.length === 1) {
        this.failed(1, error);
        return new Set();
      }
    }
    return this.each(keys, (key) => this.store.remove([key]));
  }

  /** @returns the unfinished objects that are gone now */
  async discard(staged: StagedBlob[]): Promise<Set<StagedBlob>> {
    return this.each(staged, (one) => this.store.discard(one));
  }

  private async each<Item>(items: Item[], remove: (item: Item) => Promise<void>): Promise<Set<Item>> {
    const gone = new Set<Item>();
    let failedInARow = 0;
    for (const item of items) {
      try {
        await remove(item);
        gone.add(item);
        failedInARow = 0;
      } catch (error) {
        failedInARow += 1;
        this.failed(1, error);
        if (failedInARow === SICK_AFTER) break;
      }
    }
    return gone;
  }

  private failed(count: number, error: unknown): void {
    this.metrics.failedRemovals.inc(count);
    this.logger.warn({ msg: 'The store did not remove an object; it is tried again later', err: error });
  }
}
