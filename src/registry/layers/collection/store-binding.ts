import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { BLOB_STORE, type BlobStore } from '../../../blob-store/blob-store.js';
import { RECORDS } from '../../../blob-store/named-objects.js';
import { faultPoint } from '../../../observability/fault-points.js';
import { StoreBindingRepository } from './store-binding.repository.js';

/** Database and store do not belong together. */
export class StoreBindingError extends Error {
  override readonly name = 'StoreBindingError';
}

/**
 * Refuses to start on a store that does not hold the layers of this database: with another bucket or an empty data folder
 * every pull would fail, and every push of a known layer would be acknowledged without its bytes. And on a store full of
 * layers that the database does not know: the collector would take them all for leftovers, and the copy of the records would be written over.
 */
@Injectable()
export class StoreBinding implements OnModuleInit {
  constructor(
    private readonly binding: StoreBindingRepository,
    @Inject(BLOB_STORE) private readonly store: BlobStore,
  ) {}

  /** Whether the store still carries the name of this database's: an unmounted disk looks like an empty one. */
  async isThere(): Promise<boolean> {
    return (await this.store.identity()) === (await this.binding.identity());
  }

  async onModuleInit(): Promise<void> {
    const expected = await this.binding.identity();
    const before = await this.store.identity();
    if (before === expected) return;
    const refusal = await this.refusal();
    // Another replica may have named the store a moment ago, and taken a layer since.
    const found = await this.store.identity();
    if (found === expected) return;
    if (refusal) throw new StoreBindingError(refusal(found));
    faultPoint('store-named');
    if (found === null) await this.store.identify(expected);
    else await this.binding.adopt(found);
  }

  private async refusal(): Promise<((found: string | null) => string) | null> {
    if (await this.binding.knowsLayers())
      return (found) =>
        found === null
          ? 'The database knows layers, but the configured blob store is empty. Check STOWAGE_DATA_DIR and STOWAGE_S3_BUCKET.'
          : 'The configured blob store belongs to another database. Check STOWAGE_DATA_DIR, STOWAGE_S3_BUCKET and DATABASE_URL.';
    if (await this.isUsed())
      return () =>
        'The configured blob store holds layers or records, but the database knows none. Check DATABASE_URL, STOWAGE_DATA_DIR and ' +
        'STOWAGE_S3_BUCKET; a new database needs an empty store. If the database was lost, run "npm run rebuild" or restore a backup.';
    return null;
  }

  private async isUsed(): Promise<boolean> {
    for await (const _ of this.store.objects()) return true;
    for await (const _ of this.store.named.list(RECORDS)) return true;
    return false;
  }
}
