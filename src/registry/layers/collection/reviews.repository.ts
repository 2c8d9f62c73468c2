import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../../../config/config.js';
import type { Prisma } from '../../../database/generated/client.js';
import { JobsPrismaService } from '../../../database/jobs-prisma.service.js';
import { inTransaction } from '../../../database/transaction.js';
import { DOWNLOAD_SECONDS } from '../download-lifetime.js';

type Tx = Prisma.TransactionClient;

/** Where a walk over a queue goes on: behind entries that had to be left for the next walk as well. */
export interface LayerPosition {
  since: Date;
  id: bigint;
}

export interface Review<Position> {
  reviewed: number;
  /** Links or blobs that went. */
  removed: number;
  bytes: number;
  /** Of the last entry looked at so far. */
  last: Position | null;
}

interface LooseLayer {
  id: bigint;
  repositoryId: bigint;
  blobId: bigint;
  since: Date;
  open: boolean;
}

/**
 * Decides about what may have lost its last reference. Every step is a short transaction over a bounded number of entries,
 * waits for nobody, and may be cut off and repeated anywhere: an entry goes in the transaction that settles it.
 *
 * Two rules make that safe beside pushes, mounts and checks. Whoever begins to need a link or blob locks its row (FOR KEY
 * SHARE, or by a foreign key) or adds a younger entry under such a lock; and here a row is locked first and judged by a later
 * statement, whose snapshot sees all that was done under earlier locks.
 *
 * OFFSET 0 keeps a question at one look into an index for each entry: PostgreSQL would else read the other table once, from end
 * to end, where it was small when the plan was made.
 */
@Injectable()
export class ReviewsRepository {
  private readonly graceSeconds: number;
  private readonly undeleteSeconds: number;
  private readonly lingerSeconds: number;

  constructor(
    private readonly prisma: JobsPrismaService,
    @Inject(CONFIG) config: Config,
  ) {
    this.graceSeconds = config.STOWAGE_UNREFERENCED_LAYER_HOURS * 3600;
    this.undeleteSeconds = config.undeleteSeconds;
    this.lingerSeconds = Math.min(DOWNLOAD_SECONDS, this.graceSeconds);
  }

  /** Unlinks layers that no image of their repository has referenced for the grace time. */
  async reviewLayers(after: LayerPosition | null, limit: number): Promise<Review<LayerPosition>> {
    return inTransaction(this.prisma, async (tx) => {
      const due = await this.settleLayers(tx, after, limit);
      const gone = await this.unlink(
        tx,
        due.filter(({ open }) => open),
      );
      return { reviewed: due.length, last: due.at(-1) ?? after, ...gone };
    });
  }

  /**
   * Drops blobs that no repository and no deleted image holds; their objects are doomed. Entries of the future, which a rebuild
   * makes, wait for it; what was written just now may be rounded up.
   */
  async reviewBlobs(after: bigint | null, limit: number): Promise<Review<bigint>> {
    return inTransaction(this.prisma, async (tx) => {
      const due = await tx.$queryRaw<{ id: bigint; blobId: bigint; open: boolean }[]>`
        WITH due AS MATERIALIZED (SELECT id, blob_id FROM loose_blob WHERE id > ${after ?? 0n} AND since <= now() + interval '1 millisecond' ORDER BY id LIMIT ${limit}),
        settled AS (
          DELETE FROM loose_blob q USING due WHERE q.id = due.id AND (
            NOT EXISTS (SELECT 1 FROM blob b WHERE b.id = due.blob_id OFFSET 0)
            OR EXISTS (SELECT 1 FROM repository_layer l WHERE l.blob_id = due.blob_id OFFSET 0)
            OR EXISTS (SELECT 1 FROM deleted_image_layer d WHERE d.blob_id = due.blob_id OFFSET 0))
          RETURNING q.id)
        SELECT id, blob_id AS "blobId", due.id NOT IN (SELECT id FROM settled) AS open FROM due ORDER BY id`;
      const gone = await this.drop(
        tx,
        due.filter(({ open }) => open),
      );
      return { reviewed: due.length, last: due.at(-1)?.id ?? after, ...gone };
    });
  }

  /** Forgets deleted images that can no longer be brought back. @returns how many */
  async forgetDeletedImages(limit: number): Promise<number> {
    return this.prisma.$executeRaw`
      WITH past AS MATERIALIZED (
        SELECT id FROM deleted_image WHERE deleted_at < now() - make_interval(secs => ${this.undeleteSeconds}::float8)
        ORDER BY deleted_at LIMIT ${limit} FOR UPDATE SKIP LOCKED),
      layers AS (DELETE FROM deleted_image_layer USING past WHERE deleted_image_id = past.id)
      DELETE FROM deleted_image USING past WHERE deleted_image.id = past.id`;
  }

