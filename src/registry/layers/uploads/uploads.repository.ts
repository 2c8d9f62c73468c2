import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { StagedBlob } from '../../../blob-store/blob-store.js';
import { CONFIG, type Config } from '../../../config/config.js';
import { isForeignKeyViolation } from '../../../database/database-errors.js';
import { Prisma } from '../../../database/generated/client.js';
import { PrismaService } from '../../../database/prisma.service.js';
import { UNSEEN_AT_MOST } from '../../quotas/quotas.js';
import type { Repository } from '../../repositories/repository.js';
import { type CompletedUpload, LEASE_SECONDS, newUploadId, type Upload } from './upload.js';

type UploadRow = Omit<Upload, 'offsetBytes' | 'lease'> & { offsetBytes: bigint };

/** What taking the lease found. */
export type Acquired = { upload: Upload } | { completed: CompletedUpload } | 'missing' | 'busy';

/** What one accepted append changes. */
export interface AppendRecord {
  offsetBytes: number;
  staged: StagedBlob | null;
  /** Drop the tail rows: their bytes are in the store now. */
  tailStored: boolean;
  /** Bytes to keep in the row's tail, and where they begin. */
  newTail: { firstByte: number; bytes: Buffer } | null;
  tailBytes: number;
  sha256SoFar: string | null;
  sha512SoFar: string | null;
  /** The request goes on with the upload, so its lease stays. */
  keepsLease: boolean;
  /** Only for UploadLayerPart. */
  part: { firstByte: number; lastByte: number; crc32: number } | null;
}

const COLUMNS = Prisma.sql`
  id::text, repository_id AS "repositoryId", offset_bytes AS "offsetBytes", staged, tail_bytes AS "tailBytes",
  sha256_so_far AS "sha256SoFar", sha512_so_far AS "sha512SoFar", wants_sha512 AS "wantsSha512", part_count AS "partCount",
  smallest_inner_part AS "smallestInnerPart", last_part_bytes AS "lastPartBytes"`;

/** True, and makes the statement's own transaction commit at once: what it changes is nothing anybody was told of. */
const NOT_WAITING_FOR_THE_DISK = Prisma.sql`set_config('synchronous_commit', 'off', true) IS NOT NULL`;

/** Rows of upload sessions. Every change of an open one demands the lease and moves the offset by compare-and-set. */
@Injectable()
export class UploadsRepository {
  private readonly expirySeconds: number;

  constructor(
    private readonly prisma: PrismaService,
    @Inject(CONFIG) config: Config,
  ) {
    this.expirySeconds = config.STOWAGE_UPLOAD_EXPIRY_HOURS * 3600;
  }

  /** @returns the id, or what stood against another open upload */
  async begin(
    repository: Repository,
    wantsSha512: boolean,
  ): Promise<{ id: string } | 'full' | 'repository-gone'> {
    const limit = repository.limits.openUploadsPerRepository;
    try {
      // The repository's row first, as its deletion does: else each could hold what the other waits for.
      const [row] = await this.prisma.prepared<{ there: boolean; id: string | null }>(Prisma.sql`
        WITH here AS (SELECT id FROM repository WHERE id = ${repository.id}::bigint FOR KEY SHARE),
        begun AS (
          INSERT INTO upload (id, repository_id, wants_sha512)
          SELECT ${newUploadId()}::uuid, here.id, ${wantsSha512}::boolean FROM here
          WHERE take_in_repository(here.id, 'uploads', 1, ${limit}::bigint, ${UNSEEN_AT_MOST}::bigint)
          RETURNING id)
        SELECT EXISTS (SELECT 1 FROM here) AS there, (SELECT id::text FROM begun) AS id`);
      if (!row!.there) return 'repository-gone';
      return row!.id === null ? 'full' : { id: row!.id };
    } catch (error) {
      if (isForeignKeyViolation(error)) return 'repository-gone';
      throw error;
    }
  }

