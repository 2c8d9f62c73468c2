import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { BLOB_STORE, BlobMissing, type BlobStore, type StagedBlob } from '../../../blob-store/blob-store.js';
import type { ByteRange } from '../../../domain/byte-range.js';
import type { Digest } from '../../../domain/digest.js';
import { RegistryError } from '../../../domain/registry-error.js';
import { faultPoint } from '../../../observability/fault-points.js';
import { named, type Repository } from '../../repositories/repository.js';
import { LayersService } from '../layers.service.js';
import { type IncomingBytes, receive } from './incoming-bytes.js';
import {
  assertNext,
  type CommittedObject,
  type CompletedUpload,
  isCommitted,
  MIN_LAYER_PART_BYTES,
  type Upload,
} from './upload.js';
import { UploadLeases } from './upload-leases.js';
import { recordOf, type Staging, UploadStaging } from './upload-staging.js';
import { CompletionsRepository, type FinishedLayer } from './completions.repository.js';
import { UploadsRepository } from './uploads.repository.js';

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

/** Turns upload sessions into layers. */
@Injectable()
export class CompletionsService {
  constructor(
    private readonly uploads: UploadsRepository,
    private readonly completions: CompletionsRepository,
    private readonly leases: UploadLeases,
    private readonly staging: UploadStaging,
    private readonly layers: LayersService,
    @Inject(BLOB_STORE) private readonly store: BlobStore,
  ) {}

  /**
   * Turns the session into a layer of the repository. Repeating it after a lost reply gives the same answer.
   * @throws RegistryError UploadNotFound, EmptyUpload, LayerPartTooSmall, InvalidLayer, LayerAlreadyExists, LimitExceeded
   */
  async complete(repository: Repository, uploadId: string, completion: Completion): Promise<CompletedLayer> {
    return this.leases.hold(
      repository,
      uploadId,
      (upload) => this.finish(repository, upload, completion),
      (done) => this.repeated(repository, uploadId, done, completion),
    );
  }

  private async finish(
    repository: Repository,
    upload: Upload,
    completion: Completion,
  ): Promise<CompletedLayer> {
    if (completion.strict) this.assertPartsFill(repository, upload);
    if (completion.body && this.hasAll(upload, completion.digests)) {
      // An earlier completion recorded the last bytes it brought, and got no further.
      const { body } = completion;
      await this.leases.keepAlive(repository, upload, () => drained(repository, body));
      return this.finish(repository, upload, { digests: completion.digests, strict: completion.strict });
    }
    assertNext(repository, upload, completion.range);
    if (isCommitted(upload.staged))
      return this.finishCommitted(repository, upload, upload.staged, completion);
    return this.finishStaged(repository, upload, completion).catch(async (error: unknown) => {
      const made = isGone(error) && upload.staged ? await this.store.madeOf?.(upload.staged) : null;
      if (!made) throw error;
      // An earlier completion made the object, with the last bytes it brought, and its record was lost.
      const object = { committed: made.key, sizeBytes: made.sizeBytes };
      const unknown = { ...upload, sha256SoFar: null, sha512SoFar: null };
      const body = completion.body && { source: completion.body.source };
      return this.finishCommitted(repository, unknown, object, { ...completion, ...(body && { body }) });
    });
  }

