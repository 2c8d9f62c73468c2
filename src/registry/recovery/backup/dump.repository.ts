import type { Readable } from 'node:stream';
import { Injectable } from '@nestjs/common';
import type pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { appliedMigrations, type MigrationRecord } from '../../../database/migrate.js';
import { inLongTransaction } from '../../../database/postgres-connection.js';
import { PostgresServer } from '../../../database/postgres-server.js';

/**
 * What is dumped of each table; null: nothing. Sessions of open uploads are not: the bytes they already have lie in the store
 * and go the moment the upload ends, so they could not be held on to. Their clients begin again.
 */
export const DUMPED_TABLES: Readonly<
  Record<string, { where?: string; columns?: Record<string, string> } | null>
> = {
  registry: {},
  repository: {},
  repository_tag: {},
  repository_counter: { columns: { open_uploads: '0' } },
  quota: {},
  blob: {},
  repository_layer: {},
  image: {},
  image_tag: {},
  image_layer: {},
  image_child: {},
  deleted_image: {},
  deleted_image_layer: {},
  upload: { where: `state <> 'open'` },
  upload_tail: null,
  upload_part: null,
  loose_layer: {},
  loose_blob: {},
  doomed_object: {},
  store_binding: {},
  // What the store's copy of the records lacks; after a restore it is written anew.
  pending_record: null,
  // Which key a deployment is used with, is its own.
  root_key: null,
};

export interface DumpedTable {
  name: string;
  columns: string[];
}

export interface Snapshot {
  takenAt: Date;
  migrations: MigrationRecord[];
  tables: DumpedTable[];
  /** Those that were ever used. */
  sequences: { name: string; lastValue: string }[];
  /** Every column and row that belongs into a backup, in COPY's text format. @returns `rows` once `bytes` has ended */
  copy(table: DumpedTable): CopiedRows;
  /** Lines of object key, SHA-256 and size of every sound layer, by a tab, in byte order of the keys. */
  copyLayerList(): CopiedRows;
  layerBytes(): Promise<number>;
}

export interface CopiedRows {
  bytes: Readable;
  readonly rows: number;
}

/** Reads the whole database as it stands at one moment, without holding anybody up. */
@Injectable()
export class DumpRepository {
  constructor(private readonly server: PostgresServer) {}

  async snapshot<Result>(read: (snapshot: Snapshot) => Promise<Result>): Promise<Result> {
    return inLongTransaction(
      this.server.url,
      async (client) => {
        await client.query(
          `SET LOCAL client_encoding = 'UTF8'; SET LOCAL datestyle = 'ISO'; SET LOCAL timezone = 'UTC'`,
        );
        return read(await this.open(client));
      },
      'ISOLATION LEVEL REPEATABLE READ READ ONLY',
    );
  }

  private async open(client: pg.Client): Promise<Snapshot> {
    const { rows: clock } = await client.query<{ now: Date }>('SELECT now() AS now');
    const migrations = (await appliedMigrations(client)) ?? [];
    const wanted = Object.keys(DUMPED_TABLES).filter((name) => DUMPED_TABLES[name] !== null);
    const { rows: tables } = await client.query<DumpedTable>(
      `SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
       FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
       WHERE c.relnamespace = current_schema()::text::regnamespace AND c.relkind = 'r' AND c.relname = ANY($1::text[])
         AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
       GROUP BY c.relname ORDER BY array_position($1::text[], c.relname::text)`,
      [wanted],
    );
    // Sequences are not part of a snapshot: read after it began, they are beyond every id in it.
    const { rows: sequences } = await client.query<{ name: string; lastValue: string }>(
      `SELECT s.sequencename AS name, s.last_value::text AS "lastValue" FROM pg_sequences s
       JOIN pg_class c ON c.relname = s.sequencename AND c.relnamespace = s.schemaname::text::regnamespace
       JOIN pg_depend d ON d.objid = c.oid AND d.deptype IN ('a', 'i') JOIN pg_class t ON t.oid = d.refobjid
       WHERE s.schemaname = current_schema() AND s.last_value IS NOT NULL AND t.relname = ANY($1::text[]) ORDER BY 1`,
      [Object.keys(DUMPED_TABLES)],
    );
    const copy = (query: string): CopiedRows => {
      const bytes = client.query(copyTo(`COPY (${query}) TO STDOUT`));
      return {
        bytes,
        get rows() {
          return bytes.rowCount;
        },
      };
    };
    return {
      takenAt: clock[0]!.now,
      migrations,
      tables,
      sequences,
      copy: (table) => copy(selectionOf(client, table)),
      copyLayerList: () =>
        copy(
          `SELECT object_key, sha256, size_bytes FROM blob WHERE damaged_at IS NULL ORDER BY object_key COLLATE "C"`,
        ),
      layerBytes: async () => {
        const { rows } = await client.query<{ bytes: string }>(
          'SELECT coalesce(sum(size_bytes), 0) AS bytes FROM blob WHERE damaged_at IS NULL',
        );
        return Number(rows[0]!.bytes);
      },
    };
  }
}

function selectionOf(client: pg.Client, { name, columns }: DumpedTable): string {
  const rule = DUMPED_TABLES[name];
  const selected = columns.map((column) => rule?.columns?.[column] ?? client.escapeIdentifier(column));
  return `SELECT ${selected.join(', ')} FROM ${client.escapeIdentifier(name)} WHERE ${rule?.where ?? 'true'}`;
}
