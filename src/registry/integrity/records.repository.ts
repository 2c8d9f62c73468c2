import { Injectable } from '@nestjs/common';
import { Prisma } from '../../database/generated/client.js';
import { PrismaService } from '../../database/prisma.service.js';
import { inTransaction } from '../../database/transaction.js';
import type { Digest } from '../../domain/digest.js';
import { repositoryArn } from '../../domain/arn.js';

/** A manifest and the references recorded beside it, of one moment. */
export interface RecordedImage {
  id: bigint;
  /** Null: the image was deleted and can be brought back. */
  repositoryId: bigint | null;
  repositoryArn: string;
  digest: string;
  mediaType: string;
  manifest: Buffer;
  layers: { sha256: string; sha512: string | null }[];
  /** Digests. */
  children: string[];
}

export interface Counters {
  images: bigint;
  bytes: bigint;
  uploads: bigint;
}

export interface CountedRepository {
  id: bigint;
  repositoryArn: string;
  counted: Counters;
  actual: Counters;
}

type ImageRow = Omit<RecordedImage, 'manifest' | 'repositoryArn'> & {
  manifest: Uint8Array;
  accountId: string;
  region: string;
  name: string;
};

type CounterRow = Counters & {
  id: bigint;
  accountId: string;
  region: string;
  name: string;
  actualImages: bigint;
  actualBytes: bigint;
  actualUploads: bigint;
};

/** Most bytes of manifests in one page, unless a single one has more. */
const PAGE_BYTES = 8 * 1024 * 1024;

/** What a foreign key would not allow, were it never switched off; the columns name the row in words. */
const DANGLING = Prisma.sql`
  SELECT * FROM (SELECT 'The tag ''' || t.tag || ''' names an image that is not there' AS what, t.repository_id AS repository
    FROM image_tag t LEFT JOIN image i ON i.id = t.image_id AND i.repository_id = t.repository_id WHERE i.id IS NULL LIMIT 1000) tags
  UNION ALL SELECT * FROM (SELECT 'An image needs the layer of row ' || l.blob_id || ', which its repository does not see', l.repository_id
    FROM image_layer l LEFT JOIN repository_layer r ON r.repository_id = l.repository_id AND r.blob_id = l.blob_id WHERE r.blob_id IS NULL LIMIT 1000) layers
  UNION ALL SELECT * FROM (SELECT 'The layer of row ' || l.blob_id || ' is not there', l.repository_id
    FROM repository_layer l LEFT JOIN blob b ON b.id = l.blob_id WHERE b.id IS NULL LIMIT 1000) links
  UNION ALL SELECT * FROM (SELECT 'An index names the image of row ' || c.child_id || ', which is not there', p.repository_id
    FROM image_child c JOIN image p ON p.id = c.parent_id LEFT JOIN image i ON i.id = c.child_id WHERE i.id IS NULL LIMIT 1000) children
  UNION ALL SELECT * FROM (SELECT 'A deleted image holds the layer of row ' || l.blob_id || ', which is not there', NULL::bigint
    FROM deleted_image_layer l LEFT JOIN blob b ON b.id = l.blob_id WHERE b.id IS NULL LIMIT 1000) deleted`;

/** Rows of images and counters, read for comparison. Every statement compares within one snapshot, so that nothing is between two states. */
@Injectable()
export class RecordsRepository {
  constructor(private readonly prisma: PrismaService) {}

  async images(after: bigint): Promise<RecordedImage[]> {
    return this.select(Prisma.sql`
      SELECT i.id, i.repository_id AS "repositoryId", r.registry_id, r.name, i.digest, i.media_type AS "mediaType", i.manifest,
        ARRAY(SELECT jsonb_build_object('sha256', b.sha256, 'sha512', b.sha512) FROM image_layer l JOIN blob b ON b.id = l.blob_id
          WHERE l.image_id = i.id) AS layers,
        ARRAY(SELECT c.digest FROM image_child n JOIN image c ON c.id = n.child_id WHERE n.parent_id = i.id) AS children
      FROM ${boundedPage(Prisma.sql`image`, after)} i JOIN repository r ON r.id = i.repository_id`);
  }

