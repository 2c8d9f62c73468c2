import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import {
  type AppendContext,
  type Appended,
  BLOB_STORE,
  BlobMissing,
  type BlobStore,
  type StagedBlob,
} from '../../blob-store/blob-store.js';
import type { ByteRange } from '../../domain/byte-range.js';
import { rangeLength } from '../../domain/byte-range.js';
import type { Digest } from '../../domain/digest.js';
import { RegistryError } from '../../domain/registry-error.js';
import { QuotasService } from '../quotas/quotas.service.js';
import { named, type Repository } from '../repositories/repository.js';
import { type IncomingBytes, receive } from './incoming-bytes.js';
import { type DigestFeed, RunningDigests } from './running-digests.js';
import {
  type CompletedUpload,
  isUploadId,
  LEASE_SECONDS,
  MIN_LAYER_PART_BYTES,
  positionOf,
  type Upload,
} from './upload.js';
import { type FinishedLayer, UploadsRepository } from './uploads.repository.js';

/** How long a request waits for another one on the same upload: longer than a dead holder keeps its lease. Seconds. */
const LEASE_WAIT_SECONDS = LEASE_SECONDS + 5;

export interface CompletedLayer {
  sha256: string;
  sha512: string | null;
}

/** What a completion may bring and demand; the doors differ only in this. */
export interface Completion {
  /** One match is enough. */
  digests: Digest[];
  /** Last bytes that ride on the completing request (OCI). */
  body?: IncomingBytes;
  range?: ByteRange | undefined;
  /** ECR's rules: at least one part, none but the last under 5 MiB, a layer that is there already is an error. */
  strict: boolean;
}

interface Staging {
  appended: Appended;
  newBytes: number;
  feed: DigestFeed | null;
}

/** Upload sessions: one state machine behind both doors. */
@Injectable()
export class UploadsService {
  private readonly running = new RunningDigests();

  constructor(
    private readonly uploads: UploadsRepository,
    private readonly quotas: QuotasService,
    @Inject(BLOB_STORE) private readonly store: BlobStore,
  ) {}

  /** @returns the id of a new session @throws RegistryError LimitExceeded, RepositoryNotFound */
  async begin(repository: Repository, options: { wantsSha512?: boolean } = {}): Promise<string> {
    const id = await this.uploads.begin(repository, options.wantsSha512 ?? false);
    if (id) return id;
    const limit = repository.limits.openUploadsPerRepository;
    if (limit === null) throw RegistryError.repositoryNotFound(...named(repository));
    throw RegistryError.limitExceeded(
      `The repository with name '${repository.name}' in registry with id '${repository.registry.accountId}' already has the maximum allowed number of open uploads which is '${limit}'`,
    );
  }

  /** Bytes acknowledged so far. @throws RegistryError UploadNotFound */
  async offset(repository: Repository, uploadId: string): Promise<number> {
    const offset = isUploadId(uploadId) ? await this.uploads.offset(repository, uploadId) : null;
    if (offset === null) throw RegistryError.uploadNotFound(uploadId, ...named(repository));
    return offset;
  }

  /**
   * Accepts one UploadLayerPart. The same range with the same bytes again is a success and not recorded twice.
   * @throws RegistryError UploadNotFound, InvalidLayerPart, LimitExceeded
   */
  async appendPart(
    repository: Repository,
    uploadId: string,
    range: ByteRange,
    bytes: Buffer,
    sha256: string,
  ): Promise<void> {
    await this.underLease(repository, uploadId, 'open', async (upload) => {
      const position = positionOf(repository, upload);
      if (range.last < range.first || rangeLength(range) !== bytes.length) {
        throw RegistryError.invalidLayerPart(
          `The layer part of ${bytes.length} bytes does not fill the range from ${range.first} to ${range.last}`,
          position,
        );
      }
      if (range.first !== upload.offsetBytes) {
        const accepted = await this.uploads.findPart(upload.id, range.first);
        if (accepted?.lastByte === range.last && accepted.sha256 === sha256) return;
        throw RegistryError.notTheNextByte(range.first, position);
      }
      const { limits } = repository;
      this.quotas.require(
        limits,
        'partBytes',
        bytes.length,
        (limit) => `The layer part exceeds the maximum allowed size of ${limit} bytes`,
      );
      this.quotas.require(
        limits,
        'partsPerLayer',
        upload.partCount + 1,
        (limit) => `The upload already has the maximum allowed number of layer parts which is '${limit}'`,
      );
      await this.append(
        repository,
        upload,
        { source: bytes, sha256 },
        { firstByte: range.first, lastByte: range.last, sha256 },
      );
    });
  }

