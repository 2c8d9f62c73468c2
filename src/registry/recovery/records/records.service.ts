import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, Logger } from '@nestjs/common';
import { BLOB_STORE, type BlobStore } from '../../../blob-store/blob-store.js';
import { type NamedObject, RECORDS } from '../../../blob-store/named-objects.js';
import { ScheduledJob } from '../../../jobs/scheduled-job.decorator.js';
import { Metrics } from '../../../observability/metrics.js';
import { StoreBinding } from '../../layers/collection/store-binding.js';
import { encodeRecords, type StoredRecord } from './record.js';
import { batchName, contentsOf, fullSetName, type RecordContents } from './record-names.js';
import { RecordsRepository } from './records.repository.js';

/** A full set is written once so many batches have come together that hold as much as the last one did, … */
const MANY_BATCHES = 500;
/** … or so many in any case, … */
const MOST_BATCHES = 10_000;
/** … or the last one is so old. Milliseconds. */
const FULL_SET_AGE_MS = 7 * 24 * 3_600_000;
/** A database that does not answer must not keep the other metrics from whoever looks for the reason. Milliseconds. */
const COUNT_PATIENCE_MS = 1_000;

export interface Copied {
  batches: number;
  /** Whether everything was written anew, and what it replaces removed. */
  fullSet: boolean;
}

/**
 * Keeps a copy of the records beside the layers, from which the database can be rebuilt. It lags behind by the minute between two
 * runs: no push waits for it. A batch is written before its changes are forgotten, so a crash repeats one, and repeating does no
 * harm, since the last record of a thing holds.
 */
@Injectable()
export class RecordsService {
  private readonly logger = new Logger(RecordsService.name);

  constructor(
    private readonly records: RecordsRepository,
    private readonly binding: StoreBinding,
    @Inject(BLOB_STORE) private readonly store: BlobStore,
    metrics: Metrics,
  ) {
    metrics.gauge(
      'stowage_pending_records',
      'Changes of repositories and images that are not yet in the copy of the records in the blob store',
      () =>
        Promise.race([
          records.countPending().catch(() => Number.NaN),
          sleep(COUNT_PATIENCE_MS, Number.NaN, { ref: false }),
        ]),
    );
  }

  @ScheduledJob('copy-records', '* * * * *')
  async copy(signal: AbortSignal): Promise<Copied> {
    const copied: Copied = { batches: 0, fullSet: false };
    if (!(await this.records.hasPending())) return copied;
    // A disk that is not mounted takes records like any other, and would have them to itself.
    if (!(await this.binding.isThere()))
      throw new Error('The blob store is not the one of this database; the copy of the records waits for it');
    while (!signal.aborted && (await this.copyBatch())) copied.batches += 1;
    if (signal.aborted) return copied;
    const requested = (await this.records.fullSetRequests()).length > 0;
    if (requested || (copied.batches > 0 && (await this.isFullSetDue())))
      copied.fullSet = await this.writeFullSet(signal);
    return copied;
  }

  /**
   * Writes everything anew and removes what that replaces. What changes meanwhile goes on to be copied by batches, which come
   * after it in the order.
   * @returns false when it was stopped; the beginnings are removed by the next one
   */
  async writeFullSet(signal: AbortSignal): Promise<boolean> {
    const requests = await this.records.fullSetRequests();
    const name = fullSetName(nextOrder(await this.contents(), await this.records.now()));
    let parts = 0;
    let records = 0;
    for await (const some of this.records.everything()) {
      if (signal.aborted) return false;
      await this.store.named.write(name.part(++parts), await encodeRecords(some));
      records += some.length;
      await this.copyBatch();
    }
    await this.store.named.write(name.end, Buffer.from(JSON.stringify({ parts, records })));
    const { superseded } = await this.contents();
    await this.store.named.remove(superseded);
    await this.records.forget(requests);
    this.logger.log({ msg: 'Wrote all records anew', parts, records, removedObjects: superseded.length });
    return true;
  }

  private async copyBatch(): Promise<boolean> {
    const changes = await this.records.takeBatch(async (records: StoredRecord[], now) => {
      const bytes = await encodeRecords(records);
      await this.store.named.write(batchName(nextOrder(await this.contents(), now)), bytes);
    });
    return changes > 0;
  }

  private async isFullSetDue(): Promise<boolean> {
    const { fullSet, batches, batchBytes } = await this.contents();
    if (batches.length >= MOST_BATCHES) return true;
    if (batches.length >= MANY_BATCHES && batchBytes >= (fullSet?.bytes ?? 0)) return true;
    return fullSet !== null && (await this.records.now()).getTime() - fullSet.order > FULL_SET_AGE_MS;
  }

  private async contents(): Promise<RecordContents> {
    const objects: NamedObject[] = [];
    for await (const object of this.store.named.list(RECORDS)) objects.push(object);
    return contentsOf(objects);
  }
}

function nextOrder({ lastOrder }: RecordContents, now: Date): number {
  return Math.max(lastOrder + 1, now.getTime());
}
