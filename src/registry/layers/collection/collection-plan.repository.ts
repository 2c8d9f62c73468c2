import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../../../config/config.js';
import { Prisma } from '../../../database/generated/client.js';
import { PrismaService } from '../../../database/prisma.service.js';
import type { PlannedRemoval } from './collection-plan.js';

const PAGE = 500;

interface Row {
  /** Where the next page begins. */
  position: string[];
  registry: string | null;
  repository: string | null;
  name: string;
  bytes: bigint | null;
  since: Date;
  /** Distinguishes what one query finds for different reasons. */
  mark: boolean;
}

/** The collector's conditions, asked without changing anything and page by page. */
@Injectable()
export class CollectionPlanRepository {
  private readonly expired: Prisma.Sql;
  private readonly due: Prisma.Sql;
  private readonly past: Prisma.Sql;

  constructor(
    private readonly prisma: PrismaService,
    @Inject(CONFIG) config: Config,
  ) {
    const before = (seconds: number): Prisma.Sql =>
      Prisma.sql`now() - make_interval(secs => ${seconds}::float8)`;
    this.expired = before(config.STOWAGE_UPLOAD_EXPIRY_HOURS * 3600);
    this.due = before(config.STOWAGE_UNREFERENCED_LAYER_HOURS * 3600);
    this.past = before(config.undeleteSeconds);
  }

  async *uploads(): AsyncGenerator<PlannedRemoval> {
    const rows = this.pages(
      ['00000000-0000-0000-0000-000000000000'],
      ([after]) => Prisma.sql`
        SELECT ARRAY[u.id::text] AS position, g.account_id || '/' || g.region AS registry, r.name AS repository, u.id::text AS name,
          u.offset_bytes AS bytes, u.touched_at AS since, false AS mark
        FROM upload u JOIN repository r ON r.id = u.repository_id JOIN registry g ON g.id = r.registry_id
        WHERE u.state = 'open' AND u.created_at < ${this.expired} AND u.touched_at < ${this.expired}
          AND (u.lease_expires_at IS NULL OR u.lease_expires_at < now()) AND u.id > ${after}::uuid
        ORDER BY u.id LIMIT ${PAGE}`,
    );
    for await (const row of rows)
      yield { what: 'upload', ...placed(row), upload: row.name, reason: 'no byte came for too long' };
  }

  async *deletedImages(): AsyncGenerator<PlannedRemoval> {
    const rows = this.pages(
      ['0'],
      ([after]) => Prisma.sql`
        SELECT ARRAY[d.id::text] AS position, g.account_id || '/' || g.region AS registry, d.repository_name AS repository, d.digest AS name,
          octet_length(d.manifest)::bigint AS bytes, d.deleted_at AS since, false AS mark
        FROM deleted_image d JOIN registry g ON g.id = d.registry_id
        WHERE d.deleted_at < ${this.past} AND d.id > ${after}::bigint ORDER BY d.id LIMIT ${PAGE}`,
    );
    for await (const row of rows)
      yield {
        what: 'deleted-image',
        ...placed(row),
        digest: row.name,
        reason: 'deleted, and its time to be brought back is over',
      };
  }

  async *layers(): AsyncGenerator<PlannedRemoval> {
    const rows = this.pages(
      ['0', '0'],
      ([repository, blob]) => Prisma.sql`
        SELECT ARRAY[l.repository_id::text, l.blob_id::text] AS position, g.account_id || '/' || g.region AS registry, r.name AS repository,
          'sha256:' || b.sha256 AS name, b.size_bytes AS bytes, q.since, false AS mark
        FROM (
          SELECT repository_id, blob_id, max(since) AS since FROM loose_layer
          WHERE (repository_id, blob_id) > (${repository}::bigint, ${blob}::bigint) GROUP BY repository_id, blob_id) q
        JOIN repository_layer l ON l.repository_id = q.repository_id AND l.blob_id = q.blob_id
        JOIN blob b ON b.id = l.blob_id JOIN repository r ON r.id = l.repository_id JOIN registry g ON g.id = r.registry_id
        WHERE q.since < ${this.due} AND NOT EXISTS (SELECT 1 FROM image_layer i WHERE i.repository_id = l.repository_id AND i.blob_id = l.blob_id)
        ORDER BY l.repository_id, l.blob_id LIMIT ${PAGE}`,
    );
    for await (const row of rows)
      yield {
        what: 'layer',
        ...placed(row),
        digest: row.name,
        reason: 'no image of the repository references it',
      };
  }

