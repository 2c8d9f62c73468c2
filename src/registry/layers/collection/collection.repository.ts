import { Inject, Injectable } from '@nestjs/common';
import type { StagedBlob } from '../../../blob-store/blob-store.js';
import { CONFIG, type Config } from '../../../config/config.js';
import { JobsPrismaService } from '../../../database/jobs-prisma.service.js';

export interface DoomedObject {
  id: bigint;
  objectKey: string | null;
  staged: StagedBlob | null;
}

/** How long the store may take for one batch of objects. */
const REMOVAL_PATIENCE_MS = 600_000;
/** Longer queues are shown as this long: exact figures would cost more than they tell. */
const LONGEST_QUEUE = 100_000;

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
    this.graceSeconds = config.STOWAGE_UNREFERENCED_LAYER_HOURS * 3600;
  }

  /**
   * Ends uploads nobody continued; their bytes are doomed in the same statement. Those of a repository that is being deleted are
   * left to that. @returns how many
   */
  async expireUploads(limit: number): Promise<number> {
    const [row] = await this.prisma.$queryRaw<{ expired: number }[]>`
      WITH stale AS (
        SELECT u.id, u.repository_id, u.staged FROM upload u JOIN repository r ON r.id = u.repository_id
        WHERE u.state = 'open' AND u.created_at < now() - make_interval(secs => ${this.expirySeconds}::float8)
          AND u.touched_at < now() - make_interval(secs => ${this.expirySeconds}::float8)
          AND (u.lease_expires_at IS NULL OR u.lease_expires_at < now())
        LIMIT ${limit} FOR KEY SHARE OF r SKIP LOCKED FOR UPDATE OF u SKIP LOCKED),
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
   * Runs the work unless a backup, which holds this lock shared, wants every object kept; at the end of the work a backup may
   * begin. What the work removes must be chosen inside of it: nothing a backup's snapshot refers to is then ever removed.
   * @returns null when objects must stay now
   */
  async whileObjectsMayGo<Result>(work: () => Promise<Result>): Promise<Result | null> {
    return this.prisma.$transaction(
      async (tx) => {
        const [lock] = await tx.$queryRaw<{ free: boolean }[]>`
          SELECT pg_try_advisory_xact_lock(hashtextextended('stowage-objects-kept', 0)) AS free`;
        return lock!.free ? work() : null;
      },
      { maxWait: 10_000, timeout: REMOVAL_PATIENCE_MS },
    );
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
      UNION SELECT staged_key FROM upload WHERE state = 'open' AND staged_key = ANY(${keys}::text[])`;
    return new Set(rows.map(({ key }) => key));
  }

  /** Staged states of open uploads that write to one of these keys. */
  async stagedAt(keys: string[]): Promise<StagedBlob[]> {
    const rows = await this.prisma.$queryRaw<{ staged: StagedBlob }[]>`
      SELECT staged FROM upload WHERE state = 'open' AND staged_key = ANY(${keys}::text[]) AND staged->>'key' IS NOT NULL`;
    return rows.map(({ staged }) => staged);
  }

  /** Entries the collector has yet to look at, by queue. */
  async queueLengths(): Promise<Record<string, number>> {
    const [row] = await this.prisma.$queryRaw<Record<string, number>[]>`
      SELECT
        (SELECT count(*)::int FROM (
          SELECT 1 FROM loose_layer WHERE since < now() - make_interval(secs => ${this.graceSeconds}::float8) LIMIT ${LONGEST_QUEUE}) q) AS loose_layer,
        (SELECT count(*)::int FROM (SELECT 1 FROM loose_blob WHERE since <= now() + interval '1 millisecond' LIMIT ${LONGEST_QUEUE}) q) AS loose_blob,
        (SELECT count(*)::int FROM (SELECT 1 FROM doomed_object WHERE not_before <= now() LIMIT ${LONGEST_QUEUE}) q) AS doomed_object`;
    return row!;
  }
}
