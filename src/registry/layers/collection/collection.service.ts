import { Inject, Injectable, Logger } from '@nestjs/common';
import type { StoredObject, UnfinishedObject } from '../../../blob-store/blob-store.js';
import { CONFIG, type Config } from '../../../config/config.js';
import { faultPoint } from '../../../observability/fault-points.js';
import { ScheduledJob } from '../../../jobs/scheduled-job.decorator.js';
import { CollectionMetrics } from './collection-metrics.js';
import { CollectionRepository } from './collection.repository.js';
import { ObjectRemoval } from './object-removal.js';
import { Orphans } from './orphans.js';
import { Pace } from '../../../jobs/pace.js';
import { type LayerPosition, type Review, ReviewsRepository } from './reviews.repository.js';

/** Most rows one step handles. */
const BATCH = 500;
/** Objects removed under one lock, which a backup that begins waits for. */
const REMOVAL_BATCH = 100;
/** A scheduled run ends before the next one is due; that one goes on where it stopped. Milliseconds. */
const SCHEDULED_RUN_MS = 240_000;

export interface Collected {
  expiredUploads: number;
  /** Deleted images whose time to be brought back is over. */
  forgottenImages: number;
  /** Layers that left a repository. */
  unlinkedLayers: number;
  /** Blobs nobody holds any more, and their bytes. */
  unseenBlobs: number;
  freedBytes: number;
  removedObjects: number;
  /** A backup, or another collection, had every object kept. */
  objectsKept: boolean;
}

const NOTHING: Readonly<Collected> = {
  expiredUploads: 0,
  forgottenImages: 0,
  unlinkedLayers: 0,
  unseenBlobs: 0,
  freedBytes: 0,
  removedObjects: 0,
  objectsKept: false,
};

interface Step {
  removed: number;
  /** Whether there may be more of the kind right now. */
  more: boolean;
}

export interface Swept {
  orphanedObjects: number;
  unfinishedObjects: number;
  objectsKept: boolean;
}

/**
 * Gives space back while the registry is used. The database decides first what nobody may reference any more; only then
 * bytes go. What a crash left in the store without a row is found by a slow walk over the store.
 */
@Injectable()
export class CollectionService {
  private readonly logger = new Logger(CollectionService.name);

