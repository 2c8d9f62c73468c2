import { Injectable } from '@nestjs/common';
import type { Fault, Inspection } from './finding.js';
import { IntegrityRepository, type RecordedBlob } from './integrity.repository.js';
import { layerOf, lost } from './lost-layers.js';
import { ObjectVerifier, type Verdict } from './object-verifier.js';
import type { Pace } from '../../jobs/pace.js';

/** Which layers are read and hashed. The same seed chooses the same layers. */
export type Hashing = 'none' | 'all' | { percent: number; seed: number } | { layers: number; seed: number };

const PAGE = 200;
/** How much may have been read before it is recorded that it was. Bytes. */
const MOST_UNRECORDED = 1024 * 1024 * 1024;

/** Bytes of layers against their digests. */
@Injectable()
export class ByteCheck {
  constructor(
    private readonly blobs: IntegrityRepository,
    private readonly verifier: ObjectVerifier,
  ) {}

  async *faults(inspection: Inspection, hashing: Hashing, pace: Pace): AsyncGenerator<Fault> {
    const { tally, reported, signal } = inspection;
    let whole: RecordedBlob[] = [];
    const record = async (): Promise<void> => {
      if (whole.length > 0) await this.blobs.markVerified(whole);
      whole = [];
    };
    try {
      for await (const blob of this.chosen(hashing)) {
        if (reported.has(blob.id)) continue;
        const verdict = await this.verifier.verify(blob, pace, signal);
        if (verdict.outcome === 'changed') continue;
        tally.hashedLayers += 1;
        const isWhole = verdict.outcome === 'whole';
        if (isWhole) tally.hashedBytes += blob.sizeBytes;
        // Nothing new of a layer that is whole and not marked, or marked and not whole.
        if (isWhole === blob.damaged) yield await this.fault(blob, verdict);
        else if (isWhole) whole.push(blob);
        if (whole.length >= PAGE || sizeOf(whole) >= MOST_UNRECORDED) await record();
      }
    } finally {
      await record();
    }
  }

  private async *chosen(hashing: Hashing): AsyncGenerator<RecordedBlob> {
    if (hashing === 'none') return;
    if (typeof hashing === 'object' && 'layers' in hashing) {
      yield* await this.blobs.draw(hashing.layers, hashing.seed);
      return;
    }
    const last = await this.blobs.lastId();
    for (let after = 0n; ;) {
      const page = await this.blobs.page(after, last, PAGE, hashing);
      if (page.length === 0) return;
      after = page.at(-1)!.id;
      yield* page;
    }
  }

  private async fault(blob: RecordedBlob, verdict: Exclude<Verdict, { outcome: 'changed' }>): Promise<Fault> {
    const repositories = await this.blobs.repositoriesOf(blob.id);
    switch (verdict.outcome) {
      case 'whole':
        return {
          finding: {
            kind: 'whole-again',
            what: 'The layer is marked damaged, and its object has the right bytes',
            ...layerOf(blob, repositories),
            repair: 'takes the mark away: the layer is served again',
          },
          mend: () => this.blobs.clearDamage(blob),
        };
      case 'unreadable':
        return {
          finding: {
            kind: 'unreadable-object',
            what: `The store answers, but cannot read the object of the layer: ${verdict.error.message}`,
            ...layerOf(blob, repositories),
            // A failure to read proves nothing about the bytes.
            repair: null,
          },
        };
      case 'missing':
        return lost(this.blobs, blob, repositories, 'missing');
      case 'wrong':
        return lost(this.blobs, blob, repositories, verdict);
    }
  }
}

function sizeOf(blobs: RecordedBlob[]): number {
  return blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