  /**
   * Takes the next due entries, and drops those that say nothing: the link is gone, an image references it (when that one goes,
   * a new entry comes), or a later entry of the same link will decide.
   */
  private async settleLayers(tx: Tx, after: LayerPosition | null, limit: number): Promise<LooseLayer[]> {
    return tx.$queryRaw<LooseLayer[]>`
      WITH due AS MATERIALIZED (
        SELECT id, repository_id, blob_id, since FROM loose_layer
        WHERE since < now() - make_interval(secs => ${this.graceSeconds}::float8)
          AND (since, id) > (${after?.since ?? new Date(0)}::timestamptz, ${after?.id ?? 0n}::bigint)
        ORDER BY since, id LIMIT ${limit}),
      settled AS (
        DELETE FROM loose_layer q USING due WHERE q.id = due.id AND (
          NOT EXISTS (SELECT 1 FROM repository_layer l WHERE l.repository_id = due.repository_id AND l.blob_id = due.blob_id OFFSET 0)
          OR EXISTS (SELECT 1 FROM image_layer i WHERE i.repository_id = due.repository_id AND i.blob_id = due.blob_id OFFSET 0)
          OR EXISTS (
            SELECT 1 FROM loose_layer later WHERE later.repository_id = due.repository_id AND later.blob_id = due.blob_id
              AND (later.since, later.id) > (due.since, due.id) OFFSET 0))
        RETURNING q.id)
      SELECT id, repository_id AS "repositoryId", blob_id AS "blobId", since,
        due.id NOT IN (SELECT id FROM settled) AS open
      FROM due ORDER BY since, id`;
  }

  /** A link somebody holds is left for the next walk, as is one whose repository is being deleted. */
  private async unlink(tx: Tx, due: LooseLayer[]): Promise<{ removed: number; bytes: number }> {
    if (due.length === 0) return { removed: 0, bytes: 0 };
    const held = await tx.$queryRaw<{ repositoryId: bigint; blobId: bigint }[]>`
      SELECT l.repository_id AS "repositoryId", l.blob_id AS "blobId"
      FROM unnest(${due.map(({ repositoryId }) => repositoryId)}::bigint[], ${due.map(({ blobId }) => blobId)}::bigint[]) AS due (repository_id, blob_id)
      JOIN repository_layer l ON l.repository_id = due.repository_id AND l.blob_id = due.blob_id
      JOIN repository r ON r.id = l.repository_id
      ORDER BY l.repository_id, l.blob_id FOR KEY SHARE OF r SKIP LOCKED FOR UPDATE OF l SKIP LOCKED`;
    if (held.length === 0) return { removed: 0, bytes: 0 };
    const [gone] = await tx.$queryRaw<{ removed: number; bytes: bigint }[]>`
      WITH unlinked AS (
        DELETE FROM repository_layer l
        USING unnest(${held.map(({ repositoryId }) => repositoryId)}::bigint[], ${held.map(({ blobId }) => blobId)}::bigint[]) AS held (repository_id, blob_id), blob b
        WHERE l.repository_id = held.repository_id AND l.blob_id = held.blob_id AND b.id = l.blob_id
          AND NOT EXISTS (SELECT 1 FROM image_layer i WHERE i.repository_id = l.repository_id AND i.blob_id = l.blob_id)
          AND NOT EXISTS (
            SELECT 1 FROM loose_layer q WHERE q.repository_id = l.repository_id AND q.blob_id = l.blob_id
              AND q.since >= now() - make_interval(secs => ${this.graceSeconds}::float8))
        RETURNING l.repository_id, b.size_bytes),
      freed AS MATERIALIZED (
        SELECT repository_id, count(*) AS links, sum(size_bytes)::bigint AS bytes FROM unlinked GROUP BY repository_id ORDER BY repository_id),
      counted AS MATERIALIZED (SELECT count_in_repository(repository_id, 0, -bytes, 0) FROM freed)
      SELECT coalesce(sum(links), 0)::int AS removed, coalesce(sum(bytes), 0)::bigint AS bytes, (SELECT count(*) FROM counted) AS counted
      FROM freed`;
    const isHeld = new Set(held.map(({ repositoryId, blobId }) => `${repositoryId} ${blobId}`));
    const judged = due.filter(({ repositoryId, blobId }) => isHeld.has(`${repositoryId} ${blobId}`));
    await tx.looseLayer.deleteMany({ where: { id: { in: judged.map(({ id }) => id) } } });
    return { removed: gone!.removed, bytes: Number(gone!.bytes) };
  }

  /** The objects stay as long as a download URL that was handed out may still be used. */
  private async drop(
    tx: Tx,
    due: { id: bigint; blobId: bigint }[],
  ): Promise<{ removed: number; bytes: number }> {
    if (due.length === 0) return { removed: 0, bytes: 0 };
    const held = await tx.$queryRaw<{ id: bigint }[]>`
      SELECT id FROM blob WHERE id = ANY(${due.map(({ blobId }) => blobId)}::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED`;
    if (held.length === 0) return { removed: 0, bytes: 0 };
    const [gone] = await tx.$queryRaw<{ removed: number; bytes: bigint }[]>`
      WITH dropped AS (
        DELETE FROM blob b WHERE b.id = ANY(${held.map(({ id }) => id)}::bigint[])
          AND NOT EXISTS (SELECT 1 FROM repository_layer l WHERE l.blob_id = b.id)
          AND NOT EXISTS (SELECT 1 FROM deleted_image_layer d WHERE d.blob_id = b.id)
        RETURNING b.object_key, b.size_bytes),
      doomed AS (
        INSERT INTO doomed_object (object_key, not_before)
        SELECT object_key, now() + make_interval(secs => ${this.lingerSeconds}::float8) FROM dropped)
      SELECT count(*)::int AS removed, coalesce(sum(size_bytes), 0)::bigint AS bytes FROM dropped`;
    const isHeld = new Set(held.map(({ id }) => id));
    const judged = due.filter(({ blobId }) => isHeld.has(blobId));
    await tx.looseBlob.deleteMany({ where: { id: { in: judged.map(({ id }) => id) } } });
    return { removed: gone!.removed, bytes: Number(gone!.bytes) };
  }
}
