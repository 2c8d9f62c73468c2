import { Injectable } from '@nestjs/common';
import type { StagedBlob } from '../../blob-store/blob-store.js';
import { Prisma } from '../../database/generated/client.js';
import { PrismaService } from '../../database/prisma.service.js';
import { repositoryArn } from '../../domain/arn.js';
import { MOST_REPOSITORIES } from './finding.js';

/** What a row says of a layer's object. */
export interface RecordedBlob {
  id: bigint;
  sha256: string;
  sha512: string | null;
  sizeBytes: number;
  objectKey: string;
  verifiedAt: Date;
  damaged: boolean;
}

/** Which layers are to be hashed. */
export type Sample = 'all' | { percent: number; seed: number };

type BlobRow = Omit<RecordedBlob, 'sizeBytes'> & { sizeBytes: bigint };

const COLUMNS = Prisma.sql`
  b.id, b.sha256, b.sha512, b.size_bytes AS "sizeBytes", b.object_key AS "objectKey", b.verified_at AS "verifiedAt",
  b.damaged_at IS NOT NULL AS damaged`;

/** Rows that speak of objects in the store. */
@Injectable()
export class IntegrityRepository {
  constructor(private readonly prisma: PrismaService) {}

  async find(id: bigint): Promise<RecordedBlob | null> {
    const [blob] = await this.select(Prisma.sql`b.id = ${id}`, Prisma.sql`b.id`, 1);
    return blob ?? null;
  }

  async withKeys(keys: string[]): Promise<RecordedBlob[]> {
    return this.select(Prisma.sql`b.object_key = ANY(${keys}::text[])`, Prisma.sql`b.id`, keys.length);
  }

  /** Of all that are there now; layers to come have a higher one. */
  async lastId(): Promise<bigint> {
    const [row] = await this.prisma.$queryRaw<{ id: bigint }[]>`SELECT coalesce(max(id), 0) AS id FROM blob`;
    return row!.id;
  }

  /** In the order of their ids. */
  async page(after: bigint, last: bigint, limit: number, sample: Sample = 'all'): Promise<RecordedBlob[]> {
    const chosen =
      sample === 'all'
        ? Prisma.sql`TRUE`
        : Prisma.sql`(hashint8extended(b.id, ${sample.seed}) & 1048575) < ${Math.round((sample.percent / 100) * 1048576)}`;
    return this.select(
      Prisma.sql`b.id > ${after} AND b.id <= ${last} AND ${chosen}`,
      Prisma.sql`b.id`,
      limit,
    );
  }

  /** As many layers, the same for the same seed as long as the layers are the same. */
  async draw(count: number, seed: number): Promise<RecordedBlob[]> {
    return this.select(Prisma.sql`TRUE`, Prisma.sql`hashint8extended(b.id, ${seed})`, count);
  }

  async damaged(after: bigint, limit: number): Promise<RecordedBlob[]> {
    return this.select(Prisma.sql`b.damaged_at IS NOT NULL AND b.id > ${after}`, Prisma.sql`b.id`, limit);
  }

  async countDamaged(): Promise<number> {
    return this.prisma.blob.count({ where: { damagedAt: { not: null } } });
  }

  /** Layers nobody hashed for so long, the longest first, behind `after` of the same run. */
  async unverifiedFor(
    seconds: number,
    after: Pick<RecordedBlob, 'id' | 'verifiedAt'> | null,
    limit: number,
  ): Promise<RecordedBlob[]> {
    const behind = after
      ? Prisma.sql`(b.verified_at, b.id) > (${after.verifiedAt}::timestamptz, ${after.id})`
      : Prisma.sql`TRUE`;
    return this.select(
      Prisma.sql`b.verified_at <= now() - make_interval(secs => ${seconds}::float8) AND b.damaged_at IS NULL AND ${behind}`,
      Prisma.sql`b.verified_at, b.id`,
      limit,
    );
  }

  /** When the layer that waits longest was hashed; null without layers. */
  async leastRecentlyVerified(): Promise<Date | null> {
    const [row] = await this.prisma.$queryRaw<
      { at: Date | null }[]
    >`SELECT min(verified_at) AS at FROM blob WHERE damaged_at IS NULL`;
    return row!.at;
  }

  /** They were hashed just now. */
  async markVerified(blobs: RecordedBlob[]): Promise<void> {
    await this.prisma.$executeRaw`
      UPDATE blob b SET verified_at = now()
      FROM unnest(${blobs.map(({ id }) => id)}::bigint[], ${blobs.map(({ objectKey }) => objectKey)}::text[]) AS read (id, object_key)
      WHERE b.id = read.id AND b.object_key = read.object_key`;
  }

