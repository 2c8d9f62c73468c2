import { Inject, Injectable, Logger } from '@nestjs/common';
import { BLOB_STORE, type BlobStore, type UnfinishedObject } from '../../../blob-store/blob-store.js';
import { CONFIG, type Config } from '../../../config/config.js';
import { ScheduledJob } from '../../../jobs/scheduled-job.decorator.js';
import { CollectionRepository } from './collection.repository.js';

/** Rows or objects handled between two looks at the stop signal. */
const BATCH = 500;

export interface Collected {
  expiredUploads: number;
  unseenBlobs: number;
  removedObjects: number;
}

export interface Swept {
  orphanedObjects: number;
  unfinishedObjects: number;
}

/**
 * Gives space back while the registry is used. The database decides first what nobody may reference any more; only then
 * bytes go. What a crash left in the store without a row is found by a slow walk over the store.
 */
@Injectable()
export class CollectionService {
  private readonly logger = new Logger(CollectionService.name);
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

  /** Expired uploads, blobs no repository sees, and everything doomed by other rules. */
  @ScheduledJob('collect-garbage', '*/5 * * * *')
  async collect(signal: AbortSignal): Promise<Collected> {
    const collected: Collected = {
      expiredUploads: await untilEmpty(signal, () => this.collection.expireUploads(BATCH)),
      unseenBlobs: await untilEmpty(signal, () => this.collection.dropUnseenBlobs(BATCH)),
      removedObjects: await untilEmpty(signal, () => this.removeDoomed()),
    };
    await untilEmpty(signal, () => this.collection.forgetFinishedUploads(BATCH));
    if (Object.values(collected).some((count) => count > 0))
      this.logger.log({ msg: 'Collected garbage', ...collected });
    return collected;
  }

  /** Objects and unfinished uploads in the store that no row speaks of, older than the grace time. */
  @ScheduledJob('sweep-orphans', '17 3 * * *')
  async sweep(signal: AbortSignal): Promise<Swept> {
    const before = new Date(Date.now() - this.graceMs);
    const swept: Swept = { orphanedObjects: 0, unfinishedObjects: 0 };
    for await (const keys of batches(oldObjects(this.store, before))) {
      if (signal.aborted) break;
      const known = await this.collection.knownKeys(keys);
      const orphans = keys.filter((key) => !known.has(key));
      await this.store.remove(orphans);
      swept.orphanedObjects += orphans.length;
    }
    for await (const found of batches(oldUnfinished(this.store, before))) {
      if (signal.aborted) break;
      swept.unfinishedObjects += await this.discardUnknown(found);
    }
    if (swept.orphanedObjects + swept.unfinishedObjects > 0)
      this.logger.log({ msg: 'Swept orphans', ...swept });
    return swept;
  }

  private async removeDoomed(): Promise<number> {
    const doomed = await this.collection.claimDoomed(BATCH);
    const keys = doomed.flatMap(
      ({ objectKey, staged }) =>
        objectKey ?? (typeof staged?.['committed'] === 'string' ? staged['committed'] : []),
    );
    await this.store.remove(keys);
    for (const { staged } of doomed)
      if (staged && typeof staged['committed'] !== 'string') await this.store.discard(staged);
    await this.collection.buried(doomed.map(({ id }) => id));
    return doomed.length;
  }

  private async discardUnknown(found: UnfinishedObject[]): Promise<number> {
    const live = await this.collection.stagedAt(found.map(({ staged }) => String(staged['key'])));
    const unknown = found.filter(
      ({ staged }) => !live.some((other) => this.store.sameUnfinished(staged, other)),
    );
    for (const { staged } of unknown) await this.store.discard(staged);
    return unknown.length;
  }
}

async function untilEmpty(signal: AbortSignal, step: () => Promise<number>): Promise<number> {
  let total = 0;
  for (let done = BATCH; done >= BATCH && !signal.aborted; total += done) done = await step();
  return total;
}

async function* oldObjects(store: BlobStore, before: Date): AsyncGenerator<string> {
  for await (const { key, modifiedAt } of store.objects()) if (modifiedAt < before) yield key;
}

async function* oldUnfinished(store: BlobStore, before: Date): AsyncGenerator<UnfinishedObject> {
  for await (const found of store.unfinished()) if (found.startedAt < before) yield found;
}

async function* batches<Item>(items: AsyncIterable<Item>): AsyncGenerator<Item[]> {
  let batch: Item[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