  /** Blobs nothing holds, or nothing but what goes in the same run. */
  async *blobs(): AsyncGenerator<PlannedRemoval> {
    const rows = this.pages(
      ['0'],
      ([after]) => Prisma.sql`
        WITH loose AS (
          SELECT blob_id, min(since) AS since FROM (
            SELECT blob_id, since FROM loose_blob WHERE since <= now() + interval '1 millisecond' UNION ALL SELECT blob_id, since FROM loose_layer WHERE since < ${this.due}
            UNION ALL SELECT l.blob_id, d.deleted_at FROM deleted_image d JOIN deleted_image_layer l ON l.deleted_image_id = d.id WHERE d.deleted_at < ${this.past}) q
          WHERE blob_id > ${after}::bigint GROUP BY blob_id)
        SELECT ARRAY[b.id::text] AS position, NULL AS registry, 'sha256:' || b.sha256 AS repository, b.object_key AS name, b.size_bytes AS bytes, loose.since,
          EXISTS (SELECT 1 FROM repository_layer l WHERE l.blob_id = b.id) OR EXISTS (SELECT 1 FROM deleted_image_layer d WHERE d.blob_id = b.id) AS mark
        FROM loose JOIN blob b ON b.id = loose.blob_id
        WHERE NOT EXISTS (
            SELECT 1 FROM repository_layer l WHERE l.blob_id = b.id AND (
              EXISTS (SELECT 1 FROM image_layer i WHERE i.repository_id = l.repository_id AND i.blob_id = b.id)
              OR NOT EXISTS (SELECT 1 FROM loose_layer q WHERE q.repository_id = l.repository_id AND q.blob_id = b.id)
              OR EXISTS (SELECT 1 FROM loose_layer q WHERE q.repository_id = l.repository_id AND q.blob_id = b.id AND q.since >= ${this.due})))
          AND NOT EXISTS (
            SELECT 1 FROM deleted_image_layer l JOIN deleted_image d ON d.id = l.deleted_image_id WHERE l.blob_id = b.id AND d.deleted_at >= ${this.past})
        ORDER BY b.id LIMIT ${PAGE}`,
    );
    for await (const { repository, name, bytes, since, mark } of rows)
      yield {
        what: 'blob',
        digest: repository!,
        key: name,
        bytes: Number(bytes),
        since,
        reason: mark
          ? 'nothing else holds it once the layers and images above are gone'
          : 'no repository and no deleted image holds it',
      };
  }

  async *doomed(): AsyncGenerator<PlannedRemoval> {
    const rows = this.pages(
      ['0'],
      ([after]) => Prisma.sql`
        SELECT ARRAY[d.id::text] AS position, NULL AS registry, NULL AS repository,
          coalesce(d.object_key, d.staged->>'committed', d.staged->>'key', '') AS name, NULL::bigint AS bytes, d.doomed_at AS since,
          d.object_key IS NULL AND d.staged->>'committed' IS NULL AS mark
        FROM doomed_object d
        WHERE d.not_before <= now() AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.object_key = d.object_key) AND d.id > ${after}::bigint
        ORDER BY d.id LIMIT ${PAGE}`,
    );
    for await (const { name, since, mark } of rows)
      yield {
        what: mark ? 'unfinished-object' : 'object',
        key: name,
        bytes: null,
        since,
        reason: mark ? 'its upload ended without a layer' : 'no blob is stored in it any more',
      };
  }

  private async *pages(
    first: string[],
    query: (after: string[]) => Prisma.Sql,
  ): AsyncGenerator<Row, void, undefined> {
    for (let after: string[] | undefined = first; after;) {
      const rows: Row[] = await this.prisma.$queryRaw<Row[]>(query(after));
      yield* rows;
      after = rows.length < PAGE ? undefined : rows.at(-1)!.position;
    }
  }
}

function placed({ registry, repository, bytes, since }: Row) {
  return { registry: registry!, repository: repository!, bytes: Number(bytes), since };
}
