import { Injectable } from '@nestjs/common';
import { isForeignKeyViolation } from '../../database/database-errors.js';
import { Prisma } from '../../database/generated/client.js';
import { PrismaService } from '../../database/prisma.service.js';
import { inTransaction } from '../../database/transaction.js';
import type { ImageIdentifier } from '../../domain/image-reference.js';
import type { PageRequest } from '../../domain/page.js';
import type { RegistryAddress } from '../../domain/registry-address.js';
import type { Repository } from '../repositories/repository.js';
import type { ImageManifest } from './image-manifest.js';
import type { ImageDetail, Referrer, StoredImage, TagStatus } from './image.js';

export interface NewImage {
  digest: string;
  /** Digest of the same bytes in the other algorithm: an image stored under it is this image. */
  alias: string | null;
  bytes: Buffer;
  manifest: ImageManifest;
  tags: string[];
  mayMoveTag: (tag: string) => boolean;
}

/** What a push did or what stood against it. */
export type Pushed =
  | { outcome: 'stored'; digest: string; changed: boolean }
  | { outcome: 'layers-missing' | 'children-missing'; digests: string[] }
  | { outcome: 'tag-immutable'; tag: string }
  | { outcome: 'images-exceeded' | 'repository-gone' }
  | { outcome: 'tags-exceeded'; tag: string };

export type Removed =
  | { outcome: 'removed'; digest: string; tags: string[] }
  | { outcome: 'missing' | 'tag-mismatch' }
  | { outcome: 'referenced'; parents: string[] };

type Tx = Prisma.TransactionClient;

/** Rows of images, their tags and what they reference. */
@Injectable()
export class ImagesRepository {
  constructor(private readonly prisma: PrismaService) {}

  /** Everything of a push in one transaction; counters last, so that the repository's row is locked as briefly as can be. */
  async push(repository: Repository, image: NewImage): Promise<Pushed> {
    return inTransaction(this.prisma, (tx) => this.pushIn(tx, repository, image)).catch((error: unknown) => {
      if (error instanceof Refused) return error.pushed;
      if (isForeignKeyViolation(error)) return { outcome: 'repository-gone' };
      throw error;
    });
  }

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
    const [row] = await this.prisma.$queryRaw<
      (Omit<StoredImage, 'manifest'> & { manifest: Uint8Array | null })[]
    >`
      SELECT i.id, i.digest, i.manifest, i.media_type AS "mediaType", i.last_pulled_at AS "lastPulledAt"
      FROM registry g JOIN repository r ON r.registry_id = g.id ${joined}
      WHERE g.account_id = ${registry.accountId} AND g.region = ${registry.region} AND r.name = ${repositoryName}`;
    if (!row) return null;
    if (row.manifest === null) return { image: null };
    return {
      image: {
        ...row,
        manifest: Buffer.from(row.manifest.buffer, row.manifest.byteOffset, row.manifest.byteLength),
      },
    };
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
      Prisma.sql`i.repository_id = ${repository.id} AND (i.digest = ANY(${digests}::text[])
        OR i.id IN (SELECT image_id FROM image_tag WHERE repository_id = ${repository.id} AND tag = ANY(${tags}::text[])))`,
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

  /**
   * Removes a tag, or an image with all its tags. The last tag takes its image along (`keepUntagged` leaves it); an image
   * that an index names stays.
   */
  async remove(
    repository: Repository,
    image: ImageIdentifier,
    options: { keepUntagged: boolean },
  ): Promise<Removed> {
    return inTransaction(this.prisma, async (tx): Promise<Removed> => {
      const [row] = await tx.$queryRaw<{ id: bigint; digest: string }[]>`
        SELECT id, digest FROM image WHERE repository_id = ${repository.id} AND ${
          image.digest !== undefined
            ? Prisma.sql`digest = ${image.digest}`
            : Prisma.sql`id = (SELECT image_id FROM image_tag WHERE repository_id = ${repository.id} AND tag = ${image.tag})`
        } FOR UPDATE`;
      if (!row) return { outcome: 'missing' };
      const tags = await tx.$queryRaw<
        { tag: string }[]
      >`SELECT tag FROM image_tag WHERE image_id = ${row.id} ORDER BY id`;
      if (image.tag !== undefined && !tags.some(({ tag }) => tag === image.tag))
        return { outcome: image.digest ? 'tag-mismatch' : 'missing' };
      if (image.digest === undefined && (tags.length > 1 || options.keepUntagged)) {
        await tx.$executeRaw`DELETE FROM image_tag WHERE repository_id = ${repository.id} AND tag = ${image.tag}`;
        return { outcome: 'removed', digest: row.digest, tags: [image.tag!] };
      }
      const parents = await tx.$queryRaw<{ digest: string }[]>`
        SELECT p.digest FROM image_child c JOIN image p ON p.id = c.parent_id WHERE c.child_id = ${row.id} ORDER BY p.id`;
      if (parents.length > 0) return { outcome: 'referenced', parents: parents.map(({ digest }) => digest) };
      await tx.$executeRaw`DELETE FROM image WHERE id = ${row.id}`;
      await tx.$executeRaw`UPDATE repository SET image_count = image_count - 1 WHERE id = ${repository.id}`;
      return { outcome: 'removed', digest: row.digest, tags: tags.map(({ tag }) => tag) };
    });
  }

