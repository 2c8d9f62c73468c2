import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import type { Counter } from 'prom-client';
import { CONFIG, type Config } from '../../config/config.js';
import { ScheduledJob } from '../../jobs/scheduled-job.decorator.js';
import { Metrics } from '../../observability/metrics.js';
import { IntegrityRepository, type RecordedBlob } from './integrity.repository.js';
import { ObjectVerifier, type Verdict } from './object-verifier.js';
import { Pace } from '../../jobs/pace.js';

export interface Scrubbed {
  layers: number;
  bytes: number;
  damaged: number;
  /** Left as they are, and looked at again in the next run. */
  unreadable: number;
}

const MEBIBYTE = 1024 * 1024;
const DAY_SECONDS = 86_400;
const PAGE = 20;
/** One run ends in time for the next, so that other jobs get their turn. Seconds. */
const RUN_SECONDS = 480;

/**
 * Reads every layer again once in so many days, those first that waited longest, and takes out of sight what is not what it
 * was. The time stands in each layer's row, so a run that was stopped is simply gone on with.
 */
@Injectable()
export class ScrubService implements OnModuleInit {
  private readonly logger = new Logger(ScrubService.name);
  private readonly bytesPerSecond: number;
  private scrubbed: Counter | undefined;

  constructor(
    private readonly blobs: IntegrityRepository,
    private readonly verifier: ObjectVerifier,
    private readonly metrics: Metrics,
    @Inject(CONFIG) private readonly config: Config,
  ) {
    this.bytesPerSecond = config.STOWAGE_SCRUB_MIB_PER_SECOND * MEBIBYTE;
  }

  onModuleInit(): void {
    this.scrubbed = this.metrics.counter('stowage_scrubbed_bytes_total', 'Layer bytes read again and hashed');
    // Unknown while the database is away; the other measures are wanted then more than ever.
    this.metrics.gauge(
      'stowage_damaged_blobs',
      'Layers whose bytes are lost until they are pushed again',
      () => this.blobs.countDamaged().catch(() => NaN),
    );
    this.metrics.gauge(
      'stowage_least_recent_scrub_timestamp_seconds',
      'When the layer that waits longest was hashed last',
      async () => {
        const at = await this.blobs.leastRecentlyVerified().catch(() => null);
        return at === null ? NaN : at.getTime() / 1000;
      },
    );
  }

  @ScheduledJob('scrub-layers', '*/10 * * * *')
  async scrub(signal: AbortSignal): Promise<Scrubbed> {
    const result: Scrubbed = { layers: 0, bytes: 0, damaged: 0, unreadable: 0 };
    if (this.config.STOWAGE_SCRUB_DAYS === 0) return result;
    const pace = new Pace(this.bytesPerSecond);
    try {
      for await (const blob of this.due()) {
        if (signal.aborted) break;
        await this.scrubOne(blob, pace, result, signal);
        if (result.bytes >= this.bytesPerSecond * RUN_SECONDS) break;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (result.layers > 0) this.logger.log({ msg: 'Scrubbed layers', ...result });
    return result;
  }

  /** Each layer once, the unreadable ones too, until the time is up. */
  private async *due(): AsyncGenerator<RecordedBlob> {
    const seconds = this.config.STOWAGE_SCRUB_DAYS * DAY_SECONDS;
    const endsAt = performance.now() + RUN_SECONDS * 1000;
    for (let last: RecordedBlob | null = null; ;) {
      const page: RecordedBlob[] = await this.blobs.unverifiedFor(seconds, last, PAGE);
      if (page.length === 0) return;
      for (const blob of page) {
        if (performance.now() >= endsAt) return;
        yield blob;
      }
      last = page.at(-1)!;
    }
  }

  private async scrubOne(
    blob: RecordedBlob,
    pace: Pace,
    result: Scrubbed,
    signal: AbortSignal,
  ): Promise<void> {
    const verdict = await this.verifier.verify(blob, pace, signal);
    if (verdict.outcome === 'changed') return;
    result.layers += 1;
    result.bytes += blob.sizeBytes;
    this.scrubbed?.inc(blob.sizeBytes);
    if (verdict.outcome === 'whole') await this.blobs.markVerified([blob]);
    else if (verdict.outcome === 'unreadable') {
      result.unreadable += 1;
      await this.tell(blob, verdict, 'The store cannot read a layer');
    } else if (await this.blobs.markDamaged(blob)) {
      result.damaged += 1;
      await this.tell(
        blob,
        verdict,
        verdict.outcome === 'missing'
          ? 'The bytes of a layer are gone; it is served to nobody until it is pushed again'
          : 'The bytes of a layer are not what they were; it is served to nobody until it is pushed again',
      );
    }
  }

  private async tell(blob: RecordedBlob, verdict: Verdict, msg: string): Promise<void> {
    this.logger.error({
      msg,
      digest: `sha256:${blob.sha256}`,
      key: blob.objectKey,
      recordedBytes: blob.sizeBytes,
      ...(verdict.outcome === 'wrong' && {
        foundBytes: verdict.sizeBytes,
        found: `sha256:${verdict.sha256}`,
      }),
      ...(verdict.outcome === 'unreadable' && { err: verdict.error }),
      repositories: await this.blobs.repositoriesOf(blob.id),
    });
  }
}
