import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { isForeignKeyViolation } from '../../database/database-errors.js';
import { Prisma } from '../../database/generated/client.js';
import { PrismaService } from '../../database/prisma.service.js';
import { inTransaction } from '../../database/transaction.js';
import type { Digest } from '../../domain/digest.js';
import type { RegistryAddress } from '../../domain/registry-address.js';
import type { Repository } from '../repositories/repository.js';

/** A layer as one repository sees it. */
export interface Layer {
  repositoryId: bigint;
  blobId: bigint;
  sha256: string;
  sha512: string | null;
  sizeBytes: number;
  objectKey: string;
  /** As a manifest that references it says; null while none does. */
  mediaType: string | null;
  /** No image references it, and the first half of its grace time is over. */
  ageing: boolean;
}

type LayerRow = Omit<Layer, 'sizeBytes'> & { sizeBytes: bigint };

/** Rows of finished layers and of the repositories that see them. */
@Injectable()
export class LayersRepository {
  private readonly youthSeconds: number;

  constructor(
    private readonly prisma: PrismaService,
    @Inject(CONFIG) config: Config,
  ) {
    this.youthSeconds = (config.STOWAGE_UNREFERENCED_LAYER_HOURS * 3600) / 2;
  }

  /**
   * The repository and those of the named layers it sees, in one query: from the named layers to their links, whatever the
   * planner thinks of the repository's size.
   * @returns null when the repository does not exist
   */
  async findIn(
    registry: RegistryAddress,
    repositoryName: string,
    digests: Digest[],
  ): Promise<Layer[] | null> {
    const { sha256, sha512 } = byAlgorithm(digests);
    const rows = await this.prisma.prepared<LayerRow | { blobId: null }>(Prisma.sql`
      WITH named AS MATERIALIZED (
        SELECT id, sha256, sha512, size_bytes, object_key FROM blob
        WHERE damaged_at IS NULL AND (sha256 = ANY(${sha256}::bpchar[]) OR sha512 = ANY(${sha512}::bpchar[])))
      SELECT r.id AS "repositoryId", seen.id AS "blobId", seen.sha256, seen.sha512, seen.size_bytes AS "sizeBytes",
        seen.object_key AS "objectKey", image.media_type AS "mediaType",
        image.media_type IS NULL AND NOT EXISTS (
          SELECT 1 FROM loose_layer q WHERE q.repository_id = r.id AND q.blob_id = seen.id
            AND q.since > now() - make_interval(secs => ${this.youthSeconds}::float8)) AS ageing
      FROM registry g JOIN repository r ON r.registry_id = g.id
      LEFT JOIN LATERAL (
        SELECT named.*, EXISTS (SELECT 1 FROM repository_layer l WHERE l.repository_id = r.id AND l.blob_id = named.id OFFSET 0) AS here
        FROM named OFFSET 0) seen ON seen.here
      LEFT JOIN LATERAL (
        SELECT il.media_type FROM image_layer il WHERE il.repository_id = r.id AND il.blob_id = seen.id LIMIT 1) image ON true
      WHERE g.account_id = ${registry.accountId} AND g.region = ${registry.region} AND r.name = ${repositoryName}`);
    if (rows.length === 0) return null;
    return rows.filter((row): row is LayerRow => row.blobId !== null).map(toLayer);
  }

  /**
   * Begins the grace time of unreferenced layers anew, since a client was just told of them. The lock on their links waits for
   * a collector that is about to unlink them, and is what keeps the next one off.
   * @returns those that are still there
   */
  async renew(layers: Layer[]): Promise<Set<bigint>> {
    const rows = await this.prisma.$queryRaw<{ blobId: bigint }[]>`
      WITH there AS (
        SELECT repository_id, blob_id FROM repository_layer
        WHERE repository_id = ${layers[0]!.repositoryId} AND blob_id = ANY(${layers.map(({ blobId }) => blobId)}::bigint[])
        ORDER BY blob_id FOR KEY SHARE)
      INSERT INTO loose_layer (repository_id, blob_id) SELECT repository_id, blob_id FROM there RETURNING blob_id AS "blobId"`;
    return new Set(rows.map(({ blobId }) => blobId));
  }

  /** Whether an object is that of a layer, and not known to be damaged. */
  async isServed(objectKey: string): Promise<boolean> {
    const rows = await this.prisma.prepared(
      Prisma.sql`SELECT 1 FROM blob WHERE object_key = ${objectKey} AND damaged_at IS NULL`,
    );
    return rows.length > 0;
  }

