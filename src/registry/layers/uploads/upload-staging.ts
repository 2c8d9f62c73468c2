import type { Readable } from 'node:stream';
import { Inject, Injectable } from '@nestjs/common';
import {
  type AppendContext,
  type Appended,
  BLOB_STORE,
  BlobMissing,
  type BlobStore,
} from '../../../blob-store/blob-store.js';
import { RegistryError } from '../../../domain/registry-error.js';
import { named, type Repository } from '../../repositories/repository.js';
import { type IncomingBytes, receive } from './incoming-bytes.js';
import { type DigestFeed, RunningDigests } from './running-digests.js';
import { isCommitted, type Upload } from './upload.js';
import { type AppendRecord, UploadsRepository } from './uploads.repository.js';

/** Bytes that are in the store and not yet in any row. */
export interface Staging {
  appended: Appended;
  newBytes: number;
  /** Null when the running hash of the upload is not here. */
  feed: DigestFeed | null;
}

/** Moves bytes of an upload to the store, hashing them on their way. */
@Injectable()
export class UploadStaging {
  private readonly running = new RunningDigests();

  constructor(
    private readonly uploads: UploadsRepository,
    @Inject(BLOB_STORE) private readonly store: BlobStore,
  ) {}

  /** Stores bytes behind those of the upload; nothing is recorded yet. @throws RegistryError as {@link receive}, UploadNotFound */
  async stage(
    repository: Repository,
    upload: Upload,
    body: IncomingBytes,
    context: AppendContext,
  ): Promise<Staging> {
    if (isCommitted(upload.staged)) throw RegistryError.uploadNotFound(upload.id, ...named(repository));
    const { layerBytes } = repository.limits;
    const tails = await this.uploads.tails(upload);
    const feed = this.running.at(upload.id, upload.offsetBytes, upload.wantsSha512)?.fork() ?? null;
    let newBytes = 0;
    let hashed: Promise<void> | undefined;
    const fresh = receive(body, layerBytes === null ? null : layerBytes - upload.offsetBytes, (chunk) => {
      newBytes += chunk.length;
      if (Buffer.isBuffer(body.source)) hashed = feed?.updateAside(chunk);
      else feed?.update(chunk);
    });
    const bytes = (async function* () {
      yield* tails;
      yield* fresh;
    })();
    try {
      const appended = await this.store.append(
        upload.staged,
        Buffer.isBuffer(body.source)
          ? { bytes, inMemory: true, ...(tails.length === 0 && sumOf(body)) }
          : { bytes, inMemory: false, isLastUse: true, abandon: abandonment(body.source) },
        context,
      );
      await hashed;
      return { appended, newBytes, feed };
    } catch (error) {
      throw error instanceof BlobMissing
        ? RegistryError.uploadNotFound(upload.id, ...named(repository))
        : error;
    }
  }

  /** Store leftovers of an attempt that was not recorded; what stays behind is found by the collector. */
  async drop(upload: Upload, { appended }: Staging): Promise<void> {
    if (upload.staged === null && appended.staged !== null)
      await this.store.discard(appended.staged).catch(() => undefined);
  }

  /** Digests of nothing, as those of an upload without bytes. */
  emptyDigests(): { sha256: string; sha512: string | null } {
    return this.running.at('', 0, true)!.fork().digests();
  }

  /** To be called once the bytes are recorded. */
  recorded(upload: Upload, { feed }: Staging): void {
    if (feed) this.running.keep(upload.id, feed.frozen());
  }

  forget(upload: Upload): void {
    this.running.forget(upload.id);
  }
}

/** What the upload's row says once the bytes count. */
export function recordOf(upload: Upload, { appended, newBytes, feed }: Staging): AppendRecord {
  const offsetBytes = upload.offsetBytes + newBytes;
  const tailStored = appended.staged !== upload.staged;
  const newTail = joined(tailStored ? appended.rest : skip(appended.rest, upload.tailBytes));
  const digests = feed?.digests();
  return {
    offsetBytes,
    staged: appended.staged,
    tailStored,
    newTail: newTail.length > 0 ? { firstByte: offsetBytes - newTail.length, bytes: newTail } : null,
    tailBytes: appended.restBytes,
    sha256SoFar: digests?.sha256 ?? null,
    sha512SoFar: digests?.sha512 ?? null,
    keepsLease: false,
    part: null,
  };
}

function sumOf({ crc32 }: IncomingBytes): { crc32?: number } {
  return crc32 === undefined ? {} : { crc32 };
}

function abandonment(source: Readable): (reason: Error) => void {
  return (reason) => void source.destroy(reason);
}

function skip(chunks: Buffer[], bytes: number): Buffer[] {
  let left = bytes;
  return chunks.flatMap((chunk) => {
    const behind = chunk.subarray(Math.min(left, chunk.length));
    left -= chunk.length - behind.length;
    return behind.length > 0 ? [behind] : [];
  });
}

function joined(chunks: Buffer[]): Buffer {
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}
