import { Injectable } from '@nestjs/common';
import { PrismaService } from '../../../database/prisma.service.js';

export interface HashedObject {
  key: string;
  sha256: string;
  sizeBytes: number;
}

/** Rows of layers that are found again in the store. */
@Injectable()
export class LayerIndexRepository {
  constructor(private readonly prisma: PrismaService) {}

  async knowsRepositories(): Promise<boolean> {
    return (await this.prisma.repository.findFirst({ select: { id: true } })) !== null;
  }

  /** Whether this database is the one the store belongs to. */
  async isBoundTo(identity: string): Promise<boolean> {
    return (await this.prisma.storeBinding.findFirst({ where: { identity } })) !== null;
  }

  /** Which of these objects were indexed before. */
  async indexed(keys: string[]): Promise<Set<string>> {
    const rows = await this.prisma.$queryRaw<{ key: string }[]>`
      SELECT object_key AS key FROM blob WHERE object_key = ANY(${keys}::text[])
      UNION SELECT object_key FROM doomed_object WHERE object_key = ANY(${keys}::text[])`;
    return new Set(rows.map(({ key }) => key));
  }

  /** @returns false when another object holds the same bytes already: this one is spare, and left to the collector */
  async index({ key, sha256, sizeBytes }: HashedObject): Promise<boolean> {
    const [row] = await this.prisma.$queryRaw<{ first: boolean }[]>`
      WITH stored AS (
        INSERT INTO blob (sha256, size_bytes, object_key) VALUES (${sha256}, ${sizeBytes}::bigint, ${key})
        ON CONFLICT (sha256) DO UPDATE SET object_key = blob.object_key RETURNING object_key),
      spare AS (INSERT INTO doomed_object (object_key) SELECT ${key} FROM stored WHERE object_key <> ${key})
      SELECT object_key = ${key} AS first FROM stored`;
    return row!.first;
  }
}
