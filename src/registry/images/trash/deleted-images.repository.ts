import { Injectable } from '@nestjs/common';
import { Prisma } from '../../../database/generated/client.js';
import { PrismaService } from '../../../database/prisma.service.js';
import type { RegistryAddress } from '../../../domain/registry-address.js';
import type { DeletedImage, DeletedSelection } from './deleted-image.js';

type Row = Omit<DeletedImage, 'registry' | 'sizeBytes'> & RegistryAddress & { sizeBytes: bigint };

/** Rows of images that were deleted and can still be brought back. */
@Injectable()
export class DeletedImagesRepository {
  constructor(private readonly prisma: PrismaService) {}

  /** Last deleted first; what went in one deletion, in push order. @param repositoryName absent: of all repositories of the registry, whether they still exist or not */
  async list(
    registry: RegistryAddress,
    repositoryName: string | undefined,
    { digests, tag, since }: DeletedSelection = {},
  ): Promise<DeletedImage[]> {
    const conditions = [
      Prisma.sql`g.account_id = ${registry.accountId} AND g.region = ${registry.region}`,
      ...(repositoryName === undefined ? [] : [Prisma.sql`d.repository_name = ${repositoryName}`]),
      ...(digests === undefined ? [] : [Prisma.sql`d.digest = ANY(${digests}::text[])`]),
      ...(tag === undefined ? [] : [Prisma.sql`${tag} = ANY(d.tags)`]),
      ...(since === undefined ? [] : [Prisma.sql`d.deleted_at >= ${since}`]),
    ];
    const rows = await this.prisma.$queryRaw<Row[]>`
      SELECT d.id, g.account_id AS "accountId", g.region, d.repository_name AS "repositoryName", d.digest, d.media_type AS "mediaType",
        d.size_bytes AS "sizeBytes", d.tags, d.children, d.pushed_at AS "pushedAt", d.deleted_at AS "deletedAt"
      FROM deleted_image d JOIN registry g ON g.id = d.registry_id
      WHERE ${Prisma.join(conditions, ' AND ')} ORDER BY d.deleted_at DESC, d.id`;
    return rows.map(({ accountId, region, sizeBytes, ...row }) => ({
      ...row,
      registry: { accountId, region },
      sizeBytes: Number(sizeBytes),
    }));
  }

  /** Digests of images the repository has now. */
  async present(repositoryId: bigint, digests: string[]): Promise<Set<string>> {
    const rows = await this.prisma.$queryRaw<{ digest: string }[]>`
      SELECT digest FROM image WHERE repository_id = ${repositoryId} AND digest = ANY(${digests}::text[])`;
    return new Set(rows.map(({ digest }) => digest));
  }
}