  /**
   * Accepts the next bytes of a stream: all of them or, on any failure, none.
   * @returns bytes acknowledged so far
   * @throws RegistryError UploadNotFound, InvalidLayerPart, BlobSizeInvalid, LimitExceeded
   */
  async appendStream(
    repository: Repository,
    uploadId: string,
    range: ByteRange | undefined,
    body: IncomingBytes,
  ): Promise<number> {
    return this.underLease(repository, uploadId, 'open', async (upload) => {
      assertNext(repository, upload, range);
      return this.append(repository, upload, body, null);
    });
  }

  /**
   * Turns the session into a layer of the repository. Repeating it after a lost reply gives the same answer.
   * @throws RegistryError UploadNotFound, EmptyUpload, LayerPartTooSmall, InvalidLayer, LayerAlreadyExists, LimitExceeded
   */
  async complete(repository: Repository, uploadId: string, completion: Completion): Promise<CompletedLayer> {
    return this.underLease(
      repository,
      uploadId,
      { ifCompleted: (done) => this.repeated(repository, uploadId, done, completion) },
      (upload) => this.finish(repository, upload, completion),
    );
  }

  /** @throws RegistryError UploadNotFound */
  async cancel(repository: Repository, uploadId: string): Promise<void> {
    await this.underLease(repository, uploadId, 'open', async (upload) => {
      await this.uploads.abort(repository, upload);
      this.running.forget(upload.id);
    });
  }

  private async append(
    repository: Repository,
    upload: Upload,
    body: IncomingBytes,
    part: { firstByte: number; lastByte: number; sha256: string } | null,
  ): Promise<number> {
    return this.whileLeased(repository, upload, async (context) => {
      const { appended, newBytes, feed } = await this.stage(repository, upload, body, context);
      if (newBytes === 0) return upload.offsetBytes;
      const offsetBytes = upload.offsetBytes + newBytes;
      const tailStored = appended.staged !== upload.staged;
      const newTail = tailStored ? joined(appended.rest) : joined(skip(appended.rest, upload.tailBytes));
      const digests = feed?.digests();
      const recorded = await this.uploads.record(upload, {
        offsetBytes,
        staged: appended.staged,
        tailStored,
        newTail: newTail.length > 0 ? { firstByte: offsetBytes - newTail.length, bytes: newTail } : null,
        tailBytes: appended.restBytes,
        sha256SoFar: digests?.sha256 ?? null,
        sha512SoFar: digests?.sha512 ?? null,
        part,
      });
      if (!recorded) {
        await this.dropNew(upload, appended);
        throw RegistryError.uploadNotFound(upload.id, ...named(repository));
      }
      if (feed) this.running.keep(upload.id, feed.frozen());
      return offsetBytes;
    });
  }

  /** Moves bytes to the store; nothing is recorded yet. */
  private async stage(
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
    const fresh = receive(body, layerBytes === null ? null : layerBytes - upload.offsetBytes, (chunk) => {
      newBytes += chunk.length;
      feed?.update(chunk);
    });
    const bytes = (async function* () {
      yield* tails;
      yield* fresh;
    })();
    try {
      const appended = await this.store.append(
        upload.staged,
        { bytes, inMemory: Buffer.isBuffer(body.source) },
        context,
      );
      return { appended, newBytes, feed };
    } catch (error) {
      throw error instanceof BlobMissing
        ? RegistryError.uploadNotFound(upload.id, ...named(repository))
        : error;
    }
  }

  private async finish(
    repository: Repository,
    upload: Upload,
    completion: Completion,
  ): Promise<CompletedLayer> {
    if (completion.strict) this.assertPartsFill(repository, upload);
    assertNext(repository, upload, completion.range);
    const { digests } = completion;
    return this.whileLeased(repository, upload, async (context) => {
      const staging = completion.body
        ? await this.stage(
            repository,
            { ...upload, wantsSha512: upload.wantsSha512 || wants(digests, 'sha512') },
            completion.body,
            context,
          )
        : null;
      const staged = staging ? staging.appended.staged : upload.staged;
      try {
        const sizeBytes = upload.offsetBytes + (staging?.newBytes ?? 0);
        const known = staging?.newBytes ? staging.feed?.digests() : this.knownDigests(upload);
        const comparable = known && (known.sha512 !== null || !wants(digests, 'sha512'));
        if (comparable && !matches(digests, known)) throw RegistryError.invalidLayer();
        const rest = staging ? staging.appended.rest : await this.uploads.tails(upload);
        const { key: objectKey, certain } = isCommitted(staged)
          ? { key: staged.committed, certain: true }
          : await this.store.commit(staged, rest, context);
        const actual = comparable && certain ? known : await this.reread(objectKey, wants(digests, 'sha512'));
        if (!matches(digests, actual)) {
          await this.uploads.recordCommitted(upload, { committed: objectKey }, actual.sha256, actual.sha512);
          throw RegistryError.invalidLayer();
        }
        const layer = await this.link(repository, upload, { ...actual, sizeBytes, objectKey }, completion);
        if (staged && !isCommitted(staged)) await this.store.settle?.(staged).catch(() => undefined);
        return layer;
      } catch (error) {
        if (staging) await this.dropNew(upload, staging.appended);
        throw error instanceof BlobMissing
          ? RegistryError.uploadNotFound(upload.id, ...named(repository))
          : error;
      }
    });
  }