  /** Makes a layer of one repository visible in another. @returns what stood against it */
  async mount(
    from: Repository,
    to: Repository,
    digest: Digest,
  ): Promise<'mounted' | 'missing' | { exceeded: number }> {
    const { repositoryBytes, registryBytes } = to.limits;
    const column = digest.algorithm === 'sha256' ? Prisma.sql`b.sha256` : Prisma.sql`b.sha512`;
    return inTransaction(this.prisma, async (tx) => {
      if (registryBytes !== null) {
        await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('registry-bytes', ${to.registryRow}))`;
      }
      const [row] = await tx.$queryRaw<{ found: number; linked: number; bytes: bigint | null }[]>`
        WITH here AS (SELECT id FROM repository WHERE id = ${to.id} FOR KEY SHARE),
        source AS (
          SELECT b.id, b.size_bytes FROM here, repository_layer l JOIN blob b ON b.id = l.blob_id
          WHERE l.repository_id = ${from.id} AND ${column} = ${digest.hex} AND b.damaged_at IS NULL FOR KEY SHARE OF l),
        there AS (
          SELECT l.blob_id FROM repository_layer l JOIN source ON source.id = l.blob_id WHERE l.repository_id = ${to.id} FOR KEY SHARE OF l),
        renewed AS (INSERT INTO loose_layer (repository_id, blob_id) SELECT ${to.id}, blob_id FROM there),
        linked AS (
          INSERT INTO repository_layer (repository_id, blob_id) SELECT ${to.id}, id FROM source WHERE NOT EXISTS (SELECT 1 FROM there)
          ON CONFLICT DO NOTHING RETURNING blob_id)
        SELECT (SELECT count(*)::int FROM source) AS found, count(*)::int AS linked, coalesce(sum(size_bytes), 0)::bigint AS bytes
        FROM source JOIN linked ON linked.blob_id = source.id`;
      if (row!.found === 0) return 'missing';
      if (row!.linked === 0) return 'mounted';
      const [taken] = await tx.$queryRaw<{ fits: boolean }[]>`
        SELECT take_in_repository(${to.id}::bigint, 'bytes', ${row!.bytes}::bigint, ${repositoryBytes}::bigint, ${repositoryBytes}::bigint) AS fits`;
      if (!taken!.fits) throw new Exceeded(repositoryBytes!);
      if (registryBytes !== null && (await registryTotal(tx, to.registryRow)) > registryBytes)
        throw new Exceeded(registryBytes);
      return 'mounted';
    }).catch((error: unknown) => {
      if (error instanceof Exceeded) return { exceeded: error.limit };
      if (isForeignKeyViolation(error)) return 'missing';
      throw error;
    });
  }

  /** Any repository of the registry that sees the layer; for mounts that name no source. */
  async repositoriesWith(registryRow: bigint, digest: Digest): Promise<string[]> {
    const column = digest.algorithm === 'sha256' ? Prisma.sql`b.sha256` : Prisma.sql`b.sha512`;
    const rows = await this.prisma.$queryRaw<{ name: string }[]>`
      SELECT r.name FROM blob b JOIN repository_layer l ON l.blob_id = b.id JOIN repository r ON r.id = l.repository_id
      WHERE ${column} = ${digest.hex} AND r.registry_id = ${registryRow} LIMIT 100`;
    return rows.map(({ name }) => name);
  }

  /** Takes the layer out of a repository's sight. */
  async unlink(repository: Repository, blobId: bigint): Promise<'unlinked' | 'missing' | 'referenced'> {
    try {
      const [row] = await this.prisma.$queryRaw<{ gone: number }[]>`
        WITH here AS (SELECT id FROM repository WHERE id = ${repository.id} FOR KEY SHARE),
        gone AS (
          DELETE FROM repository_layer l USING here, blob b WHERE l.repository_id = here.id AND l.blob_id = ${blobId} AND b.id = l.blob_id
          RETURNING b.size_bytes),
        counted AS (SELECT count_in_repository(${repository.id}::bigint, 0, -size_bytes, 0) FROM gone)
        SELECT count(*)::int AS gone, (SELECT count(*) FROM counted) AS counted FROM gone`;
      return row!.gone === 1 ? 'unlinked' : 'missing';
    } catch (error) {
      if (isForeignKeyViolation(error)) return 'referenced';
      throw error;
    }
  }
}

/** Bytes of the layers over all repositories of a registry; a layer counts once per repository that sees it. */
export async function registryTotal(tx: Prisma.TransactionClient, registryRow: bigint): Promise<number> {
  const [row] = await tx.$queryRaw<{ total: bigint }[]>`
    SELECT coalesce(sum(c.stored_bytes), 0)::bigint AS total
    FROM repository r JOIN repository_counter c ON c.repository_id = r.id WHERE r.registry_id = ${registryRow}`;
  return Number(row!.total);
}

class Exceeded extends Error {
  constructor(readonly limit: number) {
    super('quota exceeded');
  }
}

function byAlgorithm(digests: Digest[]): Record<'sha256' | 'sha512', string[]> {
  const of = (algorithm: string): string[] =>
    digests.filter((digest) => digest.algorithm === algorithm).map(({ hex }) => hex);
  return { sha256: of('sha256'), sha512: of('sha512') };
}

function toLayer(row: LayerRow): Layer {
  return { ...row, sizeBytes: Number(row.sizeBytes) };
}
