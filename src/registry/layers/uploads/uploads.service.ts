import { Injectable } from '@nestjs/common';
import { isUnavailable } from '../../../database/database-errors.js';
import type { ByteRange } from '../../../domain/byte-range.js';
import { rangeLength } from '../../../domain/byte-range.js';
import { RegistryError } from '../../../domain/registry-error.js';
import { faultPoint } from '../../../observability/fault-points.js';
import { QuotasService } from '../../quotas/quotas.service.js';
import { named, type Repository } from '../../repositories/repository.js';
import type { IncomingBytes } from './incoming-bytes.js';
import { assertNext, isUploadId, positionOf, type Upload } from './upload.js';
import { UploadLeases } from './upload-leases.js';
import { recordOf, UploadStaging } from './upload-staging.js';
import { type AppendRecord, UploadsRepository } from './uploads.repository.js';

/** Upload sessions: one state machine behind both doors. Completing them is in `completions.service.ts`. */
@Injectable()
export class UploadsService {
  constructor(
    private readonly uploads: UploadsRepository,
    private readonly leases: UploadLeases,
    private readonly staging: UploadStaging,
    private readonly quotas: QuotasService,
  ) {}

  /** @returns the id of a new session @throws RegistryError LimitExceeded, RepositoryNotFound */
  async begin(repository: Repository, options: { wantsSha512?: boolean } = {}): Promise<string> {
    const begun = await this.uploads.begin(repository, options.wantsSha512 ?? false);
    faultPoint('upload-begun');
    if (typeof begun === 'object') return begun.id;
    if (begun === 'repository-gone') throw RegistryError.repositoryNotFound(...named(repository));
    throw RegistryError.limitExceeded(
      `The repository with name '${repository.name}' in registry with id '${repository.registry.accountId}' already has the maximum allowed number of open uploads which is '${repository.limits.openUploadsPerRepository}'`,
    );
  }

  /** Bytes acknowledged so far. @throws RegistryError UploadNotFound */
  async offset(repository: Repository, uploadId: string): Promise<number> {
    const offset = isUploadId(uploadId) ? await this.uploads.offset(repository, uploadId) : null;
    if (offset === null) throw RegistryError.uploadNotFound(uploadId, ...named(repository));
    return offset;
  }

  /**
   * Accepts one UploadLayerPart. The same range with the same bytes again is a success and not recorded twice. A CRC-32 is
   * enough to tell a repetition by: other bytes that pass for it are refused when the layer's digest is compared.
   * @throws RegistryError UploadNotFound, InvalidLayerPart, LimitExceeded
   */
  async appendPart(
    repository: Repository,
    uploadId: string,
    range: ByteRange,
    bytes: Buffer,
    crc32: number,
  ): Promise<void> {
    await this.leases.hold(repository, uploadId, async (upload) => {
      const position = positionOf(repository, upload);
      if (range.last < range.first || rangeLength(range) !== bytes.length) {
        throw RegistryError.invalidLayerPart(
          `The layer part of ${bytes.length} bytes does not fill the range from ${range.first} to ${range.last}`,
          position,
        );
      }
      if (range.first !== upload.offsetBytes) {
        const accepted = await this.uploads.findPart(upload.id, range.first);
        if (accepted?.lastByte === range.last && accepted.crc32 === crc32) return;
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
        { source: bytes, crc32 },
        { firstByte: range.first, lastByte: range.last, crc32 },
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
    return this.leases.hold(repository, uploadId, async (upload) => {
      assertNext(repository, upload, range);
      return this.append(repository, upload, body, null);
    });
  }

  /** @throws RegistryError UploadNotFound */
  async cancel(repository: Repository, uploadId: string): Promise<void> {
    await this.leases.hold(repository, uploadId, async (upload) => {
      await this.uploads.abort(repository, upload);
      faultPoint('upload-cancelled');
      this.staging.forget(upload);
    });
  }

  private async append(
    repository: Repository,
    upload: Upload,
    body: IncomingBytes,
    part: { firstByte: number; lastByte: number; crc32: number } | null,
  ): Promise<number> {
    return this.leases.keepAlive(repository, upload, async (context) => {
      const staging = await this.staging.stage(repository, upload, body, context);
      faultPoint('part-stored');
      if (staging.newBytes === 0) return upload.offsetBytes;
      const next = { ...recordOf(upload, staging), part };
      const recorded = await this.record(repository, upload, next);
      faultPoint('part-recorded');
      if (!recorded) {
        await this.staging.drop(upload, staging);
        throw RegistryError.uploadNotFound(upload.id, ...named(repository));
      }
      this.staging.recorded(upload, staging);
      return next.offsetBytes;
    });
  }

  /**
   * A reply that was lost on its way may be that of a record that was made. While the lease is ours, nobody else can have moved
   * the offset, so where it stands tells.
   */
  private async record(repository: Repository, upload: Upload, next: AppendRecord): Promise<boolean> {
    try {
      return await this.uploads.record(upload, next);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      const offset = await this.uploads.offset(repository, upload.id).catch(() => null);
      if (offset !== next.offsetBytes || !this.leases.isFresh(upload)) throw error;
      upload.lease = null;
      return true;
    }
  }
}