  private async link(
    repository: Repository,
    upload: Upload,
    layer: FinishedLayer,
    { strict, digests }: Completion,
  ): Promise<CompletedLayer> {
    const finished = await this.uploads.finish(repository, upload, layer);
    if (typeof finished === 'object') {
      await this.uploads.recordCommitted(upload, { committed: layer.objectKey }, layer.sha256, layer.sha512);
      throw RegistryError.limitExceeded(
        `The layer does not fit into the ${finished.exceeded === 'repositoryBytes' ? 'repository' : 'registry'}, which may store '${finished.limit}' bytes`,
      );
    }
    if (finished === 'lease-lost') throw RegistryError.uploadNotFound(upload.id, ...named(repository));
    this.running.forget(upload.id);
    if (finished === 'already-there' && strict)
      throw RegistryError.layerAlreadyExists(String(digests[0]), ...named(repository));
    return { sha256: layer.sha256, sha512: layer.sha512 };
  }

  private assertPartsFill(repository: Repository, upload: Upload): void {
    if (upload.offsetBytes === 0) throw RegistryError.emptyUpload(upload.id, ...named(repository));
    if (upload.smallestInnerPart !== null && upload.smallestInnerPart < MIN_LAYER_PART_BYTES)
      throw RegistryError.layerPartTooSmall();
  }

  private knownDigests(upload: Upload): { sha256: string; sha512: string | null } | null {
    if (upload.offsetBytes === 0) return this.running.at(upload.id, 0, true)!.fork().digests();
    return upload.sha256SoFar === null ? null : { sha256: upload.sha256SoFar, sha512: upload.sha512SoFar };
  }

  /** The running hash was lost to a restart or another replica (or nobody kept a SHA-512): the object tells. */
  private async reread(
    objectKey: string,
    withSha512: boolean,
  ): Promise<{ sha256: string; sha512: string | null }> {
    const sha256 = createHash('sha256');
    const sha512 = withSha512 ? createHash('sha512') : null;
    for await (const chunk of await this.store.read(objectKey)) {
      sha256.update(chunk as Buffer);
      sha512?.update(chunk as Buffer);
    }
    return { sha256: sha256.digest('hex'), sha512: sha512?.digest('hex') ?? null };
  }

  private async repeated(
    repository: Repository,
    uploadId: string,
    done: CompletedUpload,
    { digests }: Completion,
  ): Promise<CompletedLayer> {
    if (!matches(digests, done)) throw RegistryError.uploadNotFound(uploadId, ...named(repository));
    return done;
  }

  /** Store leftovers of an attempt that was not recorded; what stays behind is found by the collector. */
  private async dropNew(upload: Upload, appended: Appended): Promise<void> {
    if (upload.staged === null && appended.staged !== null)
      await this.store.discard(appended.staged).catch(() => undefined);
  }

  private async underLease<Result>(
    repository: Repository,
    uploadId: string,
    want: 'open' | { ifCompleted: (done: CompletedUpload) => Promise<Result> },
    work: (upload: Upload) => Promise<Result>,
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
        if (want === 'open') throw RegistryError.uploadNotFound(uploadId, ...named(repository));
        return want.ifCompleted(acquired.completed);
      }
      try {
        return await work(acquired.upload);
      } finally {
        await this.uploads.release(acquired.upload).catch(() => undefined);
      }
    }
  }

  /** Keeps the lease alive while bytes move, and stops them when it is lost. */
  private async whileLeased<Result>(
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
          if (first + count > 10_000)
            throw RegistryError.limitExceeded('The upload has too many parts for the store; use larger ones');
          return first;
        },
      });
    } finally {
      clearInterval(heartbeat);
    }
  }
}

function assertNext(repository: Repository, upload: Upload, range: ByteRange | undefined): void {
  if (range && range.first !== upload.offsetBytes)
    throw RegistryError.notTheNextByte(range.first, positionOf(repository, upload));
}

function isCommitted(staged: StagedBlob | null): staged is { committed: string } {
  return typeof staged?.['committed'] === 'string';
}

function wants(digests: Digest[], algorithm: string): boolean {
  return digests.some((digest) => digest.algorithm === algorithm);
}

function matches(digests: Digest[], actual: { sha256: string; sha512: string | null }): boolean {
  return digests.some(({ algorithm, hex }) => actual[algorithm] === hex);
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
