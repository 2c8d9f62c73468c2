import { Injectable } from '@nestjs/common';
import { Prisma } from '../../../database/generated/client.js';
import { JobsPrismaService } from '../../../database/jobs-prisma.service.js';
import type { ImageRecord, RegistryRecord, RepositoryRecord, StoredRecord } from './record.js';

/** Most rows of one step, and most manifest bytes unless a single one has more: what one object is made of in memory. */
const MOST_ROWS = 2_000;
const MOST_BYTES = 8 * 1024 * 1024;
/** A slow store must not undo the step before it answered. Milliseconds. */
const STEP_PATIENCE_MS = 5 * 60_000;
/** Stands in `pending_record` in place of a repository and asks for a full set. Ids of repositories begin at 1. */
const EVERYTHING = 0n;

interface PendingRow {
  id: bigint;
  repositoryId: bigint;
  digest: string | null;
  imageId: bigint | null;
  bytes: number;
}

type ImageRow = Omit<ImageRecord, 'kind' | 'repository' | 'order' | 'manifest' | 'sizeBytes'> & {
  id: bigint;
  repositoryId: bigint;
  manifest: Buffer;
  sizeBytes: bigint;
};

type Tx = Prisma.TransactionClient;

/** Rows that changed, and the state of repositories and images as it is to be remembered. */
@Injectable()
export class RecordsRepository {
  constructor(private readonly prisma: JobsPrismaService) {}

  async countPending(): Promise<number> {
    const [row] = await this.prisma.$queryRaw<
      { count: bigint }[]
    >`SELECT count(*) AS count FROM pending_record`;
    return Number(row!.count);
  }

  async hasPending(): Promise<boolean> {
    return (await this.prisma.pendingRecord.findFirst({ select: { id: true } })) !== null;
  }

  /**
   * Hands over what changed, oldest change first, and forgets the changes once `write` has put them in a safe place. Only one
   * process at a time does so.
   * @returns changes forgotten; 0 when there are none, or another process is at it
   */
  async takeBatch(write: (records: StoredRecord[], now: Date) => Promise<void>): Promise<number> {
    return this.prisma.$transaction(
      async (tx) => {
        await tx.$executeRawUnsafe(`SET LOCAL idle_in_transaction_session_timeout = ${STEP_PATIENCE_MS}`);
        const [lock] = await tx.$queryRaw<{ taken: boolean; now: Date }[]>`
          SELECT pg_try_advisory_xact_lock(hashtextextended('stowage-copy-records', 0)) AS taken, clock_timestamp() AS now`;
        if (!lock!.taken) return 0;
        const changes = await this.changes(tx);
        if (changes.length === 0) return 0;
        await write(await this.stateOf(tx, changes), lock!.now);
        await tx.$executeRaw`DELETE FROM pending_record WHERE id = ANY(${changes.map(({ id }) => id)}::bigint[])`;
        return changes.length;
      },
      { maxWait: 10_000, timeout: STEP_PATIENCE_MS },
    );
  }

  /** Requests for a full set, to be {@link forget forgotten} once it is written. */
  async fullSetRequests(): Promise<bigint[]> {
    const rows = await this.prisma.pendingRecord.findMany({
      where: { repositoryId: EVERYTHING },
      select: { id: true },
    });
    return rows.map(({ id }) => id);
  }

  async forget(ids: bigint[]): Promise<void> {
    await this.prisma.pendingRecord.deleteMany({ where: { id: { in: ids } } });
  }

  async now(): Promise<Date> {
    const [row] = await this.prisma.$queryRaw<{ now: Date }[]>`SELECT clock_timestamp() AS now`;
    return row!.now;
  }

  /** Everything there is, in steps of bounded size; each is true at its own moment. */
  async *everything(): AsyncGenerator<StoredRecord[]> {
    yield await this.registries(this.prisma, Prisma.sql`TRUE`);
    for (let after = 0n; ;) {
      const rows = await this.prisma.$queryRaw<{ id: bigint }[]>`
        SELECT id FROM repository WHERE id > ${after} ORDER BY id LIMIT ${MOST_ROWS}`;
      if (rows.length === 0) break;
      const ids = rows.map(({ id }) => id);
      after = ids.at(-1)!;
      yield [...(await this.repositories(this.prisma, ids)).values()];
    }
    for (let after = 0n; ;) {
      const rows = await this.prisma.$queryRaw<{ id: bigint; bytes: number }[]>`
        SELECT id, octet_length(manifest) AS bytes FROM image WHERE id > ${after} ORDER BY id LIMIT ${MOST_ROWS}`;
      if (rows.length === 0) return;
      const ids = upTo(MOST_BYTES, rows).map(({ id }) => id);
      after = ids.at(-1)!;
      yield [...(await this.images(this.prisma, ids)).values()];
    }
  }

  private async changes(tx: Tx): Promise<PendingRow[]> {
    const rows = await tx.$queryRaw<PendingRow[]>`
      SELECT p.id, p.repository_id AS "repositoryId", p.digest, i.id AS "imageId", coalesce(octet_length(i.manifest), 0) AS bytes
      FROM (SELECT * FROM pending_record WHERE repository_id <> ${EVERYTHING} ORDER BY id LIMIT ${MOST_ROWS}) p
      LEFT JOIN image i ON i.repository_id = p.repository_id AND i.digest = p.digest ORDER BY p.id`;
    return upTo(MOST_BYTES, rows);
  }

