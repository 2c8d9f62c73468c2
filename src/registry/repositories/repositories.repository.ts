import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { keepingDeleted } from '../../database/deleted-images.js';
import { Prisma } from '../../database/generated/client.js';
import { PrismaService } from '../../database/prisma.service.js';
import { inTransaction } from '../../database/transaction.js';
import type { PageRequest } from '../../domain/page.js';
import type { RegistryAddress } from '../../domain/registry-address.js';
import { type QuotaOverride, QuotasService } from '../quotas/quotas.service.js';
import type { Repository, Tag, TagMutability } from './repository.js';

interface RepositoryRow {
  id: bigint;
  registryRow: bigint;
  accountId: string;
  region: string;
  name: string;
  createdAt: Date;
  tagMutability: TagMutability;
  exclusionFilters: string[];
  scanOnPush: boolean;
  quotas: QuotaOverride[] | null;
}

export interface NewRepository {
  name: string;
  tagMutability: TagMutability;
  exclusionFilters: string[];
  scanOnPush: boolean;
  tags: Tag[];
}

const COLUMNS = Prisma.sql`
  r.id, r.registry_id AS "registryRow", g.account_id AS "accountId", g.region, r.name, r.created_at AS "createdAt",
  r.tag_mutability::text AS "tagMutability", r.exclusion_filters AS "exclusionFilters", r.scan_on_push AS "scanOnPush",
  (SELECT jsonb_agg(jsonb_build_object('name', q.name, 'value', q.value, 'ofRepository', q.repository_id IS NOT NULL))
     FROM quota q WHERE q.registry_id = r.registry_id AND (q.repository_id IS NULL OR q.repository_id = r.id)) AS quotas`;

