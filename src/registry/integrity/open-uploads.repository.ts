import { Injectable } from '@nestjs/common';
import type { StagedBlob } from '../../blob-store/blob-store.js';
import { Prisma } from '../../database/generated/client.js';
import { PrismaService } from '../../database/prisma.service.js';
import { repositoryArn } from '../../domain/arn.js';

/** An upload that is not finished, with what its tail rows amount to. Sizes in bytes. */
export interface OpenUpload {
  id: string;
  repositoryArn: string;
  offsetBytes: number;
  staged: StagedBlob | null;
  tailBytes: number;
  /** Of the rows themselves. */
  tails: { bytes: number; firstByte: number; endByte: number };
}

interface UploadRow {
  id: string;
  accountId: string;
  region: string;
  name: string;
  offsetBytes: bigint;
  staged: StagedBlob | null;
  tailBytes: number;
  tailRowBytes: bigint;
  firstByte: bigint;
  endByte: bigint;
}

/** Rows of uploads that are not finished. */
@Injectable()
export class OpenUploadsRepository {
  constructor(private readonly prisma: PrismaService) {}

  async page(after: string, limit: number): Promise<OpenUpload[]> {
    return this.select(Prisma.sql`u.id > ${after}::uuid`, limit);
  }

  /** @returns null once it is finished */
  async find(id: string): Promise<OpenUpload | null> {
    const [upload] = await this.select(Prisma.sql`u.id = ${id}::uuid`, 1);
    return upload ?? null;
  }

  /** Ends an upload nobody works on now, and hands its bytes to the collector. @returns false when it is another one by now */
  async end({ id, offsetBytes, staged }: OpenUpload): Promise<boolean> {
    const [row] = await this.prisma.$queryRaw<{ ended: number }[]>`
      WITH ended AS (
        UPDATE upload u SET state = 'aborted', staged = NULL, tail_bytes = 0, lease_token = NULL, lease_expires_at = NULL, touched_at = now()
        FROM upload before WHERE u.id = before.id AND u.id = ${id}::uuid AND u.state = 'open' AND u.offset_bytes = ${offsetBytes}::bigint
          AND u.staged IS NOT DISTINCT FROM ${staged && JSON.stringify(staged)}::jsonb
          AND (u.lease_expires_at IS NULL OR u.lease_expires_at < now())
        RETURNING u.id, u.repository_id, before.staged),
      tails AS (DELETE FROM upload_tail USING ended WHERE upload_id = ended.id),
      parts AS (DELETE FROM upload_part USING ended WHERE upload_id = ended.id),
      doomed AS (INSERT INTO doomed_object (staged) SELECT staged FROM ended WHERE staged IS NOT NULL)
      SELECT count(*)::int AS ended, count(count_in_repository(repository_id, 0, 0, -1))::int AS counted FROM ended`;
    return row!.ended === 1;
  }

  private async select(where: Prisma.Sql, limit: number): Promise<OpenUpload[]> {
    const rows = await this.prisma.$queryRaw<UploadRow[]>`
      SELECT u.id::text, g.account_id AS "accountId", g.region, r.name, u.offset_bytes AS "offsetBytes", u.staged, u.tail_bytes AS "tailBytes",
        t.bytes AS "tailRowBytes", t.first AS "firstByte", t.end AS "endByte"
      FROM upload u JOIN repository r ON r.id = u.repository_id JOIN registry g ON g.id = r.registry_id,
        LATERAL (
          SELECT coalesce(sum(octet_length(bytes)), 0)::bigint AS bytes, coalesce(min(first_byte), 0) AS first,
            coalesce(max(first_byte + octet_length(bytes)), 0) AS "end"
          FROM upload_tail WHERE upload_id = u.id) t
      WHERE u.state = 'open' AND ${where} ORDER BY u.id LIMIT ${limit}`;
    return rows.map(({ id, staged, tailBytes, offsetBytes, tailRowBytes, firstByte, endByte, ...of }) => ({
      id,
      repositoryArn: repositoryArn(of, of.name),
      offsetBytes: Number(offsetBytes),
      staged,
      tailBytes,
      tails: { bytes: Number(tailRowBytes), firstByte: Number(firstByte), endByte: Number(endByte) },
    }));
  }
}