  private async details(where: Prisma.Sql, limit: number): Promise<ImageDetail[]> {
    const rows = await this.prisma.$queryRaw<(Omit<ImageDetail, 'sizeBytes'> & { sizeBytes: bigint })[]>`
      SELECT i.id, i.digest, i.media_type AS "mediaType", i.artifact_type AS "artifactType", i.subject_digest AS "subjectDigest",
        i.size_bytes AS "sizeBytes", i.pushed_at AS "pushedAt", i.last_pulled_at AS "lastPulledAt",
        ARRAY(SELECT t.tag::text FROM image_tag t WHERE t.image_id = i.id ORDER BY t.id) AS tags
      FROM image i WHERE ${where} ORDER BY i.id LIMIT ${limit}`;
    return rows.map((row) => ({ ...row, sizeBytes: Number(row.sizeBytes) }));
  }

  private async pushIn(tx: Tx, repository: Repository, image: NewImage): Promise<Pushed> {
    const layers = await this.lockLayers(tx, repository, image.manifest);
    const children = await this.lockChildren(tx, repository, image.manifest);
    const digest = await this.digestInUse(tx, repository, image);
    const { id, inserted } = await this.insertImage(tx, repository, { ...image, digest }, children);
    if (inserted) await this.insertReferences(tx, repository, id, layers, children);
    let changed = inserted;
    for (const tag of image.tags)
      changed = (await this.putTag(tx, repository, id, tag, image.mayMoveTag)) || changed;
    await this.assertTagCount(tx, repository, id, image.tags);
    if (inserted) await this.countImage(tx, repository);
    return { outcome: 'stored', digest, changed };
  }

  /** Locks the links of every layer the manifest names, so that none can be collected before the image references it. */
  private async lockLayers(
    tx: Tx,
    repository: Repository,
    { layers }: ImageManifest,
  ): Promise<Map<string, { blobId: bigint; mediaType: string }>> {
    if (layers.length === 0) return new Map();
    const wanted = new Map(layers.map((layer) => [layer.digest, layer]));
    const hex = (algorithm: string): string[] =>
      [...wanted.keys()].filter((digest) => digest.startsWith(algorithm)).map((digest) => digest.slice(7));
    const rows = await tx.$queryRaw<{ blobId: bigint; sha256: string; sha512: string | null }[]>`
      SELECT b.id AS "blobId", b.sha256, b.sha512 FROM repository_layer l JOIN blob b ON b.id = l.blob_id
      WHERE l.repository_id = ${repository.id} AND (b.sha256 = ANY(${hex('sha256')}::text[]) OR b.sha512 = ANY(${hex('sha512')}::text[]))
      ORDER BY b.id FOR KEY SHARE OF l`;
    const found = new Map<string, { blobId: bigint; mediaType: string }>();
    for (const { blobId, sha256, sha512 } of rows) {
      for (const digest of [`sha256:${sha256}`, `sha512:${sha512}`]) {
        const layer = wanted.get(digest);
        if (layer) found.set(digest, { blobId, mediaType: layer.mediaType });
      }
    }
    const missing = [...wanted.keys()].filter((digest) => !found.has(digest));
    if (missing.length > 0) throw new Refused({ outcome: 'layers-missing', digests: missing });
    return found;
  }

  private async lockChildren(
    tx: Tx,
    repository: Repository,
    { children }: ImageManifest,
  ): Promise<{ id: bigint; sizeBytes: bigint }[]> {
    const wanted = [...new Set(children.map(({ digest }) => digest))];
    if (wanted.length === 0) return [];
    const rows = await tx.$queryRaw<{ id: bigint; digest: string; sizeBytes: bigint }[]>`
      SELECT id, digest, size_bytes AS "sizeBytes" FROM image
      WHERE repository_id = ${repository.id} AND digest = ANY(${wanted}::text[]) ORDER BY id FOR KEY SHARE`;
    const missing = wanted.filter((digest) => !rows.some((row) => row.digest === digest));
    if (missing.length > 0) throw new Refused({ outcome: 'children-missing', digests: missing });
    return rows;
  }

  /** A tag put on bytes that were pushed by their SHA-512 names that image, not a second one. */
  private async digestInUse(tx: Tx, repository: Repository, { digest, alias }: NewImage): Promise<string> {
    if (alias === null) return digest;
    const rows = await tx.$queryRaw<{ digest: string }[]>`
      SELECT digest FROM image WHERE repository_id = ${repository.id} AND digest = ANY(${[digest, alias]}::text[])`;
    return rows.length === 1 ? rows[0]!.digest : digest;
  }

