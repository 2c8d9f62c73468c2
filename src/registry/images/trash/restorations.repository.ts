import { Injectable } from '@nestjs/common';
import { isForeignKeyViolation } from '../../../database/database-errors.js';
import type { Prisma } from '../../../database/generated/client.js';
import { PrismaService } from '../../../database/prisma.service.js';
import { inTransaction } from '../../../database/transaction.js';
import { UNSEEN_AT_MOST } from '../../quotas/quotas.js';
import type { Repository } from '../../repositories/repository.js';
import { mayMoveTag } from '../../repositories/tag-mutability.js';
import type { DeletedImage, Restored, TagRestored } from './deleted-image.js';

type Tx = Prisma.TransactionClient;

/** An image's layer must be linked to its repository. */
const LINK_KEY = 'image_layer_repository_id_blob_id_fkey';
const ATTEMPTS = 5;
const REHEARSAL_MS = 600_000;

/** The transaction that makes a deleted image an image of its repository again. */
@Injectable()
export class RestorationsRepository {
  constructor(private readonly prisma: PrismaService) {}

  /**
   * All of it or nothing. An image that is there already, since it was pushed again, only gets its tags back.
   * @param moveTags takes tags back from images that have them now, where the repository lets tags be moved
   */
  async restore(repository: Repository, deleted: DeletedImage, moveTags: boolean): Promise<Restored> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await inTransaction(this.prisma, (tx) => this.restoreIn(tx, repository, deleted, moveTags));
      } catch (error) {
        if (error instanceof Undone) return error.restored;
        // A client deleted one of the layers, which nothing referenced yet, at this very moment; now it is linked again.
        if (!isForeignKeyViolation(error, LINK_KEY) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** What {@link restore} would say of all of them, one after the other; nothing of it stays. */
  async rehearse(repository: Repository, all: DeletedImage[], moveTags: boolean): Promise<Restored[]> {
    const outcomes: Restored[] = [];
    const undone = new Error('undone');
    await this.prisma
      .$transaction(
        async (tx) => {
          outcomes.length = 0;
          for (const deleted of all) {
            await tx.$executeRaw`SAVEPOINT one`;
            const outcome = await this.restoreIn(tx, repository, deleted, moveTags).catch(
              (error: unknown) => {
                if (error instanceof Undone) return error.restored;
                throw error;
              },
            );
            if (outcome.outcome === 'exceeded') await tx.$executeRaw`ROLLBACK TO SAVEPOINT one`;
            outcomes.push(outcome);
          }
          throw undone;
        },
        { maxWait: 10_000, timeout: REHEARSAL_MS },
      )
      .catch((error: unknown) => {
        if (error !== undone) throw error;
      });
    return outcomes;
  }

  private async restoreIn(
    tx: Tx,
    repository: Repository,
    deleted: DeletedImage,
    moveTags: boolean,
  ): Promise<Restored> {
    const { registryBytes } = repository.limits;
    if (registryBytes !== null)
      await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('registry-bytes', ${repository.registryRow}))`;
    // The rows of the trash stay locked, so that the collector can neither forget them nor drop a blob they hold.
    const here = await tx.$queryRaw<unknown[]>`
      SELECT 1 FROM repository WHERE id = ${repository.id} FOR KEY SHARE`;
    if (here.length === 0) return { outcome: 'repository-gone' };
    const locked = await tx.$queryRaw<
      unknown[]
    >`SELECT 1 FROM deleted_image WHERE id = ${deleted.id} FOR UPDATE`;
    if (locked.length === 0) return { outcome: 'gone' };
    const children = await tx.$queryRaw<{ id: bigint; digest: string }[]>`
      SELECT id, digest FROM image WHERE repository_id = ${repository.id} AND digest = ANY(${deleted.children}::text[]) ORDER BY id FOR KEY SHARE`;
    const missing = deleted.children.filter((digest) => !children.some((child) => child.digest === digest));
    if (missing.length > 0) return { outcome: 'children-missing', digests: missing };
    const { id, inserted } = await this.insertImage(tx, repository, deleted);
    const bytes = inserted ? await this.insertReferences(tx, repository, deleted, id, children) : 0n;
    const tags = await this.putTags(tx, repository, deleted, id, moveTags);
    const damaged = await tx.$queryRaw<{ sha256: string }[]>`
      SELECT b.sha256 FROM image_layer l JOIN blob b ON b.id = l.blob_id WHERE l.image_id = ${id} AND b.damaged_at IS NOT NULL`;
    await tx.$executeRaw`DELETE FROM deleted_image WHERE id = ${deleted.id}`;
    if (inserted) await this.count(tx, repository, bytes);
    return {
      outcome: inserted ? 'restored' : 'there-already',
      tags,
      damaged: damaged.map(({ sha256 }) => `sha256:${sha256}`),
    };
  }

  private async insertImage(
    tx: Tx,
    repository: Repository,
    deleted: DeletedImage,
  ): Promise<{ id: bigint; inserted: boolean }> {
    for (;;) {
      const [inserted] = await tx.$queryRaw<{ id: bigint }[]>`
        INSERT INTO image (repository_id, digest, manifest, media_type, artifact_type, subject_digest, annotations, size_bytes, pushed_at, last_pulled_at)
        SELECT ${repository.id}, digest, manifest, media_type, artifact_type, subject_digest, annotations, size_bytes, pushed_at, last_pulled_at
        FROM deleted_image WHERE id = ${deleted.id}
        ON CONFLICT (repository_id, digest) DO NOTHING RETURNING id`;
      if (inserted) return { id: inserted.id, inserted: true };
      const [existing] = await tx.$queryRaw<{ id: bigint }[]>`
        SELECT id FROM image WHERE repository_id = ${repository.id} AND digest = ${deleted.digest} FOR NO KEY UPDATE`;
      if (existing) return { id: existing.id, inserted: false };
      // Deleted between the two statements: the insert will succeed now.
    }
  }

  /** Links that are there are locked, which waits for a collector that takes them away. @returns bytes of the links it made */
  private async insertReferences(
    tx: Tx,
    repository: Repository,
    deleted: DeletedImage,
    id: bigint,
    children: { id: bigint }[],
  ): Promise<bigint> {
    const there = await tx.$queryRaw<{ blobId: bigint }[]>`
      SELECT l.blob_id AS "blobId" FROM deleted_image_layer d JOIN repository_layer l ON l.repository_id = ${repository.id} AND l.blob_id = d.blob_id
      WHERE d.deleted_image_id = ${deleted.id} ORDER BY l.blob_id FOR KEY SHARE OF l`;
    const [linked] = await tx.$queryRaw<{ bytes: bigint }[]>`
      WITH linked AS (
        INSERT INTO repository_layer (repository_id, blob_id)
        SELECT ${repository.id}, blob_id FROM deleted_image_layer
        WHERE deleted_image_id = ${deleted.id} AND blob_id <> ALL(${there.map(({ blobId }) => blobId)}::bigint[]) ORDER BY blob_id
        ON CONFLICT DO NOTHING RETURNING blob_id)
      SELECT coalesce(sum(b.size_bytes), 0)::bigint AS bytes FROM linked JOIN blob b ON b.id = linked.blob_id`;
    await tx.$executeRaw`
      INSERT INTO image_layer (image_id, repository_id, blob_id, media_type)
      SELECT ${id}, ${repository.id}, blob_id, media_type FROM deleted_image_layer WHERE deleted_image_id = ${deleted.id} ORDER BY blob_id`;
    if (children.length > 0)
      await tx.$executeRaw`
        INSERT INTO image_child (parent_id, child_id) SELECT ${id}, child FROM unnest(${children.map((child) => child.id)}::bigint[]) AS child`;
    return linked!.bytes;
  }

  private async putTags(
    tx: Tx,
    repository: Repository,
    deleted: DeletedImage,
    imageId: bigint,
    moveTags: boolean,
  ): Promise<TagRestored[]> {
    const limit = repository.limits.tagsPerImage;
    const [has] = await tx.$queryRaw<{ tags: bigint }[]>`
      SELECT count(*) AS tags FROM image_tag WHERE image_id = ${imageId}`;
    let room = limit === null ? Number.MAX_SAFE_INTEGER : limit - Number(has!.tags);
    const restored: TagRestored[] = [];
    for (const tag of deleted.tags) {
      const [holder] = await tx.$queryRaw<{ imageId: bigint; digest: string }[]>`
        SELECT t.image_id AS "imageId", i.digest FROM image_tag t JOIN image i ON i.id = t.image_id
        WHERE t.repository_id = ${repository.id} AND t.tag = ${tag} FOR UPDATE OF t`;
      if (holder?.imageId === imageId) restored.push({ tag, outcome: 'there' });
      else if (holder && !mayMoveTag(repository, tag))
        restored.push({ tag, outcome: 'immutable', by: holder.digest });
      else if (holder && !moveTags) restored.push({ tag, outcome: 'taken', by: holder.digest });
      else if (room <= 0) restored.push({ tag, outcome: 'too-many' });
      else if (await this.putTag(tx, repository, imageId, tag, holder !== undefined)) {
        room -= 1;
        restored.push({ tag, outcome: 'put' });
      } else restored.push({ tag, outcome: 'taken', by: 'an image pushed at this moment' });
    }
    return restored;
  }

  private async putTag(
    tx: Tx,
    repository: Repository,
    imageId: bigint,
    tag: string,
    moves: boolean,
  ): Promise<boolean> {
    const changed = moves
      ? await tx.$executeRaw`
          UPDATE image_tag SET image_id = ${imageId}, id = nextval(pg_get_serial_sequence('image_tag', 'id'))
          WHERE repository_id = ${repository.id} AND tag = ${tag}`
      : await tx.$executeRaw`
          INSERT INTO image_tag (repository_id, tag, image_id) VALUES (${repository.id}, ${tag}, ${imageId}) ON CONFLICT DO NOTHING`;
    return changed === 1;
  }

  /** Last, so that near a limit others wait as briefly as can be. */
  private async count(tx: Tx, repository: Repository, bytes: bigint): Promise<void> {
    const { imagesPerRepository, repositoryBytes, registryBytes } = repository.limits;
    const [taken] = await tx.$queryRaw<{ images: boolean; bytes: boolean }[]>`
      SELECT take_in_repository(${repository.id}::bigint, 'images', 1, ${imagesPerRepository}::bigint, ${UNSEEN_AT_MOST}::bigint) AS images,
        take_in_repository(${repository.id}::bigint, 'bytes', ${bytes}::bigint, ${repositoryBytes}::bigint, ${repositoryBytes}::bigint) AS bytes`;
    if (!taken!.images)
      throw new Undone({ outcome: 'exceeded', what: 'images', limit: imagesPerRepository! });
    if (!taken!.bytes)
      throw new Undone({ outcome: 'exceeded', what: 'bytes of the repository', limit: repositoryBytes! });
    if (registryBytes === null) return;
    const [sum] = await tx.$queryRaw<{ total: bigint }[]>`
      SELECT coalesce(sum(c.stored_bytes), 0)::bigint AS total
      FROM repository r JOIN repository_counter c ON c.repository_id = r.id WHERE r.registry_id = ${repository.registryRow}`;
    if (Number(sum!.total) > registryBytes)
      throw new Undone({ outcome: 'exceeded', what: 'bytes of the registry', limit: registryBytes });
  }
}

/** Rolls a restoration back and carries out what it came to. */
class Undone extends Error {
  constructor(readonly restored: Restored) {
    super('undone');
  }
}