  /** Takes the lease unless another live request holds it. A lease that a crash of the database forgets is only free again. */
  async acquire(repository: Repository, uploadId: string): Promise<Acquired> {
    const lease = randomUUID();
    const [row] = await this.prisma.prepared<UploadRow>(Prisma.sql`
      UPDATE upload SET lease_token = ${lease}::uuid, lease_expires_at = now() + make_interval(secs => ${LEASE_SECONDS})
      WHERE id = ${uploadId}::uuid AND repository_id = ${repository.id} AND state = 'open'
        AND (lease_expires_at IS NULL OR lease_expires_at < now())
        AND touched_at > now() - make_interval(secs => ${this.expirySeconds}::float8) AND ${NOT_WAITING_FOR_THE_DISK}
      RETURNING ${COLUMNS}`);
    if (row) return { upload: { ...row, offsetBytes: Number(row.offsetBytes), lease } };
    return this.explain(repository, uploadId);
  }

  /** Offset of an open upload, without taking the lease. */
  async offset(repository: Repository, uploadId: string): Promise<number | null> {
    const [row] = await this.prisma.prepared<{ offsetBytes: bigint }>(Prisma.sql`
      SELECT offset_bytes AS "offsetBytes" FROM upload
      WHERE id = ${uploadId}::uuid AND repository_id = ${repository.id} AND state = 'open'
        AND touched_at > now() - make_interval(secs => ${this.expirySeconds}::float8)`);
    return row ? Number(row.offsetBytes) : null;
  }

  /** @returns false when the lease is another's by now */
  async renew(upload: Upload): Promise<boolean> {
    return (await this.takePartNumbers(upload, 0)) !== null;
  }

  /** Takes store part numbers for this attempt and renews the lease. @returns the first one, or null when the lease is lost */
  async takePartNumbers(upload: Upload, count: number): Promise<number | null> {
    const [row] = await this.prisma.prepared<{ first: number }>(Prisma.sql`
      UPDATE upload SET next_part_number = next_part_number + ${count}::int,
        lease_expires_at = now() + make_interval(secs => ${LEASE_SECONDS})
      WHERE id = ${upload.id}::uuid AND lease_token = ${upload.lease}::uuid AND state = 'open'
      RETURNING next_part_number - ${count}::int AS first`);
    return row?.first ?? null;
  }

  /** Gives the lease back; without a statement where a recorded change did so already. */
  async release(upload: Upload): Promise<void> {
    if (upload.lease === null) return;
    await this.prisma.prepared(Prisma.sql`
      UPDATE upload SET lease_token = NULL, lease_expires_at = NULL
      WHERE id = ${upload.id}::uuid AND lease_token = ${upload.lease}::uuid AND ${NOT_WAITING_FOR_THE_DISK}`);
  }

