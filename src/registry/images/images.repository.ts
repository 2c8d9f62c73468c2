import { Injectable } from '@nestjs/common';
import { Prisma } from '../../database/generated/client.js';
import { PrismaService } from '../../database/prisma.service.js';
import type { ImageIdentifier } from '../../domain/image-reference.js';
import type { PageRequest } from '../../domain/page.js';
import type { RegistryAddress } from '../../domain/registry-address.js';
import type { Repository } from '../repositories/repository.js';
import type { ImageDetail, Referrer, StoredImage, TagStatus } from './image.js';

/**
 * Of an image `i`: one look into the index of tags for each, whatever the planner believes of the repository's size. NOT EXISTS would
 * leave it the choice to join all tags, which a plan that is kept for small repositories makes.
 */
const UNTAGGED = Prisma.sql`(SELECT t.id FROM image_tag t WHERE t.image_id = i.id LIMIT 1) IS NULL`;

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

  /** Images that one of the identifiers names, each once, and which of the tags in the identifiers it has. */
  async findAll(
    repository: Repository,
    images: ImageIdentifier[],
  ): Promise<(StoredImage & { tags: string[] })[]> {
    const tags = images.flatMap(({ tag }) => tag ?? []);
    return this.prisma.prepared<StoredImage & { tags: string[] }>(Prisma.sql`
      SELECT i.id, i.digest, i.manifest, i.media_type AS "mediaType", i.last_pulled_at AS "lastPulledAt",
        ARRAY(SELECT t.tag::text FROM image_tag t WHERE t.image_id = i.id AND t.tag = ANY(${tags}::text[])) AS tags
      FROM image i WHERE ${named(repository, images)}`);
  }

  async touchPulled(ids: bigint[]): Promise<void> {
    // In the order in which deletions lock them.
    await this.prisma.$executeRaw`
      UPDATE image SET last_pulled_at = now()
      WHERE id IN (SELECT id FROM image WHERE id = ANY(${ids}::bigint[]) ORDER BY id FOR NO KEY UPDATE)`;
  }

  /** Up to `limit + 1` pairs in push order, then tagging order. The key is `[image id, tag id]`. */
  async listIdentifiers(
    repository: Repository,
    tagStatus: TagStatus,
    page: PageRequest<[string, string]>,
  ): Promise<{ digest: string; tag: string | null; key: [string, string] }[]> {
    const [imageAfter, tagAfter] = (page.after ?? ['0', '0']).map(BigInt);
    const behind = Prisma.sql`(${imageAfter}, ${tagAfter})`;
    const listed = {
      // Tags follow their images in an index, so that images without any are not even looked at.
      TAGGED: Prisma.sql`
        SELECT i.id AS "imageId", t.id AS "tagId", i.digest, t.tag FROM image_tag t JOIN image i ON i.id = t.image_id
        WHERE t.repository_id = ${repository.id} AND (t.image_id, t.id) > ${behind} ORDER BY t.image_id, t.id`,
      UNTAGGED: Prisma.sql`
        SELECT i.id AS "imageId", 0::bigint AS "tagId", i.digest, NULL AS tag FROM image i
        WHERE i.repository_id = ${repository.id} AND i.id > ${imageAfter} AND ${UNTAGGED} ORDER BY i.id`,
      ANY: Prisma.sql`
        SELECT i.id AS "imageId", coalesce(t.id, 0) AS "tagId", i.digest, t.tag
        FROM image i LEFT JOIN image_tag t ON t.image_id = i.id
        WHERE i.repository_id = ${repository.id} AND i.id >= ${imageAfter} AND (i.id, coalesce(t.id, 0)) > ${behind}
        ORDER BY i.id, coalesce(t.id, 0)`,
    }[tagStatus];
    const rows = await this.prisma.$queryRaw<
      { imageId: bigint; tagId: bigint; digest: string; tag: string | null }[]
    >`${listed} LIMIT ${page.limit + 1}`;
    return rows.map(({ digest, tag, imageId, tagId }) => ({
      digest,
      tag,
      key: [String(imageId), String(tagId)],
    }));
  }

  /** Up to `limit + 1` images in push order. The key is the image id. */
  async listDetails(repository: Repository, tagStatus: TagStatus, page: PageRequest): Promise<ImageDetail[]> {
    const after = BigInt(page.after ?? '0');
    const limit = page.limit + 1;
    const listed = {
      TAGGED: Prisma.sql`i.id IN (
        SELECT DISTINCT image_id FROM image_tag WHERE repository_id = ${repository.id} AND image_id > ${after}
        ORDER BY image_id LIMIT ${limit})`,
      UNTAGGED: Prisma.sql`i.repository_id = ${repository.id} AND i.id > ${after} AND ${UNTAGGED}`,
      ANY: Prisma.sql`i.repository_id = ${repository.id} AND i.id > ${after}`,
    }[tagStatus];
    return this.details(listed, limit);
  }

  async detailsOf(repository: Repository, images: ImageIdentifier[]): Promise<ImageDetail[]> {
    return this.details(named(repository, images), images.length);
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

/** An image `i` that has one of the digests, or one of the tags that come without a digest. */
function named(repository: Repository, images: ImageIdentifier[]): Prisma.Sql {
  const digests = images.flatMap(({ digest }) => digest ?? []);
  const tags = images.flatMap(({ digest, tag }) => (digest === undefined && tag !== undefined ? [tag] : []));
  return Prisma.sql`i.repository_id = ${repository.id} AND i.id IN (
    SELECT id FROM image WHERE repository_id = ${repository.id} AND digest = ANY(${digests}::text[])
    UNION SELECT image_id FROM image_tag WHERE repository_id = ${repository.id} AND tag = ANY(${tags}::text[]))`;
}
