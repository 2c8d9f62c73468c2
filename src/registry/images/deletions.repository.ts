import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { keepingDeleted } from '../../database/deleted-images.js';
import { Prisma } from '../../database/generated/client.js';
import { PrismaService } from '../../database/prisma.service.js';
import { inTransaction } from '../../database/transaction.js';
import type { ImageIdentifier } from '../../domain/image-reference.js';
import type { Repository } from '../repositories/repository.js';
import { type DeletionCandidate, planDeletion, type Removed } from './deletion-plan.js';

type Tx = Prisma.TransactionClient;

/** The transaction in which images go: few statements, however many images. */
@Injectable()
export class DeletionsRepository {
  private readonly keeps: boolean;

  constructor(
    private readonly prisma: PrismaService,
    @Inject(CONFIG) config: Config,
  ) {
    this.keeps = config.undeleteSeconds > 0;
  }

  /** Removes what {@link planDeletion} says; images go where they can be brought back from. @returns one outcome per identifier */
  async remove(
    repository: Repository,
    identifiers: ImageIdentifier[],
    options: { keepUntagged: boolean },
  ): Promise<Removed[]> {
    if (identifiers.length === 0) return [];
    return inTransaction(this.prisma, async (tx) => {
      const candidates = await this.lock(tx, repository, identifiers);
      const { outcomes, tags, images } = planDeletion(candidates, identifiers, options);
      if (images.length > 0) await this.removeImages(tx, repository, images);
      if (tags.length > 0)
        await tx.$executeRaw`DELETE FROM image_tag WHERE repository_id = ${repository.id} AND tag = ANY(${tags}::text[])`;
      return outcomes;
    });
  }

  /**
   * The repository's row first, as its deletion does; then images and tags, each in one order, so that deletions and pushes of
   * the same ones wait for each other instead of in a circle. What is read after the locks holds until the end.
   */
  private async lock(
    tx: Tx,
    repository: Repository,
    identifiers: ImageIdentifier[],
  ): Promise<DeletionCandidate[]> {
    const digests = identifiers.flatMap(({ digest }) => digest ?? []);
    const named = identifiers.flatMap(({ digest, tag }) => (digest === undefined ? (tag ?? []) : []));
    const images = await tx.$queryRaw<{ id: bigint; digest: string }[]>`
      WITH here AS (SELECT id FROM repository WHERE id = ${repository.id} FOR KEY SHARE)
      SELECT i.id, i.digest FROM here JOIN image i ON i.repository_id = here.id
      WHERE i.id IN (
        SELECT id FROM image WHERE repository_id = ${repository.id} AND digest = ANY(${digests}::text[])
        UNION SELECT image_id FROM image_tag WHERE repository_id = ${repository.id} AND tag = ANY(${named}::text[]))
      ORDER BY i.id FOR UPDATE OF i`;
    if (images.length === 0) return [];
    const ids = images.map(({ id }) => id);
    const tags = await tx.$queryRaw<{ id: bigint; imageId: bigint; tag: string }[]>`
      SELECT id, image_id AS "imageId", tag FROM image_tag WHERE image_id = ANY(${ids}::bigint[]) ORDER BY tag FOR UPDATE`;
    const parents = await tx.$queryRaw<{ childId: bigint; id: bigint; digest: string }[]>`
      SELECT c.child_id AS "childId", p.id, p.digest FROM image_child c JOIN image p ON p.id = c.parent_id
      WHERE c.child_id = ANY(${ids}::bigint[]) ORDER BY p.id`;
    const inTaggingOrder = tags.toSorted((one, other) => (one.id < other.id ? -1 : 1));
    return images.map(({ id, digest }) => ({
      id,
      digest,
      tags: inTaggingOrder.filter(({ imageId }) => imageId === id).map(({ tag }) => tag),
      parents: parents.filter(({ childId }) => childId === id),
    }));
  }

  /** References first and all at once: their triggers then run once, and no child is looked at before its index has let go of it. */
  private async removeImages(tx: Tx, repository: Repository, ids: bigint[]): Promise<void> {
    if (this.keeps)
      await tx.$executeRaw(keepingDeleted(repository.id, Prisma.sql`i.id = ANY(${ids}::bigint[])`));
    await tx.$executeRaw`
      WITH layers AS (DELETE FROM image_layer WHERE image_id = ANY(${ids}::bigint[])),
      children AS (DELETE FROM image_child WHERE parent_id = ANY(${ids}::bigint[])),
      images AS (DELETE FROM image WHERE id = ANY(${ids}::bigint[]) RETURNING id)
      SELECT count_in_repository(${repository.id}::bigint, -count(*), 0, 0) FROM images`;
  }
}
