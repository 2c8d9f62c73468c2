import { Inject, Injectable } from '@nestjs/common';
import type { StagedBlob } from '../../../blob-store/blob-store.js';
import { CONFIG, type Config } from '../../../config/config.js';
import { isForeignKeyViolation } from '../../../database/database-errors.js';
import { JobsPrismaService } from '../../../database/jobs-prisma.service.js';

export interface DoomedObject {
  id: bigint;
  objectKey: string | null;
  staged: StagedBlob | null;
}

/** Queries of the collector. Every one handles a bounded number of rows, so that it can be stopped and begun again anywhere. */
@Injectable()
export class CollectionRepository {
  private readonly expirySeconds: number;
  private readonly graceSeconds: number;

  constructor(
    private readonly prisma: JobsPrismaService,
    @Inject(CONFIG) config: Config,
  ) {
    this.expirySeconds = config.STOWAGE_UPLOAD_EXPIRY_HOURS * 3600;
    this.graceSeconds = config.STOWAGE_ORPHAN_GRACE_HOURS * 3600;
  }

  /** Ends uploads nobody continued; their bytes are doomed in the same statement. @returns how many */
  async expireUploads(limit: number): Promise<number> {
    const [row] = await this.prisma.$queryRaw<{ expired: number }[]>`
      WITH stale AS (
        SELECT id, repository_id, staged FROM upload
        WHERE state = 'open' AND created_at < now() - make_interval(secs => ${this.expirySeconds}::float8)
          AND touched_at < now() - make_interval(secs => ${this.expirySeconds}::float8)
          AND (lease_expires_at IS NULL OR lease_expires_at < now())
        LIMIT ${limit} FOR UPDATE SKIP LOCKED),
      expired AS (
        UPDATE upload SET state = 'aborted', staged = NULL, tail_bytes = 0, lease_token = NULL, lease_expires_at = NULL, touched_at = now()
        FROM stale WHERE upload.id = stale.id RETURNING upload.id),
      tails AS (DELETE FROM upload_tail USING stale WHERE upload_id = stale.id),
      parts AS (DELETE FROM upload_part USING stale WHERE upload_id = stale.id),
      doomed AS (INSERT INTO doomed_object (staged) SELECT staged FROM stale WHERE staged IS NOT NULL),
      counted AS (SELECT count_in_repository(repository_id, 0, 0, -count(*)) FROM stale GROUP BY repository_id)
      SELECT count(*)::int AS expired, (SELECT count(*) FROM counted) AS counted FROM expired`;
    return row!.expired;
  }

  /** Rows of finished uploads are kept as long as an open one would live, to recognise a repeated completion. */
  async forgetFinishedUploads(limit: number): Promise<number> {
    return this.prisma.$executeRaw`
      DELETE FROM upload WHERE id IN (
        SELECT id FROM upload WHERE state <> 'open' AND touched_at < now() - make_interval(secs => ${this.expirySeconds}::float8)
        LIMIT ${limit} FOR UPDATE SKIP LOCKED)`;
  }

  /**
   * Drops blobs no repository sees, once they are past the grace time. A link made at the same moment keeps its blob, by a lock
   * on the row or else by its foreign key, which refuses the statement; a new one then sees the link.
   */
  async dropUnseenBlobs(limit: number): Promise<number> {
    for (;;) {
      try {
        return await this.prisma.$executeRaw`
          WITH unseen AS (
            DELETE FROM blob WHERE id IN (
              SELECT b.id FROM blob b WHERE b.created_at < now() - make_interval(secs => ${this.graceSeconds}::float8)
                AND NOT EXISTS (SELECT 1 FROM repository_layer l WHERE l.blob_id = b.id)
              LIMIT ${limit} FOR UPDATE SKIP LOCKED)
            RETURNING object_key)
          INSERT INTO doomed_object (object_key) SELECT object_key FROM unseen`;
      } catch (error) {
        if (!isForeignKeyViolation(error)) throw error;
      }
    }
  }

  /** Takes doomed objects that are due; each comes again later, at growing intervals, until it is {@link buried}. */
  async claimDoomed(limit: number): Promise<DoomedObject[]> {
    return this.prisma.$queryRaw<DoomedObject[]>`
      UPDATE doomed_object SET attempts = attempts + 1, not_before = now() + least(interval '1 minute' * power(2, attempts), interval '1 day')
      WHERE id IN (
        SELECT d.id FROM doomed_object d WHERE d.not_before <= now() AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.object_key = d.object_key)
        ORDER BY d.not_before LIMIT ${limit} FOR UPDATE SKIP LOCKED)
      RETURNING id, object_key AS "objectKey", staged`;
  }

  async buried(ids: bigint[]): Promise<void> {
    await this.prisma.doomedObject.deleteMany({ where: { id: { in: ids } } });
  }

  /** Which of these object keys some row still speaks of. */
  async knownKeys(keys: string[]): Promise<Set<string>> {
    const rows = await this.prisma.$queryRaw<{ key: string }[]>`
      SELECT object_key AS key FROM blob WHERE object_key = ANY(${keys}::text[])
      UNION SELECT object_key FROM doomed_object WHERE object_key = ANY(${keys}::text[])
      UNION SELECT staged->>'committed' FROM upload WHERE state = 'open' AND staged->>'committed' = ANY(${keys}::text[])
      UNION SELECT staged->>'key' FROM upload WHERE state = 'open' AND staged->>'key' = ANY(${keys}::text[])`;
    return new Set(rows.map(({ key }) => key));
  }

  /** Staged states of open uploads that write to one of these keys. */
  async stagedAt(keys: string[]): Promise<StagedBlob[]> {
    const rows = await this.prisma.$queryRaw<{ staged: StagedBlob }[]>`
      SELECT staged FROM upload WHERE state = 'open' AND staged->>'key' = ANY(${keys}::text[])`;
    return rows.map(({ staged }) => staged);
  }
}
