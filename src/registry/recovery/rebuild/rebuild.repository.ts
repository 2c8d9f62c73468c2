import { Inject, Injectable } from '@nestjs/common';
import type pg from 'pg';
import { CONFIG, type Config } from '../../../config/config.js';
import { inLongTransaction } from '../../../database/postgres-connection.js';
import { PostgresServer } from '../../../database/postgres-server.js';
import type { StoredRecord } from '../records/record.js';
import { KEEP_OUT_PARENTS, KEPT_OUT, LEAVE_TO_COLLECTOR, REBUILD, TELL, TOLD } from './rebuild-statements.js';

export interface KeptOutImage {
  accountId: string;
  region: string;
  repository: string;
  digest: string;
  tags: string[];
  /** Digests of the layers, or for an index of the images, that are not there. */
  missing: string[];
}

export interface LooseLayer {
  sha256: string;
  objectKey: string;
  sizeBytes: number;
}

export interface RebuiltRows {
  repositories: number;
  images: number;
  tags: number;
  keptOut: KeptOutImage[];
  looseLayers: LooseLayer[];
}

/** Makes rows of the records, all of them or none. */
@Injectable()
export class RebuildRepository {
  private readonly graceHours: number;

  constructor(
    private readonly server: PostgresServer,
    @Inject(CONFIG) config: Config,
  ) {
    this.graceHours = config.STOWAGE_UNREFERENCED_LAYER_HOURS;
  }

  /**
   * @param identity of the store, which this database takes for its own with the same commit
   * @param mayKeepOut told of the images that cannot be; throws to undo everything
   */
  async rebuild(
    identity: string,
    records: AsyncIterable<StoredRecord[]>,
    mayKeepOut: (images: KeptOutImage[]) => void,
  ): Promise<RebuiltRows> {
    return inLongTransaction(this.server.url, async (client) => {
      for (const statement of TELL) await client.query(statement);
      for await (const some of records) await tell(client, some);
      for (const statement of REBUILD.beforeImages) await client.query(statement);
      while ((await client.query(KEEP_OUT_PARENTS)).rowCount! > 0);
      const { rows: keptOut } = await client.query<KeptOutImage>(KEPT_OUT);
      mayKeepOut(keptOut);
      for (const statement of REBUILD.images) await client.query(statement);
      await client.query(LEAVE_TO_COLLECTOR, [this.graceHours]);
      await client.query(
        `INSERT INTO store_binding (id, identity) VALUES (1, $1::uuid)
         ON CONFLICT (id) DO UPDATE SET identity = excluded.identity`,
        [identity],
      );
      return { ...(await report(client)), keptOut };
    });
  }
}

async function tell(client: pg.Client, records: StoredRecord[]): Promise<void> {
  const of = <Kind extends StoredRecord['kind']>(kind: Kind): Extract<StoredRecord, { kind: Kind }>[] =>
    records.filter((record): record is Extract<StoredRecord, { kind: Kind }> => record.kind === kind);
  const gone = of('deleted-repository').map(({ id }) => id);
  const goneImages = of('deleted-image');
  await client.query(TOLD.registries, [JSON.stringify(of('registry'))]);
  await client.query(TOLD.repositories, [JSON.stringify(of('repository'))]);
  await client.query(TOLD.images, [JSON.stringify(of('image'))]);
  await client.query('DELETE FROM told_repository WHERE id = ANY($1::bigint[])', [gone]);
  await client.query('DELETE FROM told_image WHERE repository_id = ANY($1::bigint[])', [gone]);
  await client.query(TOLD.goneImages, [
    goneImages.map(({ repository }) => repository),
    goneImages.map(({ digest }) => digest),
  ]);
}

async function report(client: pg.Client): Promise<Omit<RebuiltRows, 'keptOut'>> {
  const { rows } = await client.query<Record<'repositories' | 'images' | 'tags', string>>(
    `SELECT (SELECT count(*) FROM repository) AS repositories, (SELECT count(*) FROM image) AS images,
       (SELECT count(*) FROM image_tag) AS tags`,
  );
  const { rows: loose } = await client.query<Omit<LooseLayer, 'sizeBytes'> & { sizeBytes: string }>(
    `SELECT b.sha256, b.object_key AS "objectKey", b.size_bytes AS "sizeBytes"
     FROM blob b JOIN loose_blob l ON l.blob_id = b.id ORDER BY b.id`,
  );
  const { repositories, images, tags } = rows[0]!;
  return {
    repositories: Number(repositories),
    images: Number(images),
    tags: Number(tags),
    looseLayers: loose.map((layer) => ({ ...layer, sizeBytes: Number(layer.sizeBytes) })),
  };
}