  private async stateOf(tx: Tx, changes: PendingRow[]): Promise<StoredRecord[]> {
    const ids = changes.filter(({ digest }) => digest === null).map(({ repositoryId }) => repositoryId);
    const repositories = await this.repositories(tx, ids);
    const images = await this.images(
      tx,
      changes.flatMap(({ imageId }) => imageId ?? []),
    );
    const records = new Map<string, StoredRecord>();
    for (const { repositoryId, digest } of changes) {
      const key = `${repositoryId} ${digest ?? ''}`;
      const repository = Number(repositoryId);
      records.set(
        key,
        digest === null
          ? (repositories.get(repository) ?? { kind: 'deleted-repository', id: repository })
          : (images.get(key) ?? { kind: 'deleted-image', repository, digest }),
      );
    }
    return [...(await this.registriesOf(tx, ids)), ...records.values()];
  }

  private async registriesOf(tx: Tx, repositoryIds: bigint[]): Promise<RegistryRecord[]> {
    if (repositoryIds.length === 0) return [];
    return this.registries(
      tx,
      Prisma.sql`g.id IN (SELECT registry_id FROM repository WHERE id = ANY(${repositoryIds}::bigint[]))`,
    );
  }

  private async registries(tx: Tx, where: Prisma.Sql): Promise<RegistryRecord[]> {
    const rows = await tx.$queryRaw<(Omit<RegistryRecord, 'createdAt'> & { createdAt: Date })[]>`
      SELECT 'registry' AS kind, g.account_id AS "accountId", g.region, g.created_at AS "createdAt",
        coalesce((SELECT jsonb_agg(jsonb_build_object('name', q.name, 'value', q.value) ORDER BY q.name)
          FROM quota q WHERE q.registry_id = g.id AND q.repository_id IS NULL), '[]') AS quotas
      FROM registry g WHERE ${where} ORDER BY g.id`;
    return rows.map((row) => ({ ...row, createdAt: row.createdAt.toISOString() }));
  }

  private async repositories(tx: Tx, ids: bigint[]): Promise<Map<number, RepositoryRecord>> {
    if (ids.length === 0) return new Map();
    const rows = await tx.$queryRaw<
      (Omit<RepositoryRecord, 'id' | 'createdAt'> & { id: bigint; createdAt: Date })[]
    >`
      SELECT 'repository' AS kind, r.id, g.account_id AS "accountId", g.region, r.name, r.created_at AS "createdAt",
        r.tag_mutability::text AS "tagMutability", r.exclusion_filters AS "exclusionFilters", r.scan_on_push AS "scanOnPush",
        coalesce((SELECT jsonb_object_agg(t.key, t.value) FROM repository_tag t WHERE t.repository_id = r.id), '{}') AS tags,
        coalesce((SELECT jsonb_agg(jsonb_build_object('name', q.name, 'value', q.value) ORDER BY q.name)
          FROM quota q WHERE q.repository_id = r.id), '[]') AS quotas
      FROM repository r JOIN registry g ON g.id = r.registry_id WHERE r.id = ANY(${ids}::bigint[]) ORDER BY r.id`;
    return new Map(
      rows.map(({ id, ...row }) => [
        Number(id),
        { ...row, id: Number(id), createdAt: row.createdAt.toISOString() },
      ]),
    );
  }

  /** By repository and digest. */
  private async images(tx: Tx, ids: bigint[]): Promise<Map<string, ImageRecord>> {
    if (ids.length === 0) return new Map();
    const rows = await tx.$queryRaw<
      (Omit<ImageRow, 'pushedAt' | 'lastPulledAt'> & { pushedAt: Date; lastPulledAt: Date | null })[]
    >`
      SELECT i.id, i.repository_id AS "repositoryId", i.digest, i.manifest, i.media_type AS "mediaType",
        i.artifact_type AS "artifactType", i.subject_digest AS "subjectDigest", i.annotations, i.size_bytes AS "sizeBytes",
        i.pushed_at AS "pushedAt", i.last_pulled_at AS "lastPulledAt",
        coalesce((SELECT jsonb_agg(jsonb_build_object('tag', t.tag, 'order', t.id) ORDER BY t.id)
          FROM image_tag t WHERE t.image_id = i.id), '[]') AS tags,
        coalesce((SELECT jsonb_agg(jsonb_build_object('sha256', b.sha256, 'sha512', b.sha512, 'sizeBytes', b.size_bytes,
            'objectKey', b.object_key, 'mediaType', l.media_type) ORDER BY b.id)
          FROM image_layer l JOIN blob b ON b.id = l.blob_id WHERE l.image_id = i.id), '[]') AS layers,
        coalesce((SELECT jsonb_agg(c.digest ORDER BY c.id)
          FROM image_child k JOIN image c ON c.id = k.child_id WHERE k.parent_id = i.id), '[]') AS children
      FROM image i WHERE i.id = ANY(${ids}::bigint[]) ORDER BY i.id`;
    return new Map(
      rows.map(({ id, repositoryId, manifest, ...row }) => [
        `${repositoryId} ${row.digest}`,
        {
          kind: 'image',
          ...row,
          repository: Number(repositoryId),
          order: Number(id),
          manifest: Buffer.from(manifest).toString('base64'),
          sizeBytes: Number(row.sizeBytes),
          pushedAt: row.pushedAt.toISOString(),
          lastPulledAt: row.lastPulledAt?.toISOString() ?? null,
        },
      ]),
    );
  }
}

/** As many of the first rows as stay within the bytes, and one at least. */
function upTo<Row extends { bytes: number }>(most: number, rows: Row[]): Row[] {
  let total = 0;
  const end = rows.findIndex(({ bytes }, index) => (total += bytes) > most && index > 0);
  return end === -1 ? rows : rows.slice(0, end);
}