  async deletedImages(after: bigint): Promise<RecordedImage[]> {
    return this.select(Prisma.sql`
      SELECT i.id, NULL::bigint AS "repositoryId", i.registry_id, i.repository_name AS name, i.digest, i.media_type AS "mediaType", i.manifest,
        ARRAY(SELECT jsonb_build_object('sha256', b.sha256, 'sha512', b.sha512) FROM deleted_image_layer l JOIN blob b ON b.id = l.blob_id
          WHERE l.deleted_image_id = i.id) AS layers, i.children
      FROM ${boundedPage(Prisma.sql`deleted_image`, after)} i`);
  }

  /** Whether the repository of the image, or for a deleted image the registry, still has what the digest names. */
  async hasLayer({ repositoryId }: RecordedImage, digest: Digest): Promise<boolean> {
    const rows = await this.prisma.$queryRaw<unknown[]>`
      SELECT 1 FROM blob b WHERE ${named(digest)}
        AND (${repositoryId}::bigint IS NULL OR EXISTS (SELECT 1 FROM repository_layer l WHERE l.blob_id = b.id AND l.repository_id = ${repositoryId}))`;
    return rows.length > 0;
  }

  async hasImage({ repositoryId }: RecordedImage, digest: string): Promise<boolean> {
    return (await this.prisma.image.count({ where: { repositoryId: repositoryId ?? 0n, digest } })) > 0;
  }

  /** Records that the image needs the layer. @returns false when either is gone */
  async addLayer(image: RecordedImage, digest: Digest, mediaType: string): Promise<boolean> {
    const added =
      image.repositoryId === null
        ? await this.prisma.$executeRaw`
            INSERT INTO deleted_image_layer (deleted_image_id, blob_id, media_type)
            SELECT i.id, b.id, ${mediaType} FROM deleted_image i, blob b WHERE i.id = ${image.id} AND ${named(digest)} ON CONFLICT DO NOTHING`
        : await this.prisma.$executeRaw`
            INSERT INTO image_layer (image_id, repository_id, blob_id, media_type)
            SELECT i.id, l.repository_id, b.id, ${mediaType}
            FROM image i JOIN repository_layer l ON l.repository_id = i.repository_id JOIN blob b ON b.id = l.blob_id
            WHERE i.id = ${image.id} AND ${named(digest)} FOR KEY SHARE OF i, l ON CONFLICT DO NOTHING`;
    return added > 0;
  }

  /** Records that the index names the image. @returns false when either is gone */
  async addChild(index: RecordedImage, digest: string): Promise<boolean> {
    const added = await this.prisma.$executeRaw`
      INSERT INTO image_child (parent_id, child_id)
      SELECT p.id, c.id FROM image p JOIN image c ON c.repository_id = p.repository_id
      WHERE p.id = ${index.id} AND c.digest = ${digest} FOR KEY SHARE ON CONFLICT DO NOTHING`;
    return added > 0;
  }

  /** Rows that name rows which are not there. */
  async dangling(): Promise<{ what: string; repositoryArn: string | null }[]> {
    const rows = await this.prisma.$queryRaw<
      { what: string; accountId: string | null; region: string | null; name: string | null }[]
    >`
      SELECT d.what, g.account_id AS "accountId", g.region, r.name
      FROM (${DANGLING}) d LEFT JOIN repository r ON r.id = d.repository LEFT JOIN registry g ON g.id = r.registry_id`;
    return rows.map(({ what, accountId, region, name }) => ({
      what,
      repositoryArn:
        accountId !== null && region !== null && name !== null
          ? repositoryArn({ accountId, region }, name)
          : null,
    }));
  }

  /** Repositories in the order of their ids, with what they count and what there is. */
  async countedRepositories(after: bigint, limit: number): Promise<CountedRepository[]> {
    const rows = await this.prisma.$queryRaw<CounterRow[]>`
      SELECT r.id, g.account_id AS "accountId", g.region, r.name, c.*
      FROM (SELECT id, registry_id, name FROM repository WHERE id > ${after} ORDER BY id LIMIT ${limit}) r
        JOIN registry g ON g.id = r.registry_id, LATERAL (${counts(Prisma.sql`r.id`)}) c ORDER BY r.id`;
    return rows.map(({ id, name, accountId, region, images, bytes, uploads, ...actual }) => ({
      id,
      repositoryArn: repositoryArn({ accountId, region }, name),
      counted: { images, bytes, uploads },
      actual: { images: actual.actualImages, bytes: actual.actualBytes, uploads: actual.actualUploads },
    }));
  }

