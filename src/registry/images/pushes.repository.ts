import { Injectable } from '@nestjs/common';
import { isForeignKeyViolation } from '../../database/database-errors.js';
import type { Prisma } from '../../database/generated/client.js';
import { PrismaService } from '../../database/prisma.service.js';
import { inTransaction } from '../../database/transaction.js';
import { UNSEEN_AT_MOST } from '../quotas/quotas.js';
import type { Repository } from '../repositories/repository.js';
import type { ImageManifest } from './image-manifest.js';

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

interface ReferencedLayer {
  blobId: bigint;
  mediaType: string;
  sizeBytes: bigint;
}

type Tx = Prisma.TransactionClient;

/** The transaction that makes a manifest an image of a repository. */
@Injectable()
export class PushesRepository {
  constructor(private readonly prisma: PrismaService) {}

  /** Everything of a push in one transaction; the count last, so that near a limit others wait as briefly as can be. */
  async push(repository: Repository, image: NewImage): Promise<Pushed> {
    return inTransaction(this.prisma, (tx) => this.pushIn(tx, repository, image)).catch((error: unknown) => {
      if (error instanceof Refused) return error.pushed;
      if (isForeignKeyViolation(error)) return { outcome: 'repository-gone' };
      throw error;
    });
  }

  private async pushIn(tx: Tx, repository: Repository, image: NewImage): Promise<Pushed> {
    const layers = await this.lockLayers(tx, repository, image.manifest);
    const children = await this.lockChildren(tx, repository, image.manifest);
    const digest = await this.digestInUse(tx, repository, image);
    const sizeBytes = sizeOf([...layers.values()], children);
    const { id, inserted } = await this.insertImage(tx, repository, { ...image, digest }, sizeBytes);
    if (inserted) await this.insertReferences(tx, repository, id, layers, children);
    let changed = inserted;
    // In one order everywhere: pushes that move the same tags then wait for each other instead of in a circle.
    for (const tag of image.tags.toSorted())
      changed = (await this.putTag(tx, repository, id, tag, image.mayMoveTag)) || changed;
    await this.assertTagCount(tx, repository, id, image.tags);
    if (inserted) await this.countImage(tx, repository);
    return { outcome: 'stored', digest, changed };
  }

  /**
   * Locks the links of every layer the manifest names, so that none can be collected before the image references it. The
   * repository's row comes first, as in its deletion: the two then wait for each other in one order.
   */
  private async lockLayers(
    tx: Tx,
    repository: Repository,
    { layers }: ImageManifest,
  ): Promise<Map<string, ReferencedLayer>> {
    if (layers.length === 0) return new Map();
    const wanted = new Map(layers.map((layer) => [layer.digest, layer]));
    const hex = (algorithm: string): string[] =>
      [...wanted.keys()].filter((digest) => digest.startsWith(algorithm)).map((digest) => digest.slice(7));
    const rows = await tx.$queryRaw<
      { blobId: bigint; sha256: string; sha512: string | null; sizeBytes: bigint }[]
    >`
      WITH here AS (SELECT id FROM repository WHERE id = ${repository.id} FOR KEY SHARE),
      named AS MATERIALIZED (
        SELECT id, sha256, sha512, size_bytes FROM blob
        WHERE damaged_at IS NULL AND (sha256 = ANY(${hex('sha256')}::bpchar[]) OR sha512 = ANY(${hex('sha512')}::bpchar[])))
      SELECT named.id AS "blobId", named.sha256, named.sha512, named.size_bytes AS "sizeBytes"
      FROM here, named JOIN repository_layer l ON l.blob_id = named.id
      WHERE l.repository_id = here.id ORDER BY named.id FOR KEY SHARE OF l`;
    const found = new Map<string, ReferencedLayer>();
    for (const { blobId, sha256, sha512, sizeBytes } of rows) {
      for (const digest of [`sha256:${sha256}`, `sha512:${sha512}`]) {
        const layer = wanted.get(digest);
        if (layer) found.set(digest, { blobId, mediaType: layer.mediaType, sizeBytes });
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
      WITH here AS (SELECT id FROM repository WHERE id = ${repository.id} FOR KEY SHARE)
      SELECT i.id, i.digest, i.size_bytes AS "sizeBytes" FROM here JOIN image i ON i.repository_id = here.id
      WHERE i.digest = ANY(${wanted}::text[]) ORDER BY i.id FOR KEY SHARE OF i`;
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
    sizeBytes: bigint,
  ): Promise<{ id: bigint; inserted: boolean }> {
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
    layers: Map<string, ReferencedLayer>,
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
    const [taken] = await tx.$queryRaw<{ fits: boolean }[]>`
      SELECT take_in_repository(${repository.id}::bigint, 'images', 1, ${limit}::bigint, ${UNSEEN_AT_MOST}::bigint) AS fits`;
    if (!taken!.fits) throw new Refused({ outcome: 'images-exceeded' });
  }
}

/** Rolls a push back and carries the reason out. */
class Refused extends Error {
  constructor(readonly pushed: Pushed) {
    super('refused');
  }
}

/** Bytes of the distinct layers; ECR: the size of an index is that of its largest image. */
function sizeOf(layers: ReferencedLayer[], children: { sizeBytes: bigint }[]): bigint {
  const own = layers.reduce((sum, layer) => sum + layer.sizeBytes, 0n);
  return children.reduce((largest, child) => (child.sizeBytes > largest ? child.sizeBytes : largest), own);
}
