import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { AppendContext } from '../../../blob-store/blob-store.js';
import { atMost } from '../../../config/patience.js';
import { RegistryError } from '../../../domain/registry-error.js';
import { named, type Repository } from '../../repositories/repository.js';
import { type CompletedUpload, isUploadId, LEASE_SECONDS, type Upload } from './upload.js';
import { UploadsRepository } from './uploads.repository.js';

/** How long a request waits for another one on the same upload: longer than a dead holder keeps its lease. Seconds. */
const LEASE_WAIT_SECONDS = LEASE_SECONDS + 5;
/** How long the end of the process waits for work on uploads, and once more after it told the work to stop. */
const ENDING_PATIENCE_MS = 5_000;
/** How long an answer waits for its lease to be given back, and the pause before that is tried again. */
const RELEASE_PATIENCE_MS = 1_000;
const RELEASE_PAUSE_MS = 250;
/** S3 numbers parts up to here. */
const MAX_PART_NUMBER = 10_000;

/** One writer per upload, over all replicas: the lease is a column with an expiry, held and renewed for as long as work runs. */
@Injectable()
export class UploadLeases implements OnApplicationShutdown {
  private readonly held = new Set<Promise<unknown>>();
  private readonly ending = new AbortController();
  /** When the last successful request for the lease, or for more of it, was made; its end is counted from no earlier. */
  private readonly askedAt = new WeakMap<Upload, number>();

  constructor(private readonly uploads: UploadsRepository) {}

  /**
   * Works on an open upload that nobody else changes meanwhile; waits for a request that holds it.
   * @param ifCompleted answers for a finished upload; absent: it counts as not found
   * @throws RegistryError UploadNotFound; Server when another request holds the upload for too long
   */
  async hold<Result>(
    repository: Repository,
    uploadId: string,
    work: (upload: Upload) => Promise<Result>,
    ifCompleted?: (done: CompletedUpload) => Promise<Result>,
  ): Promise<Result> {
    if (!isUploadId(uploadId)) throw RegistryError.uploadNotFound(uploadId, ...named(repository));
    const giveUpAt = performance.now() + LEASE_WAIT_SECONDS * 1000;
    for (let pause = 10; ; pause = Math.min(pause * 2, 400)) {
      const askedAt = performance.now();
      const acquired = await this.uploads.acquire(repository, uploadId);
      if (acquired === 'missing') throw RegistryError.uploadNotFound(uploadId, ...named(repository));
      if (acquired === 'busy') {
        if (performance.now() > giveUpAt)
          throw RegistryError.unavailable(new Error('another request holds the upload'));
        await sleep(pause * (0.5 + Math.random() / 2));
        continue;
      }
      if ('completed' in acquired) {
        if (!ifCompleted) throw RegistryError.uploadNotFound(uploadId, ...named(repository));
        return ifCompleted(acquired.completed);
      }
      this.askedAt.set(acquired.upload, askedAt);
      return this.working(acquired.upload, work);
    }
  }

  /**
   * The connections are gone by now; what they left half done gives its uploads free before the database goes too. A store
   * that does not answer is not waited for: a lease ends by itself.
   */
  async onApplicationShutdown(): Promise<void> {
    const settled = Promise.allSettled(this.held);
    await atMost(ENDING_PATIENCE_MS, settled);
    this.ending.abort(RegistryError.unavailable(new Error('the service ends')));
    await atMost(ENDING_PATIENCE_MS, settled);
  }

  private async working<Result>(upload: Upload, work: (upload: Upload) => Promise<Result>): Promise<Result> {
    const done = this.released(upload, work);
    this.held.add(done);
    try {
      return await done;
    } finally {
      this.held.delete(done);
    }
  }

  private async released<Result>(upload: Upload, work: (upload: Upload) => Promise<Result>): Promise<Result> {
    try {
      return await work(upload);
    } finally {
      // The answer does not wait for a database that hangs.
      if (upload.lease !== null) await atMost(RELEASE_PATIENCE_MS, this.release(upload));
    }
  }

  /** Also when the database comes back only later: until the lease ends by itself the client's next request waits for it. */
  private async release(upload: Upload): Promise<void> {
    for (;;) {
      try {
        return await this.uploads.release(upload);
      } catch {
        if (!this.isFresh(upload) || this.ending.signal.aborted) return;
        await sleep(RELEASE_PAUSE_MS * (0.5 + Math.random() / 2));
      }
    }
  }

  /** Whether the lease cannot have ended yet. */
  isFresh(upload: Upload): boolean {
    return performance.now() - (this.askedAt.get(upload) ?? -Infinity) < LEASE_SECONDS * 1000;
  }

  /** Keeps the lease alive while bytes move, and stops them when it is lost. */
  async keepAlive<Result>(
    repository: Repository,
    upload: Upload,
    work: (context: AppendContext) => Promise<Result>,
  ): Promise<Result> {
    const lost = new AbortController();
    let renewing = false;
    const renew = async (): Promise<void> => {
      // A database that hangs must not gather renewals.
      if (renewing) return;
      renewing = true;
      const askedAt = performance.now();
      const mine = await this.uploads.renew(upload).catch(() => null);
      renewing = false;
      if (mine) this.askedAt.set(upload, askedAt);
      if (mine === false) lost.abort(RegistryError.uploadNotFound(upload.id, ...named(repository)));
    };
    const heartbeat = setInterval(() => void renew(), (LEASE_SECONDS * 1000) / 3);
    try {
      return await work({
        signal: AbortSignal.any([lost.signal, this.ending.signal]),
        takePartNumbers: async (count) => {
          const askedAt = performance.now();
          const first = await this.uploads.takePartNumbers(upload, count);
          if (first === null) throw RegistryError.uploadNotFound(upload.id, ...named(repository));
          this.askedAt.set(upload, askedAt);
          if (first + count > MAX_PART_NUMBER)
            throw RegistryError.limitExceeded('The upload has too many parts for the store; use larger ones');
          return first;
        },
      });
    } finally {
      clearInterval(heartbeat);
    }
  }
}