  async tails(upload: Upload): Promise<Buffer[]> {
    if (upload.tailBytes === 0) return [];
    const rows = await this.prisma.$queryRaw<{ bytes: Uint8Array }[]>`
      SELECT bytes FROM upload_tail WHERE upload_id = ${upload.id}::uuid ORDER BY first_byte`;
    return rows.map(({ bytes }) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  async findPart(
    uploadId: string,
    firstByte: number,
  ): Promise<{ lastByte: number; crc32: number | null } | null> {
    const row = await this.prisma.uploadPart.findUnique({
      where: { uploadId_firstByte: { uploadId, firstByte: BigInt(firstByte) } },
    });
    return row
      ? { lastByte: Number(row.lastByte), crc32: row.crc32 === null ? null : Number(row.crc32) }
      : null;
  }

  /** One statement: moves the offset, keeps the tail, remembers the part, mostly gives the lease back. @returns false when the lease is lost */
  async record(upload: Upload, next: AppendRecord): Promise<boolean> {
    const partBytes = next.part ? next.part.lastByte - next.part.firstByte + 1 : null;
    const [row] = await this.prisma.prepared<{ moved: number }>(Prisma.sql`
      WITH moved AS (
        UPDATE upload SET offset_bytes = ${next.offsetBytes}::bigint, staged = ${json(next.staged)}::jsonb, tail_bytes = ${next.tailBytes}::int,
          sha256_so_far = ${next.sha256SoFar}, sha512_so_far = ${next.sha512SoFar},
          part_count = part_count + ${next.part ? 1 : 0}::int,
          smallest_inner_part = CASE WHEN ${partBytes}::int IS NULL THEN smallest_inner_part ELSE least(smallest_inner_part, last_part_bytes) END,
          last_part_bytes = coalesce(${partBytes}::int, last_part_bytes),
          lease_token = CASE WHEN ${next.keepsLease} THEN lease_token END,
          lease_expires_at = CASE WHEN ${next.keepsLease} THEN lease_expires_at END, touched_at = now()
        WHERE id = ${upload.id}::uuid AND lease_token = ${upload.lease}::uuid AND state = 'open'
          AND offset_bytes = ${upload.offsetBytes}::bigint
        RETURNING id),
      stored AS (DELETE FROM upload_tail USING moved WHERE upload_id = moved.id AND ${next.tailStored}),
      kept AS (
        INSERT INTO upload_tail (upload_id, first_byte, bytes)
        SELECT id, ${next.newTail?.firstByte ?? 0}::bigint, ${next.newTail?.bytes ?? null}::bytea FROM moved WHERE ${next.newTail !== null}),
      part AS (
        INSERT INTO upload_part (upload_id, first_byte, last_byte, crc32)
        SELECT id, ${next.part?.firstByte ?? 0}::bigint, ${next.part?.lastByte ?? 0}::bigint, ${next.part?.crc32 ?? 0}::bigint FROM moved WHERE ${next.part !== null})
      SELECT count(*)::int AS moved FROM moved`);
    if (row?.moved !== 1) return false;
    if (!next.keepsLease) upload.lease = null;
    return true;
  }

  /** Ends an open upload and hands its bytes to the collector. @returns false when there is none, or another request works on it */
  async abort(repository: Repository, upload: Upload): Promise<boolean> {
    const [row] = await this.prisma.prepared<{ aborted: number }>(Prisma.sql`
      WITH here AS (SELECT id FROM repository WHERE id = ${repository.id} FOR KEY SHARE),
      aborted AS (
        UPDATE upload u SET state = 'aborted', staged = NULL, tail_bytes = 0, lease_token = NULL, lease_expires_at = NULL, touched_at = now()
        FROM here, upload before WHERE u.repository_id = here.id AND u.id = before.id AND u.id = ${upload.id}::uuid AND u.repository_id = ${repository.id}
          AND u.lease_token = ${upload.lease}::uuid AND u.state = 'open'
        RETURNING u.id, before.staged),
      tails AS (DELETE FROM upload_tail USING aborted WHERE upload_id = aborted.id),
      parts AS (DELETE FROM upload_part USING aborted WHERE upload_id = aborted.id),
      doomed AS (INSERT INTO doomed_object (staged) SELECT staged FROM aborted WHERE staged IS NOT NULL)
      SELECT count(*)::int AS aborted, count(count_in_repository(${repository.id}::bigint, 0, 0, -1))::int AS counted FROM aborted`);
    if (row?.aborted !== 1) return false;
    upload.lease = null;
    return true;
  }

  private async explain(repository: Repository, uploadId: string): Promise<Acquired> {
    const [row] = await this.prisma.$queryRaw<
      { state: string; live: boolean; sha256: string | null; sha512: string | null }[]
    >`
      SELECT state::text, touched_at > now() - make_interval(secs => ${this.expirySeconds}::float8) AS live,
        completed_sha256 AS sha256, completed_sha512 AS sha512
      FROM upload WHERE id = ${uploadId}::uuid AND repository_id = ${repository.id}`;
    if (!row?.live) return 'missing';
    if (row.state === 'completed') return { completed: { sha256: row.sha256!, sha512: row.sha512 } };
    return row.state === 'open' ? 'busy' : 'missing';
  }
}

function json(value: StagedBlob | null): string | null {
  return value === null ? null : JSON.stringify(value);
}
