import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { BLOB_STORE, type BlobStore } from '../../../blob-store/blob-store.js';
import { faultPoint } from '../../../observability/fault-points.js';
import { StoreBindingRepository } from './store-binding.repository.js';

/**
 * Refuses to start on a store that does not hold the layers of this database: with another bucket or an empty data folder
 * every pull would fail, and every push of a known layer would be acknowledged without its bytes.
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
    const found = await this.store.identity();
    if (found === expected) return;
    if (await this.binding.knowsLayers()) {
      throw new Error(
        found === null
          ? 'The database knows layers, but the configured blob store is empty. Check STOWAGE_DATA_DIR and STOWAGE_S3_BUCKET.'
          : 'The configured blob store belongs to another database. Check STOWAGE_DATA_DIR, STOWAGE_S3_BUCKET and DATABASE_URL.',
      );
    }
    faultPoint('store-named');
    if (found === null) await this.store.identify(expected);
    else await this.binding.adopt(found);
  }
}
