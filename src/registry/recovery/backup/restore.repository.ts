import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import {
  appliedMigrations,
  applyExactly,
  applyMigrations,
  MIGRATION_LOCK,
  type MigrationRecord,
} from '../../../database/migrate.js';
import { inLongTransaction } from '../../../database/postgres-connection.js';
import { PostgresServer } from '../../../database/postgres-server.js';
import { RecoveryError } from '../recovery-error.js';
import type { BackupManifest } from './backup-manifest.js';

interface Constraint {
  table: string;
  name: string;
  definition: string;
}

/** Fills an empty database with the rows of a backup, all of them or none. */
@Injectable()
export class RestoreRepository implements OnApplicationShutdown {
  constructor(private readonly server: PostgresServer) {}

  /** @throws RecoveryError unless the database is empty and fit for a backup with these migrations */
  async assertEmpty(migrations: MigrationRecord[]): Promise<void> {
    await this.inTransaction((client) => assertEmpty(client, migrations));
  }

  /**
   * An ordinary owner of the tables can do this: instead of being switched off, foreign keys are dropped and made again, which
   * checks every row.
   * @param migrationFolder that of this release, unless a test brings another
   * @param damaged keys of objects that are not there
   */
  async restore(
    manifest: BackupManifest,
    read: (file: string) => Readable,
    damaged: string[],
    migrationFolder?: string,
  ): Promise<void> {
    await this.inTransaction(async (client) => {
      const isBare = await assertEmpty(client, manifest.migrations);
      if (isBare) await applyExactly(client, manifest.migrations, migrationFolder);
      const foreignKeys = await dropForeignKeys(client);
      for (const { name } of manifest.tables) await this.prepare(client, name);
      for (const table of manifest.tables) await this.load(client, table, read);
      for (const { table, name, definition } of foreignKeys)
        await client.query(
          `ALTER TABLE ${table} ADD CONSTRAINT ${client.escapeIdentifier(name)} ${definition}`,
        );
      for (const { name } of manifest.tables)
        await client.query(`ALTER TABLE ${client.escapeIdentifier(name)} ENABLE TRIGGER USER`);
      for (const { name, lastValue } of manifest.sequences)
        await client.query('SELECT setval($1::regclass, $2)', [client.escapeIdentifier(name), lastValue]);
      await client.query('UPDATE blob SET damaged_at = now() WHERE object_key = ANY($1::text[])', [damaged]);
      // Whatever copy of the records the store has is of another history: the next one is a full set.
      await client.query('DELETE FROM pending_record');
      await client.query('INSERT INTO pending_record (repository_id) VALUES (0)');
    });
    await applyMigrations(this.server.url, migrationFolder);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.server.stop();
  }

  private async prepare(client: pg.Client, name: string): Promise<void> {
    const table = client.escapeIdentifier(name);
    await client.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`);
    // A service that was started once left a few rows of its own.
    await client.query(`DELETE FROM ${table}`);
  }

  private async load(
    client: pg.Client,
    { name, columns, file, rows }: BackupManifest['tables'][number],
    read: (file: string) => Readable,
  ): Promise<void> {
    const list = columns.map((column) => client.escapeIdentifier(column)).join(', ');
    const target = client.query(copyFrom(`COPY ${client.escapeIdentifier(name)} (${list}) FROM STDIN`));
    await pipeline(read(file), target);
    if (target.rowCount !== rows)
      throw new RecoveryError(`${file} has ${target.rowCount} rows instead of ${rows}.`);
  }

  private async inTransaction<Result>(work: (client: pg.Client) => Promise<Result>): Promise<Result> {
    return inLongTransaction(this.server.url, async (client) => {
      await client.query(
        `SET LOCAL client_encoding = 'UTF8'; SET LOCAL datestyle = 'ISO'; SET LOCAL client_min_messages = warning`,
      );
      // No service brings the same database to another structure meanwhile.
      await client.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
      return work(client);
    });
  }
}

/** @returns whether the database has no structure either */
async function assertEmpty(client: pg.Client, migrations: MigrationRecord[]): Promise<boolean> {
  const applied = await appliedMigrations(client);
  if (applied === null) {
    const { rows } = await client.query<{ name: string }>(
      'SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema() LIMIT 1',
    );
    if (rows.length > 0)
      throw new RecoveryError(`The database is not empty: it has a table ${rows[0]!.name}.`);
    return true;
  }
  if (JSON.stringify(applied) !== JSON.stringify(migrations))
    throw new RecoveryError(
      'The database has the structure of another release than the backup. Restore into an empty database; it is brought to ' +
        'this release afterwards. The embedded one is emptied by removing the folder postgres of the data folder.',
    );
  const { rows } = await client.query<{ used: boolean }>(
    'SELECT EXISTS (SELECT 1 FROM repository) OR EXISTS (SELECT 1 FROM blob) AS used',
  );
  if (rows[0]!.used)
    throw new RecoveryError(
      'The database knows repositories or layers already. A backup is restored to an empty one only.',
    );
  return false;
}

async function dropForeignKeys(client: pg.Client): Promise<Constraint[]> {
  const { rows } = await client.query<Constraint>(
    `SELECT conrelid::regclass::text AS table, conname AS name, pg_get_constraintdef(oid) AS definition
     FROM pg_constraint WHERE contype = 'f' AND connamespace = current_schema()::text::regnamespace`,
  );
  for (const { table, name } of rows)
    await client.query(`ALTER TABLE ${table} DROP CONSTRAINT ${client.escapeIdentifier(name)}`);
  return rows;
}
