import { Injectable } from '@nestjs/common';
import { Prisma } from '../../database/generated/client.js';
import { PrismaService } from '../../database/prisma.service.js';
import type { ImageIdentifier } from '../../domain/image-reference.js';
import type { PageRequest } from '../../domain/page.js';
import type { RegistryAddress } from '../../domain/registry-address.js';
import type { Repository } from '../repositories/repository.js';
import type { ImageDetail, Referrer, StoredImage, TagStatus } from './image.js';

/** Rows of images, their tags and what they reference. */
@Injectable()
export class ImagesRepository {
  constructor(private readonly prisma: PrismaService) {}

  /**
   * Repository and image in one query.
   * @returns null when the repository does not exist; `image` null when it has no such image
   */
  async find(
    registry: RegistryAddress,
    repositoryName: string,
    image: ImageIdentifier,
  ): Promise<{ image: StoredImage | null } | null> {
    const joined =
      image.digest !== undefined
        ? Prisma.sql`LEFT JOIN image i ON i.repository_id = r.id AND i.digest = ${image.digest}`
        : Prisma.sql`LEFT JOIN image_tag t ON t.repository_id = r.id AND t.tag = ${image.tag} LEFT JOIN image i ON i.id = t.image_id`;
    const [row] = await this.prisma.prepared<
      Omit<StoredImage, 'manifest'> & { manifest: Buffer | null }
    >(Prisma.sql`
      SELECT i.id, i.digest, i.manifest, i.media_type AS "mediaType", i.last_pulled_at AS "lastPulledAt"
      FROM registry g JOIN repository r ON r.registry_id = g.id ${joined}
      WHERE g.account_id = ${registry.accountId} AND g.region = ${registry.region} AND r.name = ${repositoryName}`);
    if (!row) return null;
    const { manifest } = row;
    return { image: manifest === null ? null : { ...row, manifest } };
  }

  async hasTag(repository: Repository, tag: string, digest: string): Promise<boolean> {
    const rows = await this.prisma.$queryRaw<unknown[]>`
      SELECT 1 FROM image_tag t JOIN image i ON i.id = t.image_id
      WHERE t.repository_id = ${repository.id} AND t.tag = ${tag} AND i.digest = ${digest}`;
    return rows.length > 0;
  }

  async touchPulled(id: bigint): Promise<void> {
    await this.prisma.$executeRaw`UPDATE image SET last_pulled_at = now() WHERE id = ${id}`;
  }

  /** Up to `limit + 1` pairs in push order, then tagging order. The key is `[image id, tag id]`. */
  async listIdentifiers(
    repository: Repository,
    tagStatus: TagStatus,
    page: PageRequest<[string, string]>,
  ): Promise<{ digest: string; tag: string | null; key: [string, string] }[]> {
    const [imageAfter, tagAfter] = page.after ?? ['0', '0'];
    const rows = await this.prisma.$queryRaw<
      { imageId: bigint; tagId: bigint; digest: string; tag: string | null }[]
    >`
      SELECT i.id AS "imageId", coalesce(t.id, 0) AS "tagId", i.digest, t.tag
      FROM image i LEFT JOIN image_tag t ON t.image_id = i.id
      WHERE i.repository_id = ${repository.id} AND i.id >= ${BigInt(imageAfter)}
        AND (i.id, coalesce(t.id, 0)) > (${BigInt(imageAfter)}, ${BigInt(tagAfter)}) AND ${withStatus(tagStatus, Prisma.sql`t.tag IS NOT NULL`)}
      ORDER BY i.id, coalesce(t.id, 0) LIMIT ${page.limit + 1}`;
    return rows.map(({ digest, tag, imageId, tagId }) => ({
      digest,
      tag,
      key: [String(imageId), String(tagId)],
    }));
  }

  /** Up to `limit + 1` images in push order. The key is the image id. */
  async listDetails(repository: Repository, tagStatus: TagStatus, page: PageRequest): Promise<ImageDetail[]> {
    const tagged = Prisma.sql`EXISTS (SELECT 1 FROM image_tag t WHERE t.image_id = i.id)`;
    return this.details(
      Prisma.sql`i.repository_id = ${repository.id} AND i.id > ${BigInt(page.after ?? '0')} AND ${withStatus(tagStatus, tagged)}`,
      page.limit + 1,
    );
  }

  async detailsOf(repository: Repository, images: ImageIdentifier[]): Promise<ImageDetail[]> {
    const digests = images.flatMap(({ digest }) => digest ?? []);
    const tags = images.flatMap(({ digest, tag }) =>
      digest === undefined && tag !== undefined ? [tag] : [],
    );
    return this.details(
      Prisma.sql`i.repository_id = ${repository.id} AND i.id IN (
        SELECT id FROM image WHERE repository_id = ${repository.id} AND digest = ANY(${digests}::text[])
        UNION SELECT image_id FROM image_tag WHERE repository_id = ${repository.id} AND tag = ANY(${tags}::text[]))`,
      images.length,
    );
  }

  /** Up to `limit + 1` tags in lexical order, as the distribution specification lists them. */
  async listTags(repository: Repository, page: PageRequest): Promise<string[]> {
    const rows = await this.prisma.$queryRaw<{ tag: string }[]>`
      SELECT tag FROM image_tag WHERE repository_id = ${repository.id} AND tag > ${page.after ?? ''} ORDER BY tag LIMIT ${page.limit + 1}`;
    return rows.map(({ tag }) => tag);
  }

  /** Up to `limit + 1` images whose `subject` is the digest, in push order. */
  async listReferrers(
    repository: Repository,
    subjectDigest: string,
    artifactTypes: string[],
    page: PageRequest,
  ): Promise<Referrer[]> {
    return this.prisma.$queryRaw<Referrer[]>`
      SELECT id, digest, media_type AS "mediaType", artifact_type AS "artifactType", annotations, octet_length(manifest) AS size
      FROM image WHERE repository_id = ${repository.id} AND subject_digest = ${subjectDigest} AND id > ${BigInt(page.after ?? '0')}
        AND (${artifactTypes.length === 0} OR artifact_type = ANY(${artifactTypes}::text[]))
      ORDER BY id LIMIT ${page.limit + 1}`;
  }

  private async details(where: Prisma.Sql, limit: number): Promise<ImageDetail[]> {
    const rows = await this.prisma.$queryRaw<(Omit<ImageDetail, 'sizeBytes'> & { sizeBytes: bigint })[]>`
      SELECT i.id, i.digest, i.media_type AS "mediaType", i.artifact_type AS "artifactType", i.subject_digest AS "subjectDigest",
        i.size_bytes AS "sizeBytes", i.pushed_at AS "pushedAt", i.last_pulled_at AS "lastPulledAt",
        ARRAY(SELECT t.tag::text FROM image_tag t WHERE t.image_id = i.id ORDER BY t.id) AS tags
      FROM image i WHERE ${where} ORDER BY i.id LIMIT ${limit}`;
    return rows.map((row) => ({ ...row, sizeBytes: Number(row.sizeBytes) }));
  }
}

function withStatus(status: TagStatus, tagged: Prisma.Sql): Prisma.Sql {
  if (status === 'ANY') return Prisma.sql`TRUE`;
  return status === 'TAGGED' ? tagged : Prisma.sql`NOT (${tagged})`;
}