  private async finishStaged(
    repository: Repository,
    upload: Upload,
    completion: Completion,
  ): Promise<CompletedLayer> {
    const { digests } = completion;
    return this.leases.keepAlive(repository, upload, async (context) => {
      const staging = completion.body
        ? await this.staging.stage(
            repository,
            { ...upload, wantsSha512: upload.wantsSha512 || wants(digests, 'sha512') },
            completion.body,
            context,
          )
        : null;
      if (staging) faultPoint('rest-stored');
      const staged = staging ? staging.appended.staged : upload.staged;
      try {
        const sizeBytes = upload.offsetBytes + (staging?.newBytes ?? 0);
        const known = staging?.newBytes ? staging.feed?.digests() : this.knownDigests(upload);
        const comparable = known && (known.sha512 !== null || !wants(digests, 'sha512'));
        if (comparable && !matches(digests, known)) {
          faultPoint('completion-refused');
          throw RegistryError.invalidLayer();
        }
        if (staging && comparable) await this.keepLastBytes(repository, upload, staging);
        const rest = staging ? staging.appended.rest : await this.uploads.tails(upload);
        const { key: objectKey, certain } = await this.store.commit(staged, rest, context);
        faultPoint('object-completed');
        const actual =
          comparable && certain
            ? known
            : await this.reread({ objectKey, sizeBytes }, wants(digests, 'sha512'), digests);
        if (!matches(digests, actual)) {
          await this.keepCommitted(upload, { ...actual, sizeBytes, objectKey }, staged);
          faultPoint('completion-refused');
          throw RegistryError.invalidLayer();
        }
        return await this.link(repository, upload, { ...actual, sizeBytes, objectKey }, completion, staged);
      } catch (error) {
        if (staging) await this.staging.drop(upload, staging);
        throw error instanceof BlobMissing
          ? RegistryError.uploadNotFound(upload.id, ...named(repository))
          : error;
      }
    });
  }

  /**
   * A store whose commit ends the staged state must not leave a client behind an offset that it can append nothing to any more:
   * parts that came with the completion count before the commit does.
   */
  private async keepLastBytes(repository: Repository, upload: Upload, staging: Staging): Promise<void> {
    const { staged } = upload;
    if (!this.store.madeOf || staged === null || staging.appended.staged === staged) return;
    const recorded = await this.uploads.record(upload, { ...recordOf(upload, staging), keepsLease: true });
    if (!recorded) throw RegistryError.uploadNotFound(upload.id, ...named(repository));
    this.staging.recorded(upload, staging);
    faultPoint('rest-recorded');
  }

  /** Whether the bytes recorded are the layer already, so that any on the request must be the last of them once more. */
  private hasAll(upload: Upload, digests: Digest[]): boolean {
    const known = upload.offsetBytes > 0 ? this.knownDigests(upload) : null;
    return known !== null && matches(digests, known);
  }

  /**
   * An earlier completion made the object and was refused or not recorded. The bytes on this request, if any, are those that
   * are in it: a digest that matches the object names them.
   */
  private async finishCommitted(
    repository: Repository,
    upload: Upload,
    object: CommittedObject,
    completion: Completion,
  ): Promise<CompletedLayer> {
    const { digests, body } = completion;
    return this.leases.keepAlive(repository, upload, async () => {
      if (body) await drained(repository, body);
      const { sha256SoFar: sha256, sha512SoFar: sha512 } = upload;
      const { committed: objectKey, sizeBytes } = object;
      const withSha512 = wants(digests, 'sha512');
      const actual =
        sha256 === null || (withSha512 && sha512 === null)
          ? await this.reread({ objectKey, sizeBytes }, withSha512, digests)
          : { sha256, sha512 };
      if (!matches(digests, actual)) throw RegistryError.invalidLayer();
      const layer = { ...actual, sizeBytes, objectKey };
      return this.link(repository, upload, layer, completion, null);
    });
  }

  private async link(
    repository: Repository,
    upload: Upload,
    layer: FinishedLayer,
    { strict, digests }: Completion,
    staged: StagedBlob | null,
  ): Promise<CompletedLayer> {
    const finished = await this.completions.finish(repository, upload, layer);
    faultPoint('layer-linked');
    if (typeof finished === 'object') {
      await this.keepCommitted(upload, layer, staged);
      throw RegistryError.limitExceeded(
        `The layer does not fit into the ${finished.exceeded === 'repositoryBytes' ? 'repository' : 'registry'}, which may store '${finished.limit}' bytes`,
      );
    }
    if (finished === 'lease-lost') throw RegistryError.uploadNotFound(upload.id, ...named(repository));
    this.staging.forget(upload);
    if (staged) await this.settle(staged);
    faultPoint('layer-settled');
    if (finished === 'already-there' && strict)
      throw RegistryError.layerAlreadyExists(String(digests[0]), ...named(repository));
    return { sha256: layer.sha256, sha512: layer.sha512 };
  }