  /**
   * Adds what a repository's counters lack. They change in the transactions that change what they count, so the difference of
   * one snapshot stays the same whatever is counted meanwhile; only two repairs must not both add it.
   */
  async recount(repositoryId: bigint): Promise<boolean> {
    return inTransaction(this.prisma, async (tx) => {
      await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('recount-of-repository', ${repositoryId}))`;
      const rows = await tx.$queryRaw<unknown[]>`
        SELECT count_in_repository(r.id, "actualImages" - images, "actualBytes" - bytes, "actualUploads" - uploads)::text
        FROM repository r, LATERAL (${counts(Prisma.sql`r.id`)}) c
        WHERE r.id = ${repositoryId} AND (images, bytes, uploads) <> ("actualImages", "actualBytes", "actualUploads")`;
      return rows.length > 0;
    });
  }

  /** Registries that count another number of repositories than they have. */
  async miscountedRegistries(): Promise<
    { id: bigint; accountId: string; region: string; counted: bigint; actual: bigint }[]
  > {
    return this.prisma.$queryRaw`
      SELECT * FROM (
        SELECT g.id, g.account_id AS "accountId", g.region, g.repository_count AS counted,
          (SELECT count(*) FROM repository r WHERE r.registry_id = g.id) AS actual FROM registry g) c
      WHERE counted <> actual`;
  }

  /** Whoever creates or deletes a repository changes the registry's row, and so waits for this. */
  async recountRegistry(id: bigint): Promise<boolean> {
    return inTransaction(this.prisma, async (tx) => {
      await tx.$executeRaw`SELECT 1 FROM registry WHERE id = ${id} FOR UPDATE`;
      const changed = await tx.$executeRaw`
        UPDATE registry g SET repository_count = c.actual
        FROM (SELECT count(*) AS actual FROM repository WHERE registry_id = ${id}) c
        WHERE g.id = ${id} AND g.repository_count <> c.actual`;
      return changed > 0;
    });
  }

  private async select(images: Prisma.Sql): Promise<RecordedImage[]> {
    const rows = await this.prisma.$queryRaw<ImageRow[]>`
      SELECT i.id, "repositoryId", g.account_id AS "accountId", g.region, i.name, i.digest, "mediaType", manifest, layers, children
      FROM (${images}) i JOIN registry g ON g.id = i.registry_id ORDER BY i.id`;
    return rows.map(({ manifest, accountId, region, name, ...row }) => ({
      ...row,
      repositoryArn: repositoryArn({ accountId, region }, name),
      manifest: Buffer.from(manifest.buffer, manifest.byteOffset, manifest.byteLength),
    }));
  }
}

function named({ algorithm, hex }: Digest): Prisma.Sql {
  return algorithm === 'sha256' ? Prisma.sql`b.sha256 = ${hex}` : Prisma.sql`b.sha512 = ${hex}`;
}

/** The next rows of a table, as many as have a bearable number of bytes in their manifests. */
function boundedPage(table: Prisma.Sql, after: bigint): Prisma.Sql {
  return Prisma.sql`(
    SELECT t.* FROM ${table} t JOIN (
      SELECT id, sum(octet_length(manifest)) OVER (ORDER BY id) - octet_length(manifest) AS bytes_before
      FROM (SELECT id, manifest FROM ${table} WHERE id > ${after} ORDER BY id LIMIT 500) ahead) a ON a.id = t.id
    WHERE a.bytes_before < ${PAGE_BYTES})`;
}

/** One row: what a repository counts, and what there is. */
function counts(repository: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`
    SELECT coalesce(sum(image_count), 0)::bigint AS images, coalesce(sum(stored_bytes), 0)::bigint AS bytes,
      coalesce(sum(open_uploads), 0)::bigint AS uploads,
      (SELECT count(*) FROM image WHERE repository_id = ${repository}) AS "actualImages",
      (SELECT coalesce(sum(b.size_bytes), 0)::bigint FROM repository_layer l JOIN blob b ON b.id = l.blob_id
        WHERE l.repository_id = ${repository}) AS "actualBytes",
      (SELECT count(*) FROM upload WHERE repository_id = ${repository} AND state = 'open') AS "actualUploads"
    FROM repository_counter WHERE repository_id = ${repository}`;
}
