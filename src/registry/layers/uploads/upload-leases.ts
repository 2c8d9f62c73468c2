import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { AppendContext } from '../../../blob-store/blob-store.js';
import { RegistryError } from '../../../domain/registry-error.js';
import { named, type Repository } from '../../repositories/repository.js';
import { type CompletedUpload, isUploadId, LEASE_SECONDS, type Upload } from './upload.js';
import { UploadsRepository } from './uploads.repository.js';

/** How long a request waits for another one on the same upload: longer than a dead holder keeps its lease. Seconds. */
const LEASE_WAIT_SECONDS = LEASE_SECONDS + 5;
/** S3 numbers parts up to here. */
const MAX_PART_NUMBER = 10_000;

/** One writer per upload, over all replicas: the lease is a column with an expiry, held and renewed for as long as work runs. */
@Injectable()
export class UploadLeases implements OnApplicationShutdown {
  private readonly held = new Set<Promise<unknown>>();

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
      return this.working(acquired.upload, work);
    }
  }

  /** The connections are gone by now; what they left half done gives its uploads free before the database goes too. */
  async onApplicationShutdown(): Promise<void> {
    await Promise.allSettled(this.held);
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
      await this.uploads.release(upload).catch(() => undefined);
    }
  }

  /** Keeps the lease alive while bytes move, and stops them when it is lost. */
  async keepAlive<Result>(
    repository: Repository,
    upload: Upload,
    work: (context: AppendContext) => Promise<Result>,
  ): Promise<Result> {
    const lost = new AbortController();
    const heartbeat = setInterval(
      () => {
        this.uploads.renew(upload).then(
          (mine) => mine || lost.abort(RegistryError.uploadNotFound(upload.id, ...named(repository))),
          () => undefined,
        );
      },
      (LEASE_SECONDS * 1000) / 3,
    );
    try {
      return await work({
        signal: lost.signal,
        takePartNumbers: async (count) => {
          const first = await this.uploads.takePartNumbers(upload, count);
          if (first === null) throw RegistryError.uploadNotFound(upload.id, ...named(repository));
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