  /** Refused, but one object from now on: the staged bytes it was made of have served. */
  private async keepCommitted(
    upload: Upload,
    layer: FinishedLayer,
    staged: StagedBlob | null,
  ): Promise<void> {
    const kept = await this.completions.recordCommitted(upload, layer);
    if (kept && staged) await this.settle(staged);
  }

  private async settle(staged: StagedBlob): Promise<void> {
    await this.store.settle?.(staged).catch(() => undefined);
  }

  private assertPartsFill(repository: Repository, upload: Upload): void {
    if (upload.offsetBytes === 0) throw RegistryError.emptyUpload(upload.id, ...named(repository));
    if (upload.smallestInnerPart !== null && upload.smallestInnerPart < MIN_LAYER_PART_BYTES)
      throw RegistryError.layerPartTooSmall();
  }

  private knownDigests(upload: Upload): { sha256: string; sha512: string | null } | null {
    if (upload.offsetBytes === 0) return this.staging.emptyDigests();
    return upload.sha256SoFar === null ? null : { sha256: upload.sha256SoFar, sha512: upload.sha512SoFar };
  }

  /**
   * The running hash was lost to a restart or another replica (or nobody kept a SHA-512): the object tells. Before it is held
   * against the client, a store that may have answered with other bytes is asked once more.
   */
  private async reread(
    object: Pick<FinishedLayer, 'objectKey' | 'sizeBytes'>,
    withSha512: boolean,
    wanted: Digest[],
  ): Promise<{ sha256: string; sha512: string | null }> {
    const first = await this.digestsOf(object, withSha512);
    if (matches(wanted, first)) return first;
    const second = await this.digestsOf(object, withSha512);
    if (first.sha256 === second.sha256 || matches(wanted, second)) return second;
    throw RegistryError.unavailable(new Error(`The store gave different bytes for ${object.objectKey}`));
  }

  private async digestsOf(
    { objectKey, sizeBytes }: Pick<FinishedLayer, 'objectKey' | 'sizeBytes'>,
    withSha512: boolean,
  ): Promise<{ sha256: string; sha512: string | null }> {
    const sha256 = createHash('sha256');
    const sha512 = withSha512 ? createHash('sha512') : null;
    for await (const chunk of await this.store.read(objectKey, undefined, sizeBytes)) {
      sha256.update(chunk as Buffer);
      sha512?.update(chunk as Buffer);
    }
    return { sha256: sha256.digest('hex'), sha512: sha512?.digest('hex') ?? null };
  }

  /** The same answer once more, unless the layer was taken out of the repository since. */
  private async repeated(
    repository: Repository,
    uploadId: string,
    done: CompletedUpload,
    { digests }: Completion,
  ): Promise<CompletedLayer> {
    const [there] = matches(digests, done)
      ? await this.layers.availability(repository.registry, repository.name, [`sha256:${done.sha256}`])
      : [];
    if (!there || !('layer' in there)) throw RegistryError.uploadNotFound(uploadId, ...named(repository));
    return done;
  }
}

/** @throws RegistryError as {@link receive} */
async function drained(repository: Repository, body: IncomingBytes): Promise<void> {
  for await (const chunk of receive(body, repository.limits.layerBytes, () => undefined)) void chunk;
}

/** The staged bytes are not in the store any more. */
function isGone(error: unknown): boolean {
  return error instanceof RegistryError && error.code === 'UploadNotFound';
}

function wants(digests: Digest[], algorithm: string): boolean {
  return digests.some((digest) => digest.algorithm === algorithm);
}

function matches(digests: Digest[], actual: { sha256: string; sha512: string | null }): boolean {
  return digests.some(({ algorithm, hex }) => actual[algorithm] === hex);
}
