import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { StagedBlob } from '../../../blob-store/blob-store.js';
import { CONFIG, type Config } from '../../../config/config.js';
import { Prisma } from '../../../database/generated/client.js';
import { PrismaService } from '../../../database/prisma.service.js';
import { inTransaction } from '../../../database/transaction.js';
import type { Repository } from '../../repositories/repository.js';
import {
  type CommittedObject,
  type CompletedUpload,
  LEASE_SECONDS,
  newUploadId,
  type Upload,
} from './upload.js';

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
  /** Only for UploadLayerPart. */
  part: { firstByte: number; lastByte: number; sha256: string } | null;
}

export interface FinishedLayer {
  sha256: string;
  sha512: string | null;
  sizeBytes: number;
  objectKey: string;
}

export type Finished =
  | 'linked'
  | 'already-there'
  | 'lease-lost'
  | { exceeded: 'repositoryBytes' | 'registryBytes'; limit: number };

const COLUMNS = Prisma.sql`
  id::text, repository_id AS "repositoryId", offset_bytes AS "offsetBytes", staged, tail_bytes AS "tailBytes",
  sha256_so_far AS "sha256SoFar", sha512_so_far AS "sha512SoFar", wants_sha512 AS "wantsSha512", part_count AS "partCount",
  smallest_inner_part AS "smallestInnerPart", last_part_bytes AS "lastPartBytes"`;

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
    const rows = await this.prisma.$queryRaw<{ id: string }[]>`
      WITH room AS (
        UPDATE repository SET open_uploads = open_uploads + 1
        WHERE id = ${repository.id} AND (${limit}::bigint IS NULL OR open_uploads < ${limit}::bigint) RETURNING id)
      INSERT INTO upload (id, repository_id, wants_sha512) SELECT ${newUploadId()}::uuid, id, ${wantsSha512} FROM room
      RETURNING id::text`;
    if (rows[0]) return rows[0];
    const exists = await this.prisma.repository.findUnique({
      where: { id: repository.id },
      select: { id: true },
    });
    return exists ? 'full' : 'repository-gone';
  }

  /** Takes the lease unless another live request holds it. */
  async acquire(repository: Repository, uploadId: string): Promise<Acquired> {
    const lease = randomUUID();
    const [row] = await this.prisma.$queryRaw<UploadRow[]>`
      UPDATE upload SET lease_token = ${lease}::uuid, lease_expires_at = now() + make_interval(secs => ${LEASE_SECONDS})
      WHERE id = ${uploadId}::uuid AND repository_id = ${repository.id} AND state = 'open'
        AND (lease_expires_at IS NULL OR lease_expires_at < now())
        AND touched_at > now() - make_interval(secs => ${this.expirySeconds}::float8)
      RETURNING ${COLUMNS}`;
    if (row) return { upload: { ...row, offsetBytes: Number(row.offsetBytes), lease } };
    return this.explain(repository, uploadId);
  }

  /** Offset of an open upload, without taking the lease. */
  async offset(repository: Repository, uploadId: string): Promise<number | null> {
    const [row] = await this.prisma.$queryRaw<{ offsetBytes: bigint }[]>`
      SELECT offset_bytes AS "offsetBytes" FROM upload
      WHERE id = ${uploadId}::uuid AND repository_id = ${repository.id} AND state = 'open'
        AND touched_at > now() - make_interval(secs => ${this.expirySeconds}::float8)`;
    return row ? Number(row.offsetBytes) : null;
  }

  /** @returns false when the lease is another's by now */
  async renew(upload: Upload): Promise<boolean> {
    return (await this.takePartNumbers(upload, 0)) !== null;
  }

  /** Takes store part numbers for this attempt and renews the lease. @returns the first one, or null when the lease is lost */
  async takePartNumbers(upload: Upload, count: number): Promise<number | null> {
    const [row] = await this.prisma.$queryRaw<{ first: number }[]>`
      UPDATE upload SET next_part_number = next_part_number + ${count}::int,
        lease_expires_at = now() + make_interval(secs => ${LEASE_SECONDS})
      WHERE id = ${upload.id}::uuid AND lease_token = ${upload.lease}::uuid AND state = 'open'
      RETURNING next_part_number - ${count}::int AS first`;
    return row?.first ?? null;
  }

  /** Gives the lease back; without a statement where a recorded change did so already. */
  async release(upload: Upload): Promise<void> {
    if (upload.lease === null) return;
    await this.prisma.$executeRaw`
      UPDATE upload SET lease_token = NULL, lease_expires_at = NULL
      WHERE id = ${upload.id}::uuid AND lease_token = ${upload.lease}::uuid`;
  }

  async tails(upload: Upload): Promise<Buffer[]> {
    if (upload.tailBytes === 0) return [];
    const rows = await this.prisma.$queryRaw<{ bytes: Uint8Array }[]>`
      SELECT bytes FROM upload_tail WHERE upload_id = ${upload.id}::uuid ORDER BY first_byte`;
    return rows.map(({ bytes }) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  async findPart(uploadId: string, firstByte: number): Promise<{ lastByte: number; sha256: string } | null> {
    const row = await this.prisma.uploadPart.findUnique({
      where: { uploadId_firstByte: { uploadId, firstByte: BigInt(firstByte) } },
    });
    return row ? { lastByte: Number(row.lastByte), sha256: row.sha256 } : null;
  }

  /** One statement: moves the offset, keeps the tail, remembers the part, gives the lease back. @returns false when the lease is lost */
  async record(upload: Upload, next: AppendRecord): Promise<boolean> {
    const partBytes = next.part ? next.part.lastByte - next.part.firstByte + 1 : null;
    const [row] = await this.prisma.$queryRaw<{ moved: number }[]>`
      WITH moved AS (
        UPDATE upload SET offset_bytes = ${next.offsetBytes}::bigint, staged = ${json(next.staged)}::jsonb, tail_bytes = ${next.tailBytes}::int,
          sha256_so_far = ${next.sha256SoFar}, sha512_so_far = ${next.sha512SoFar},
          part_count = part_count + ${next.part ? 1 : 0}::int,
          smallest_inner_part = CASE WHEN ${partBytes}::int IS NULL THEN smallest_inner_part ELSE least(smallest_inner_part, last_part_bytes) END,
          last_part_bytes = coalesce(${partBytes}::int, last_part_bytes),
          lease_token = NULL, lease_expires_at = NULL, touched_at = now()
        WHERE id = ${upload.id}::uuid AND lease_token = ${upload.lease}::uuid AND state = 'open'
          AND offset_bytes = ${upload.offsetBytes}::bigint
        RETURNING id),
      stored AS (DELETE FROM upload_tail USING moved WHERE upload_id = moved.id AND ${next.tailStored}),
      kept AS (
        INSERT INTO upload_tail (upload_id, first_byte, bytes)
        SELECT id, ${next.newTail?.firstByte ?? 0}::bigint, ${next.newTail?.bytes ?? null}::bytea FROM moved WHERE ${next.newTail !== null}),
      part AS (
        INSERT INTO upload_part (upload_id, first_byte, last_byte, sha256)
        SELECT id, ${next.part?.firstByte ?? 0}::bigint, ${next.part?.lastByte ?? 0}::bigint, ${next.part?.sha256 ?? ''} FROM moved WHERE ${next.part !== null})
      SELECT count(*)::int AS moved FROM moved`;
    if (row?.moved !== 1) return false;
    upload.lease = null;
    return true;
  }

  /**
   * The bytes are one object now, but the completion was refused: keeps that, so that a completion with the right digest
   * need not read them again.
   */
  async recordCommitted(upload: Upload, layer: FinishedLayer): Promise<void> {
    await this.prisma.$executeRaw`
      WITH moved AS (
        UPDATE upload SET staged = ${json({ committed: layer.objectKey, sizeBytes: layer.sizeBytes } satisfies CommittedObject)}::jsonb, tail_bytes = 0,
          sha256_so_far = ${layer.sha256}, sha512_so_far = ${layer.sha512}
        WHERE id = ${upload.id}::uuid AND lease_token = ${upload.lease}::uuid AND state = 'open' RETURNING id)
      DELETE FROM upload_tail USING moved WHERE upload_id = moved.id`;
  }

  /** The commit: digest → object, repository → layer, counters, tombstone, all or nothing. */
  async finish(repository: Repository, upload: Upload, layer: FinishedLayer): Promise<Finished> {
    const { repositoryBytes, registryBytes } = repository.limits;
    const finished = await inTransaction(this.prisma, async (tx): Promise<Finished> => {
      if (registryBytes !== null) {
        // Sums over the whole registry are only true while nobody else adds to it.
        await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('registry-bytes', ${repository.registryRow}))`;
      }
      const [done] = await tx.$queryRaw<
        { finished: number; linked: number; repositoryBytes: bigint | null }[]
      >`
        WITH finished AS (
          UPDATE upload SET state = 'completed', staged = NULL, tail_bytes = 0, lease_token = NULL, lease_expires_at = NULL,
            completed_sha256 = ${layer.sha256}, completed_sha512 = ${layer.sha512}, touched_at = now()
          WHERE id = ${upload.id}::uuid AND lease_token = ${upload.lease}::uuid AND state = 'open' RETURNING id),
        tails AS (DELETE FROM upload_tail USING finished WHERE upload_id = finished.id),
        parts AS (DELETE FROM upload_part USING finished WHERE upload_id = finished.id),
        stored AS (
          INSERT INTO blob (sha256, sha512, size_bytes, object_key)
          SELECT ${layer.sha256}, ${layer.sha512}, ${layer.sizeBytes}::bigint, ${layer.objectKey} FROM finished
          ON CONFLICT (sha256) DO UPDATE SET sha512 = coalesce(blob.sha512, excluded.sha512)
          RETURNING id, object_key),
        spare AS (INSERT INTO doomed_object (object_key) SELECT ${layer.objectKey} FROM stored WHERE object_key <> ${layer.objectKey}),
        linked AS (
          INSERT INTO repository_layer (repository_id, blob_id) SELECT ${repository.id}, id FROM stored
          ON CONFLICT DO NOTHING RETURNING blob_id),
        counted AS (
          UPDATE repository SET open_uploads = greatest(open_uploads - 1, 0),
            stored_bytes = stored_bytes + CASE WHEN EXISTS (SELECT 1 FROM linked) THEN ${layer.sizeBytes}::bigint ELSE 0 END
          WHERE id = ${repository.id} AND EXISTS (SELECT 1 FROM finished) RETURNING stored_bytes)
        SELECT (SELECT count(*)::int FROM finished) AS finished, (SELECT count(*)::int FROM linked) AS linked,
          (SELECT stored_bytes FROM counted) AS "repositoryBytes"`;
      if (done!.finished === 0) return 'lease-lost';
      if (done!.linked === 0) return 'already-there';
      if (repositoryBytes !== null && Number(done!.repositoryBytes) > repositoryBytes) {
        throw new Exceeded('repositoryBytes', repositoryBytes);
      }
      if (registryBytes !== null && (await registryTotal(tx, repository.registryRow)) > registryBytes) {
        throw new Exceeded('registryBytes', registryBytes);
      }
      return 'linked';
    }).catch((error: unknown) => {
      if (error instanceof Exceeded) return { exceeded: error.quota, limit: error.limit };
      throw error;
    });
    if (finished === 'linked' || finished === 'already-there') upload.lease = null;
    return finished;
  }

  /** Ends an open upload and hands its bytes to the collector. @returns false when there is none, or another request works on it */
  async abort(repository: Repository, upload: Upload): Promise<boolean> {
    const [row] = await this.prisma.$queryRaw<{ aborted: number }[]>`
      WITH aborted AS (
        UPDATE upload u SET state = 'aborted', staged = NULL, tail_bytes = 0, lease_token = NULL, lease_expires_at = NULL, touched_at = now()
        FROM upload before WHERE u.id = before.id AND u.id = ${upload.id}::uuid AND u.repository_id = ${repository.id}
          AND u.lease_token = ${upload.lease}::uuid AND u.state = 'open'
        RETURNING u.id, before.staged),
      tails AS (DELETE FROM upload_tail USING aborted WHERE upload_id = aborted.id),
      parts AS (DELETE FROM upload_part USING aborted WHERE upload_id = aborted.id),
      doomed AS (INSERT INTO doomed_object (staged) SELECT staged FROM aborted WHERE staged IS NOT NULL),
      counted AS (
        UPDATE repository SET open_uploads = greatest(open_uploads - 1, 0) WHERE id = ${repository.id} AND EXISTS (SELECT 1 FROM aborted))
      SELECT count(*)::int AS aborted FROM aborted`;
    if (row?.aborted !== 1) return false;
    upload.lease = null;
    return true;
  }

  /** Hands an object nobody refers to to the collector. */
  async doom(object: { objectKey: string } | { staged: StagedBlob }): Promise<void> {
    const data =
      'objectKey' in object
        ? { objectKey: object.objectKey }
        : { staged: object.staged as Prisma.InputJsonObject };
    await this.prisma.doomedObject.create({ data });
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

class Exceeded extends Error {
  constructor(
    readonly quota: 'repositoryBytes' | 'registryBytes',
    readonly limit: number,
  ) {
    super('quota exceeded');
  }
}

/** Bytes of the layers over all repositories of a registry; a layer counts once per repository that sees it. */
export async function registryTotal(tx: Prisma.TransactionClient, registryRow: bigint): Promise<number> {
  const [row] = await tx.$queryRaw<{ total: bigint }[]>`
    SELECT coalesce(sum(stored_bytes), 0)::bigint AS total FROM repository WHERE registry_id = ${registryRow}`;
  return Number(row!.total);
}

function json(value: StagedBlob | null): string | null {
  return value === null ? null : JSON.stringify(value);
}