  /** From now on nobody sees the layer, until it is pushed again. @returns false when it names another object, or none, by now */
  async markDamaged(blob: RecordedBlob): Promise<boolean> {
    const marked = await this.prisma.$executeRaw`
      UPDATE blob SET damaged_at = now() WHERE id = ${blob.id} AND object_key = ${blob.objectKey} AND damaged_at IS NULL`;
    return marked > 0;
  }

  async clearDamage(blob: RecordedBlob): Promise<boolean> {
    const cleared = await this.prisma.$executeRaw`
      UPDATE blob SET damaged_at = NULL, verified_at = now()
      WHERE id = ${blob.id} AND object_key = ${blob.objectKey} AND damaged_at IS NOT NULL`;
    return cleared > 0;
  }

  /** ARNs of the repositories that see the layer, and of those that held images which can still be brought back. */
  async repositoriesOf(blobId: bigint): Promise<string[]> {
    const rows = await this.prisma.$queryRaw<{ accountId: string; region: string; name: string }[]>`
      SELECT g.account_id AS "accountId", g.region, r.name
      FROM repository_layer l JOIN repository r ON r.id = l.repository_id JOIN registry g ON g.id = r.registry_id
      WHERE l.blob_id = ${blobId}
      UNION SELECT g.account_id, g.region, d.repository_name
      FROM deleted_image_layer l JOIN deleted_image d ON d.id = l.deleted_image_id JOIN registry g ON g.id = d.registry_id
      WHERE l.blob_id = ${blobId} ORDER BY 1, 2, 3 LIMIT ${MOST_REPOSITORIES}`;
    return rows.map(({ name, ...registry }) => repositoryArn(registry, name));
  }

  /** Which of these object keys some row speaks of; in one snapshot, since a key moves from row to row. */
  async spokenFor(keys: string[]): Promise<Set<string>> {
    const rows = await this.prisma.$queryRaw<{ key: string }[]>`
      SELECT object_key AS key FROM blob WHERE object_key = ANY(${keys}::text[])
      UNION SELECT object_key FROM doomed_object WHERE object_key = ANY(${keys}::text[])
      UNION SELECT staged->>'committed' FROM doomed_object WHERE staged_key = ANY(${keys}::text[]) AND staged->>'committed' IS NOT NULL
      UNION SELECT staged_key FROM upload WHERE state = 'open' AND staged_key = ANY(${keys}::text[])`;
    return new Set(rows.map(({ key }) => key));
  }

  /** Staged states under these keys that an open upload goes on with, or that the collector was told of. */
  async stagedUnder(keys: string[]): Promise<StagedBlob[]> {
    const rows = await this.prisma.$queryRaw<{ staged: StagedBlob }[]>`
      SELECT staged FROM upload WHERE state = 'open' AND staged_key = ANY(${keys}::text[]) AND staged->>'key' IS NOT NULL
      UNION ALL SELECT staged FROM doomed_object WHERE staged_key = ANY(${keys}::text[]) AND staged->>'key' IS NOT NULL`;
    return rows.map(({ staged }) => staged);
  }

  /** Hands an object to the collector, unless some row speaks of it. */
  async doomObject(key: string): Promise<boolean> {
    const doomed = await this.prisma.$executeRaw`
      INSERT INTO doomed_object (object_key) SELECT ${key}
      WHERE NOT EXISTS (SELECT 1 FROM blob WHERE object_key = ${key})
        AND NOT EXISTS (SELECT 1 FROM doomed_object WHERE object_key = ${key})
        AND NOT EXISTS (SELECT 1 FROM upload WHERE state = 'open' AND staged_key = ${key})`;
    return doomed > 0;
  }

  async doomStaged(staged: StagedBlob): Promise<boolean> {
    await this.prisma.doomedObject.create({ data: { staged: staged as Prisma.InputJsonObject } });
    return true;
  }

  private async select(where: Prisma.Sql, order: Prisma.Sql, limit: number): Promise<RecordedBlob[]> {
    const rows = await this.prisma.$queryRaw<BlobRow[]>`
      SELECT ${COLUMNS} FROM blob b WHERE ${where} ORDER BY ${order} LIMIT ${limit}`;
    return rows.map((row) => ({ ...row, sizeBytes: Number(row.sizeBytes) }));
  }
}
