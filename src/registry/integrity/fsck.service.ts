import { Injectable } from '@nestjs/common';
import { ByteCheck, type Hashing } from './byte-check.js';
import { CounterCheck } from './counter-check.js';
import type { Fault, Finding, FindingKind, Inspection, Tally } from './finding.js';
import { IdSet } from './id-set.js';
import { ImageCheck } from './image-check.js';
import { IntegrityRepository } from './integrity.repository.js';
import { layerOf } from './lost-layers.js';
import { ObjectCheck } from './object-check.js';
import { ObjectVerifier } from './object-verifier.js';
import { Pace } from '../../jobs/pace.js';
import { UploadCheck } from './upload-check.js';

export interface FsckOptions {
  hashing: Hashing;
  /** For the bytes that are hashed; null: as fast as it goes. */
  bytesPerSecond: number | null;
  /** Repair what can be repaired safely. */
  repair: boolean;
}

export interface FsckSummary extends Tally {
  /** New ones by kind. */
  findings: Partial<Record<FindingKind, number>>;
  repaired: number;
  /** Layers that are marked damaged now. */
  damagedLayers: number;
}

const PAGE = 200;

/**
 * Compares everything with everything: rows with objects, objects with rows, bytes with digests, manifests with references,
 * counters with what they count. It may run at any time, beside the service too: what could be the shadow of something that
 * is just happening is looked at again before it is reported.
 */
@Injectable()
export class FsckService {
  constructor(
    private readonly blobs: IntegrityRepository,
    private readonly verifier: ObjectVerifier,
    private readonly objects: ObjectCheck,
    private readonly uploads: UploadCheck,
    private readonly images: ImageCheck,
    private readonly counters: CounterCheck,
    private readonly bytes: ByteCheck,
  ) {}

  /**
   * @param report is told of each finding, after its repair where one was asked for
   * @throws StoreUnavailable; AbortError when stopped
   */
  async run(
    { hashing, bytesPerSecond, repair }: FsckOptions,
    report: (finding: Finding) => void,
    signal: AbortSignal,
  ): Promise<FsckSummary> {
    const inspection: Inspection = {
      startedAt: new Date(),
      signal,
      tally: emptyTally(),
      reported: new IdSet(),
    };
    const findings: FsckSummary['findings'] = {};
    let repaired = 0;
    await this.verifier.requireStore();
    const checks: AsyncIterable<Fault>[] = [
      this.knownDamage(),
      this.objects.faults(inspection),
      this.uploads.faults(inspection),
      this.images.faults(inspection),
      this.counters.faults(inspection),
      this.bytes.faults(inspection, hashing, new Pace(bytesPerSecond)),
    ];
    for (const check of checks)
      for await (const { finding, mend } of check) {
        if (!finding.known) findings[finding.kind] = (findings[finding.kind] ?? 0) + 1;
        if (repair && !finding.known) {
          finding.repaired = mend ? await mend() : false;
          if (finding.repaired) repaired += 1;
        }
        report(finding);
      }
    return { ...inspection.tally, findings, repaired, damagedLayers: await this.blobs.countDamaged() };
  }

  /** Found earlier; only a push can bring them back. */
  private async *knownDamage(): AsyncGenerator<Fault> {
    for (let after = 0n; ;) {
      const page = await this.blobs.damaged(after, PAGE);
      if (page.length === 0) return;
      after = page.at(-1)!.id;
      for (const blob of page)
        yield {
          finding: {
            kind: 'damaged-layer',
            what: 'The layer is marked damaged and waits to be pushed again',
            ...layerOf(blob, await this.blobs.repositoriesOf(blob.id)),
            repair: null,
            known: true,
          },
        };
    }
  }
}

function emptyTally(): Tally {
  return {
    layers: 0,
    objects: 0,
    inFlight: 0,
    openUploads: 0,
    images: 0,
    deletedImages: 0,
    repositories: 0,
    hashedLayers: 0,
    hashedBytes: 0,
  };
}