/** Rows of repositories, their resource tags and the registries they belong to. */
@Injectable()
export class RepositoriesRepository {
  constructor(
    private readonly prisma: PrismaService,
    private readonly quotas: QuotasService,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  async find(registry: RegistryAddress, name: string): Promise<Repository | null> {
    const [row] = await this.select(registry, Prisma.sql`r.name = ${name}`, 1);
    return row ?? null;
  }

  async findAll(registry: RegistryAddress, names: string[]): Promise<Repository[]> {
    return this.select(registry, Prisma.sql`r.name = ANY(${names}::text[])`, names.length);
  }

  /** Up to `limit + 1` repositories in name order. */
  async list(registry: RegistryAddress, page: PageRequest): Promise<Repository[]> {
    return this.select(registry, Prisma.sql`r.name > ${page.after ?? ''}`, page.limit + 1);
  }

  /**
   * Counts and inserts in one transaction.
   * @returns the repository, or which of the two conditions stood against it
   */
  async create(
    registry: RegistryAddress,
    input: NewRepository,
  ): Promise<Repository | 'exists' | { limit: number }> {
    const registryRow = await this.requireRegistry(registry);
    const limits = this.quotas.effective(await this.registryQuotas(registryRow));
    const created = await inTransaction(this.prisma, async (tx) => {
      // Locks the registry's row first, so that racing creations queue up instead of overshooting.
      const [counted] = await tx.$queryRaw<{ count: bigint }[]>`
        UPDATE registry SET repository_count = repository_count + 1 WHERE id = ${registryRow} RETURNING repository_count AS count`;
      const inserted = await tx.$queryRaw<{ id: bigint }[]>`
        INSERT INTO repository (registry_id, name, tag_mutability, exclusion_filters, scan_on_push)
        VALUES (${registryRow}, ${input.name}, ${input.tagMutability}::tag_mutability, ${input.exclusionFilters}::text[], ${input.scanOnPush})
        ON CONFLICT (registry_id, name) DO NOTHING RETURNING id`;
      const id = inserted[0]?.id;
      if (id === undefined) throw new Undone('exists');
      const limit = limits.repositoriesPerRegistry;
      if (limit !== null && Number(counted!.count) > limit) throw new Undone({ limit });
      if (input.tags.length > 0)
        await tx.repositoryTag.createMany({ data: input.tags.map((tag) => ({ repositoryId: id, ...tag })) });
      return true as const;
    }).catch((error: unknown) => {
      if (error instanceof Undone) return error.reason;
      throw error;
    });
    return created === true ? (await this.find(registry, input.name))! : created;
  }

  /**
   * Deletes the repository with everything in it; its images can be brought back. Layers stay in the store until the collector
   * finds that nothing holds them; bytes of unfinished uploads are handed to it at once.
   */
  async delete(repository: Repository, force: boolean): Promise<'deleted' | 'missing' | 'not-empty'> {
    return inTransaction(this.prisma, async (tx) => {
      // A push holds its repository's row too, so that none is under way once this lock is there.
      const locked = await tx.$queryRaw<
        unknown[]
      >`SELECT 1 FROM repository WHERE id = ${repository.id} FOR UPDATE`;
      if (locked.length === 0) return 'missing';
      const images = await tx.$queryRaw<
        unknown[]
      >`SELECT 1 FROM image WHERE repository_id = ${repository.id} LIMIT 1`;
      if (images.length > 0 && !force) return 'not-empty';
      await tx.$executeRaw`
        INSERT INTO doomed_object (staged)
        SELECT staged FROM upload WHERE repository_id = ${repository.id} AND state = 'open' AND staged IS NOT NULL`;
      if (images.length > 0) await this.deleteImages(tx, repository.id);
      await tx.$executeRaw`DELETE FROM repository WHERE id = ${repository.id}`;
      await tx.$executeRaw`UPDATE registry SET repository_count = repository_count - 1 WHERE id = ${repository.registryRow}`;
      return 'deleted';
    });
  }

  /** Before the repository itself: a cascade would go image by image, and look at children before their index let go of them. */
  private async deleteImages(tx: Prisma.TransactionClient, id: bigint): Promise<void> {
    if (this.config.undeleteSeconds > 0) await tx.$executeRaw(keepingDeleted(id, Prisma.sql`TRUE`));
    await tx.$executeRaw`
      WITH layers AS (DELETE FROM image_layer WHERE repository_id = ${id}),
      tags AS (DELETE FROM image_tag WHERE repository_id = ${id})
      DELETE FROM image_child WHERE parent_id IN (SELECT id FROM image WHERE repository_id = ${id})`;
  }

  /** @returns false when the repository is gone */
  async setTagMutability(
    id: bigint,
    tagMutability: TagMutability,
    exclusionFilters: string[],
  ): Promise<boolean> {
    const { count } = await this.prisma.repository.updateMany({
      where: { id },
      data: { tagMutability, exclusionFilters },
    });
    return count === 1;
  }

  async tags(id: bigint): Promise<Tag[]> {
    return this.prisma.repositoryTag.findMany({
      where: { repositoryId: id },
      select: { key: true, value: true },
      orderBy: { key: 'asc' },
    });
  }

  /** Adds or replaces tags; `check` sees the count afterwards and may throw to undo. */
  async putTags(id: bigint, tags: Tag[], check: (count: number) => void): Promise<boolean> {
    return inTransaction(this.prisma, async (tx) => {
      if (!(await lockRepository(tx, id))) return false;
      for (const { key, value } of tags) {
        await tx.repositoryTag.upsert({
          where: { repositoryId_key: { repositoryId: id, key } },
          create: { repositoryId: id, key, value },
          update: { value },
        });
      }
      check(await tx.repositoryTag.count({ where: { repositoryId: id } }));
      return true;
    });
  }

  async deleteTags(id: bigint, keys: string[]): Promise<void> {
    await this.prisma.repositoryTag.deleteMany({ where: { repositoryId: id, key: { in: keys } } });
  }

  private async select(registry: RegistryAddress, where: Prisma.Sql, limit: number): Promise<Repository[]> {
    const rows = await this.prisma.prepared<RepositoryRow>(Prisma.sql`
      SELECT ${COLUMNS} FROM repository r JOIN registry g ON g.id = r.registry_id
      WHERE r.registry_id = (SELECT id FROM registry WHERE account_id = ${registry.accountId} AND region = ${registry.region}) AND ${where}
      ORDER BY r.name LIMIT ${limit}`);
    return rows.map(({ quotas, accountId, region, ...row }) => ({
      ...row,
      registry: { accountId, region },
      limits: this.quotas.effective(quotas ?? []),
    }));
  }

  /** In one statement, since the first repositories of a registry may be created at several replicas at once. */
  private async requireRegistry({ accountId, region }: RegistryAddress): Promise<bigint> {
    const [row] = await this.prisma.$queryRaw<{ id: bigint }[]>`
      INSERT INTO registry (account_id, region) VALUES (${accountId}, ${region})
      ON CONFLICT (account_id, region) DO UPDATE SET region = excluded.region RETURNING id`;
    return row!.id;
  }

  private async registryQuotas(registryId: bigint): Promise<QuotaOverride[]> {
    const rows = await this.prisma.quota.findMany({ where: { registryId, repositoryId: null } });
    return rows.map(({ name, value }) => ({
      name,
      value: value === null ? null : Number(value),
      ofRepository: false,
    }));
  }
}

/** Rolls a transaction back and carries the reason out. */
class Undone extends Error {
  constructor(readonly reason: 'exists' | { limit: number }) {
    super('undone');
  }
}

async function lockRepository(tx: Prisma.TransactionClient, id: bigint): Promise<boolean> {
  const rows = await tx.$queryRaw<unknown[]>`SELECT 1 FROM repository WHERE id = ${id} FOR NO KEY UPDATE`;
  return rows.length > 0;
}