  private async insertImage(
    tx: Tx,
    repository: Repository,
    { digest, bytes, manifest }: NewImage,
    children: { sizeBytes: bigint }[],
  ): Promise<{ id: bigint; inserted: boolean }> {
    // ECR: the size of an index is that of its largest image.
    const sizeBytes = children.reduce(
      (largest, child) => (child.sizeBytes > largest ? child.sizeBytes : largest),
      BigInt(manifest.sizeBytes),
    );
    for (;;) {
      const [inserted] = await tx.$queryRaw<{ id: bigint }[]>`
        INSERT INTO image (repository_id, digest, manifest, media_type, artifact_type, subject_digest, annotations, size_bytes)
        VALUES (${repository.id}, ${digest}, ${bytes}, ${manifest.mediaType}, ${manifest.artifactType}, ${manifest.subjectDigest},
          ${manifest.annotations && JSON.stringify(manifest.annotations)}::jsonb, ${sizeBytes})
        ON CONFLICT (repository_id, digest) DO NOTHING RETURNING id`;
      if (inserted) return { id: inserted.id, inserted: true };
      const [existing] = await tx.$queryRaw<{ id: bigint }[]>`
        SELECT id FROM image WHERE repository_id = ${repository.id} AND digest = ${digest} FOR NO KEY UPDATE`;
      if (existing) return { id: existing.id, inserted: false };
      // Deleted between the two statements: the insert will succeed now.
    }
  }

  private async insertReferences(
    tx: Tx,
    repository: Repository,
    id: bigint,
    layers: Map<string, { blobId: bigint; mediaType: string }>,
    children: { id: bigint }[],
  ): Promise<void> {
    if (layers.size > 0) {
      const blobIds = [...layers.values()].map(({ blobId }) => blobId);
      const mediaTypes = [...layers.values()].map(({ mediaType }) => mediaType);
      await tx.$executeRaw`
        INSERT INTO image_layer (image_id, repository_id, blob_id, media_type)
        SELECT ${id}, ${repository.id}, blob_id, media_type FROM unnest(${blobIds}::bigint[], ${mediaTypes}::text[]) AS named (blob_id, media_type)
        ON CONFLICT DO NOTHING`;
    }
    if (children.length > 0) {
      await tx.$executeRaw`
        INSERT INTO image_child (parent_id, child_id) SELECT ${id}, child FROM unnest(${children.map((child) => child.id)}::bigint[]) AS child`;
    }
  }

  /** @returns whether anything changed */
  private async putTag(
    tx: Tx,
    repository: Repository,
    imageId: bigint,
    tag: string,
    mayMoveTag: (tag: string) => boolean,
  ): Promise<boolean> {
    for (;;) {
      const [inserted] = await tx.$queryRaw<unknown[]>`
        INSERT INTO image_tag (repository_id, tag, image_id) VALUES (${repository.id}, ${tag}, ${imageId})
        ON CONFLICT (repository_id, tag) DO NOTHING RETURNING 1`;
      if (inserted) return true;
      const [existing] = await tx.$queryRaw<{ imageId: bigint }[]>`
        SELECT image_id AS "imageId" FROM image_tag WHERE repository_id = ${repository.id} AND tag = ${tag} FOR UPDATE`;
      if (!existing) continue;
      if (existing.imageId === imageId) return false;
      if (!mayMoveTag(tag)) throw new Refused({ outcome: 'tag-immutable', tag });
      await tx.$executeRaw`
        UPDATE image_tag SET image_id = ${imageId}, id = nextval(pg_get_serial_sequence('image_tag', 'id'))
        WHERE repository_id = ${repository.id} AND tag = ${tag}`;
      return true;
    }
  }

  /** The image's row is locked or new, so nobody else adds tags to it meanwhile. */
  private async assertTagCount(
    tx: Tx,
    repository: Repository,
    imageId: bigint,
    tags: string[],
  ): Promise<void> {
    const limit = repository.limits.tagsPerImage;
    if (limit === null || tags.length === 0) return;
    const [row] = await tx.$queryRaw<
      { count: bigint }[]
    >`SELECT count(*) AS count FROM image_tag WHERE image_id = ${imageId}`;
    if (Number(row!.count) > limit)
      throw new Refused({ outcome: 'tags-exceeded', tag: tags[tags.length - 1]! });
  }

  private async countImage(tx: Tx, repository: Repository): Promise<void> {
    const limit = repository.limits.imagesPerRepository;
    const counted = await tx.$executeRaw`
      UPDATE repository SET image_count = image_count + 1
      WHERE id = ${repository.id} AND (${limit}::bigint IS NULL OR image_count < ${limit}::bigint)`;
    if (counted === 0) throw new Refused({ outcome: 'images-exceeded' });
  }
}

/** Rolls a push back and carries the reason out. */
class Refused extends Error {
  constructor(readonly pushed: Pushed) {
    super('refused');
  }
}

function withStatus(status: TagStatus, tagged: Prisma.Sql): Prisma.Sql {
  if (status === 'ANY') return Prisma.sql`TRUE`;
  return status === 'TAGGED' ? tagged : Prisma.sql`NOT (${tagged})`;
}