  constructor(
    private readonly collection: CollectionRepository,
    private readonly reviews: ReviewsRepository,
    private readonly orphans: Orphans,
    private readonly removal: ObjectRemoval,
    private readonly metrics: CollectionMetrics,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  @ScheduledJob('collect-garbage', '*/5 * * * *')
  async collectOnSchedule(signal: AbortSignal): Promise<Collected> {
    return this.collect(AbortSignal.any([signal, AbortSignal.timeout(SCHEDULED_RUN_MS)]));
  }

  /**
   * Expired uploads, forgotten images, layers no image references, blobs nobody holds, and everything doomed by these or by
   * other rules. May be stopped anywhere and run again, also while another process does the same.
   */
  async collect(signal: AbortSignal): Promise<Collected> {
    const pace = this.pace();
    const batch = pace.batch(BATCH);
    const collected = { ...NOTHING };
    let layerPosition: LayerPosition | null = null;
    let blobPosition: bigint | null = null;
    // One step of each kind in turn, so that no long queue keeps the others waiting; each may bring work for those behind it.
    const steps: (() => Promise<Step>)[] = [
      async () => {
        const expired = await this.collection.expireUploads(batch);
        if (expired > 0) faultPoint('uploads-expired');
        collected.expiredUploads += expired;
        return { removed: 0, more: expired === batch };
      },
      async () => {
        const forgotten = await this.reviews.forgetDeletedImages(batch);
        this.metrics.forgottenImages.inc(forgotten);
        collected.forgottenImages += forgotten;
        return { removed: 0, more: forgotten === batch };
      },
      async () => {
        const review: Review<LayerPosition> = await this.reviews.reviewLayers(layerPosition, batch);
        layerPosition = review.last;
        if (review.removed > 0) faultPoint('layers-unlinked');
        this.metrics.reviewed.inc({ queue: 'loose_layer' }, review.reviewed);
        this.metrics.unlinkedLayers.inc(review.removed);
        collected.unlinkedLayers += review.removed;
        return { removed: review.removed, more: review.reviewed === batch };
      },
      async () => {
        const review: Review<bigint> = await this.reviews.reviewBlobs(blobPosition, batch);
        blobPosition = review.last;
        if (review.removed > 0) faultPoint('blobs-dropped');
        this.metrics.reviewed.inc({ queue: 'loose_blob' }, review.reviewed);
        this.metrics.droppedBlobs.inc(review.removed);
        this.metrics.droppedBytes.inc(review.bytes);
        collected.unseenBlobs += review.removed;
        collected.freedBytes += review.bytes;
        return { removed: review.removed, more: review.reviewed === batch };
      },
      async () => {
        const step = await this.removeDoomed(Math.min(batch, REMOVAL_BATCH));
        this.metrics.removedObjects.inc({ cause: 'doomed' }, step?.removed ?? 0);
        collected.removedObjects += step?.removed ?? 0;
        collected.objectsKept = step === null;
        return step ?? { removed: 0, more: false };
      },
      async () => {
        const forgotten = await this.collection.forgetFinishedUploads(batch);
        return { removed: 0, more: forgotten === batch };
      },
    ];
    for (let more = true; more && !signal.aborted;) {
      more = false;
      let removed = 0;
      for (const step of steps) {
        if (signal.aborted) break;
        const done = await step();
        more ||= done.more;
        removed = Math.max(removed, done.removed);
      }
      await rest(pace, removed, signal);
    }
    if (Object.values(collected).some((count) => Number(count) > 0))
      this.logger.log({ msg: 'Collected garbage', ...collected });
    return collected;
  }

  /** Objects and unfinished uploads in the store that no row speaks of, older than the grace time. */
  @ScheduledJob('sweep-orphans', '17 3 * * *')
  async sweep(signal: AbortSignal): Promise<Swept> {
    const pace = this.pace();
    const swept: Swept = { orphanedObjects: 0, unfinishedObjects: 0, objectsKept: false };
    for await (const objects of this.orphans.oldObjects()) {
      if (signal.aborted) break;
      const gone = await this.permitted(() => this.removeUnknown(objects));
      if (gone === null) return { ...swept, objectsKept: true };
      swept.orphanedObjects += gone;
      this.metrics.removedObjects.inc({ cause: 'orphaned' }, gone);
      await rest(pace, gone, signal);
    }
    for await (const unfinished of this.orphans.oldUnfinished()) {
      if (signal.aborted) break;
      const gone = await this.permitted(() => this.discardUnknown(unfinished));
      if (gone === null) return { ...swept, objectsKept: true };
      swept.unfinishedObjects += gone;
      this.metrics.removedObjects.inc({ cause: 'unfinished' }, gone);
      await rest(pace, gone, signal);
    }
    if (swept.orphanedObjects + swept.unfinishedObjects > 0)
      this.logger.log({ msg: 'Swept orphans', ...swept });
    return swept;
  }

  /** @returns null while objects must be kept */
  private async removeDoomed(limit: number): Promise<Step | null> {
    return this.permitted(async () => {
      const doomed = (await this.collection.claimDoomed(limit)).map(({ id, objectKey, staged }) => ({
        id,
        // What a refused completion left is one object already.
        key: objectKey ?? (typeof staged?.['committed'] === 'string' ? staged['committed'] : null),
        staged,
      }));
      if (doomed.length > 0) faultPoint('doomed-claimed');
      const goneKeys = await this.removal.remove(doomed.flatMap(({ key }) => key ?? []));
      if (goneKeys.size > 0) faultPoint('doomed-removed');
      const goneStaged = await this.removal.discard(
        doomed.flatMap(({ key, staged }) => (key === null && staged ? [staged] : [])),
      );
      const gone = doomed.filter(({ key, staged }) =>
        key === null ? !staged || goneStaged.has(staged) : goneKeys.has(key),
      );
      if (gone.length > 0) faultPoint('doomed-discarded');
      await this.collection.buried(gone.map(({ id }) => id));
      // A store that removed nothing at all is left alone until the next run.
      return { removed: gone.length, more: doomed.length === limit && gone.length > 0 };
    });
  }

  private async removeUnknown(objects: StoredObject[]): Promise<number> {
    const unknown = await this.orphans.unknownObjects(objects);
    if (unknown.length > 0) faultPoint('orphans-found');
    const gone = await this.removal.remove(unknown.map(({ key }) => key));
    if (gone.size > 0) faultPoint('orphans-removed');
    return gone.size;
  }

  private async discardUnknown(unfinished: UnfinishedObject[]): Promise<number> {
    const unknown = await this.orphans.unknownUnfinished(unfinished);
    if (unknown.length > 0) faultPoint('unfinished-found');
    const gone = await this.removal.discard(unknown.map(({ staged }) => staged));
    if (gone.size > 0) faultPoint('unfinished-discarded');
    return gone.size;
  }

  /** @returns null while a backup wants every object kept */
  private async permitted<Result>(work: () => Promise<Result>): Promise<Result | null> {
    const result = await this.collection.whileObjectsMayGo(work);
    if (result === null) this.logger.log('No object is removed now: a backup or another collection runs');
    return result;
  }

  private pace(): Pace {
    return new Pace(this.config.STOWAGE_COLLECT_OBJECTS_PER_SECOND);
  }
}

/** Ends early when the work is to stop: the caller sees that for itself. */
async function rest(pace: Pace, removed: number, signal: AbortSignal): Promise<void> {
  await pace.keep(removed, signal).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
