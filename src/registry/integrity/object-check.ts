import { Inject, Injectable } from '@nestjs/common';
import {
  BLOB_STORE,
  type BlobStore,
  type StoredObject,
  type UnfinishedObject,
} from '../../blob-store/blob-store.js';
import { CONFIG, type Config } from '../../config/config.js';
import type { Fault, Inspection } from './finding.js';
import { IdSet } from './id-set.js';
import { IntegrityRepository, type RecordedBlob } from './integrity.repository.js';
import { lost } from './lost-layers.js';
import { ObjectVerifier } from './object-verifier.js';

const PAGE = 500;

/**
 * Rows of layers and objects of the store, in both directions, without a request per object: every listed object is looked up
 * in the rows, and leaves a bit behind for its row; then the rows are walked for those without one. No order of either side
 * matters, so neither a collation nor a store's idea of key order can hide anything.
 */
@Injectable()
export class ObjectCheck {
  private readonly graceMs: number;

  constructor(
    @Inject(BLOB_STORE) private readonly store: BlobStore,
    private readonly blobs: IntegrityRepository,
    private readonly verifier: ObjectVerifier,
    @Inject(CONFIG) config: Config,
  ) {
    // As the collector's: an upload may write for as long as it may live before a row names its bytes.
    this.graceMs =
      Math.max(config.STOWAGE_ORPHAN_GRACE_HOURS, config.STOWAGE_UPLOAD_EXPIRY_HOURS) * 3_600_000;
  }

  async *faults(inspection: Inspection): AsyncGenerator<Fault> {
    const last = await this.blobs.lastId();
    const seen = new IdSet();
    for await (const objects of pagesOf(this.store.objects(), inspection)) {
      inspection.tally.objects += objects.length;
      yield* this.ofObjects(objects, seen, inspection);
    }
    yield* this.ofUnseenRows(last, seen, inspection);
    for await (const unfinished of pagesOf(this.store.unfinished(), inspection))
      yield* this.ofUnfinished(unfinished, inspection);
  }

  private async *ofObjects(
    objects: StoredObject[],
    seen: IdSet,
    inspection: Inspection,
  ): AsyncGenerator<Fault> {
    const blobs = await this.blobs.withKeys(objects.map(({ key }) => key));
    const byKey = new Map(blobs.map((blob) => [blob.objectKey, blob]));
    for (const { key, sizeBytes } of objects) {
      const blob = byKey.get(key);
      if (!blob) continue;
      seen.add(blob.id);
      if (blob.sizeBytes !== sizeBytes) yield* this.ofRow(blob, inspection);
    }
    const unknown = objects.filter(({ key }) => !byKey.has(key));
    if (unknown.length > 0) yield* this.ofUnknown(unknown, inspection);
  }

  private async *ofUnknown(objects: StoredObject[], inspection: Inspection): AsyncGenerator<Fault> {
    const spokenFor = await this.blobs.spokenFor(objects.map(({ key }) => key));
    for (const { key, sizeBytes, modifiedAt } of objects) {
      if (spokenFor.has(key)) continue;
      if (this.isYoung(modifiedAt, inspection)) inspection.tally.inFlight += 1;
      // Collected since it was listed?
      else if (await this.store.find(key))
        yield {
          finding: {
            kind: 'orphaned-object',
            what: 'No record speaks of the object',
            key,
            foundBytes: sizeBytes,
            repair: 'hands it to the collector, which removes it',
          },
          mend: () => this.blobs.doomObject(key),
        };
    }
  }

  private async *ofUnseenRows(last: bigint, seen: IdSet, inspection: Inspection): AsyncGenerator<Fault> {
    for (let after = 0n; ;) {
      inspection.signal.throwIfAborted();
      const page = await this.blobs.page(after, last, PAGE);
      if (page.length === 0) return;
      after = page.at(-1)!.id;
      inspection.tally.layers += page.length;
      for (const blob of page) if (!seen.has(blob.id)) yield* this.ofRow(blob, inspection);
    }
  }

  /** Looks again: the object may have come, gone or been replaced since it was listed, together with its row. */
  private async *ofRow(blob: RecordedBlob, inspection: Inspection): AsyncGenerator<Fault> {
    if (blob.damaged) return;
    const found = await this.verifier.verifySize(blob);
    if (found === 'as-recorded' || found === 'changed') return;
    inspection.reported.add(blob.id);
    yield lost(this.blobs, blob, await this.blobs.repositoriesOf(blob.id), found);
  }

  private async *ofUnfinished(unfinished: UnfinishedObject[], inspection: Inspection): AsyncGenerator<Fault> {
    const live = await this.blobs.stagedUnder(unfinished.map(({ staged }) => String(staged['key'])));
    for (const { staged, startedAt } of unfinished) {
      if (live.some((other) => this.store.sameUnfinished(staged, other))) continue;
      if (this.isYoung(startedAt, inspection)) inspection.tally.inFlight += 1;
      // Finished or collected since it was listed?
      else if ((await this.store.stagedBytes(staged)) !== null)
        yield {
          finding: {
            kind: 'orphaned-upload',
            what: 'No upload goes on with these unfinished bytes',
            key: String(staged['key']),
            repair: 'hands them to the collector, which removes them',
          },
          mend: () => this.blobs.doomStaged(staged),
        };
    }
  }

  private isYoung(since: Date, { startedAt }: Inspection): boolean {
    return since.getTime() >= startedAt.getTime() - this.graceMs;
  }
}

async function* pagesOf<Item>(items: AsyncIterable<Item>, { signal }: Inspection): AsyncGenerator<Item[]> {
  let page: Item[] = [];
  for await (const item of items) {
    page.push(item);
    if (page.length < PAGE) continue;
    signal.throwIfAborted();
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}
