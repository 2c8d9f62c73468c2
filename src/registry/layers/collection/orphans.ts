import { Inject, Injectable } from '@nestjs/common';
import {
  BLOB_STORE,
  type BlobStore,
  type StoredObject,
  type UnfinishedObject,
} from '../../../blob-store/blob-store.js';
import { CONFIG, type Config } from '../../../config/config.js';
import { CollectionRepository } from './collection.repository.js';

/** Objects looked up in one query. */
const BATCH = 500;

/** What a crash left in the store without a row. Found by a walk over the store, which a stop of the walk costs nothing. */
@Injectable()
export class Orphans {
  private readonly graceMs: number;

  constructor(
    private readonly collection: CollectionRepository,
    @Inject(BLOB_STORE) private readonly store: BlobStore,
    @Inject(CONFIG) config: Config,
  ) {
    // An upload may write for as long as it may live before a row names its bytes.
    this.graceMs =
      Math.max(config.STOWAGE_ORPHAN_GRACE_HOURS, config.STOWAGE_UPLOAD_EXPIRY_HOURS) * 3_600_000;
  }

  /** Objects past the grace time, in batches; most of them have a row. */
  oldObjects(): AsyncGenerator<StoredObject[]> {
    return oldOnes(this.store.objects(), ({ modifiedAt }) => modifiedAt, this.before());
  }

  /** Unfinished uploads of the store past the grace time, in batches; some of them have a row. */
  oldUnfinished(): AsyncGenerator<UnfinishedObject[]> {
    return oldOnes(this.store.unfinished(), ({ startedAt }) => startedAt, this.before());
  }

  /** Those no row speaks of. */
  async unknownObjects(objects: StoredObject[]): Promise<StoredObject[]> {
    const known = await this.collection.knownKeys(objects.map(({ key }) => key));
    return objects.filter(({ key }) => !known.has(key));
  }

  /** Those no open upload writes to. */
  async unknownUnfinished(unfinished: UnfinishedObject[]): Promise<UnfinishedObject[]> {
    const live = await this.collection.stagedAt(unfinished.map(({ staged }) => String(staged['key'])));
    return unfinished.filter(({ staged }) => !live.some((other) => this.store.sameUnfinished(staged, other)));
  }

  private before(): Date {
    return new Date(Date.now() - this.graceMs);
  }
}

async function* oldOnes<Item>(
  items: AsyncIterable<Item>,
  timeOf: (item: Item) => Date,
  before: Date,
): AsyncGenerator<Item[]> {
  let batch: Item[] = [];
  for await (const item of items) {
    if (timeOf(item) >= before) continue;
    batch.push(item);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
