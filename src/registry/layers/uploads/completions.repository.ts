import { Injectable } from '@nestjs/common';
import { Prisma } from '../../../database/generated/client.js';
import { PrismaService } from '../../../database/prisma.service.js';
import { inTransaction } from '../../../database/transaction.js';
import type { Repository } from '../../repositories/repository.js';
import { registryTotal } from '../layers.repository.js';
import type { CommittedObject, Upload } from './upload.js';

export interface FinishedLayer {
  sha256: string;
  sha512: string | null;
  sizeBytes: number;
  objectKey: string;
}

export type Finished =
  | 'linked'
  | 'already-there'
  | 'lease-lost'
  | { exceeded: 'repositoryBytes' | 'registryBytes'; limit: number };

interface Done {
  finished: number;
  linked: number;
  /** A damaged layer got new bytes: nobody had it before. */
  healed: number;
}

/** The statements that turn an upload into a layer. */
@Injectable()
export class CompletionsRepository {
  constructor(private readonly prisma: PrismaService) {}

  /**
   * The bytes are one object now, but the completion was refused: keeps that, so that a completion with the right digest
   * need not read them again. @returns false when the lease is lost
   */
  async recordCommitted(upload: Upload, layer: FinishedLayer): Promise<boolean> {
    const committed: CommittedObject = { committed: layer.objectKey, sizeBytes: layer.sizeBytes };
    const [row] = await this.prisma.$queryRaw<{ moved: number }[]>`
      WITH moved AS (
        UPDATE upload SET staged = ${JSON.stringify(committed)}::jsonb, tail_bytes = 0,
          sha256_so_far = ${layer.sha256}, sha512_so_far = ${layer.sha512}
        WHERE id = ${upload.id}::uuid AND lease_token = ${upload.lease}::uuid AND state = 'open' RETURNING id),
      tails AS (DELETE FROM upload_tail USING moved WHERE upload_id = moved.id)
      SELECT count(*)::int AS moved FROM moved`;
    return row!.moved === 1;
  }

  /** The commit: digest → object, repository → layer, counters, tombstone, all or nothing. */
  async finish(repository: Repository, upload: Upload, layer: FinishedLayer): Promise<Finished> {
    const { repositoryBytes, registryBytes } = repository.limits;
    const finished =
      repositoryBytes === null && registryBytes === null
        ? outcome(await this.prisma.prepared<Done>(finishing(repository, upload, layer)))
        : await this.finishWithin(repository, upload, layer);
    if (finished === 'linked' || finished === 'already-there') upload.lease = null;
    return finished;
  }

  /** The same under limits of bytes: sums are only true while nobody else adds to them. */
  private async finishWithin(
    repository: Repository,
    upload: Upload,
    layer: FinishedLayer,
  ): Promise<Finished> {
    const { repositoryBytes, registryBytes } = repository.limits;
    return inTransaction(this.prisma, async (tx): Promise<Finished> => {
      if (registryBytes !== null)
        await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('registry-bytes', ${repository.registryRow}))`;
      if (repositoryBytes !== null)
        await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('bytes-of-repository', ${repository.id}))`;
      const finished = outcome(await tx.$queryRaw<Done[]>(finishing(repository, upload, layer)));
      if (finished !== 'linked') return finished;
      const [sum] = await tx.$queryRaw<
        { bytes: bigint }[]
      >`SELECT counted_in_repository(${repository.id}::bigint, 'bytes') AS bytes`;
      if (repositoryBytes !== null && Number(sum!.bytes) > repositoryBytes)
        throw new Exceeded('repositoryBytes', repositoryBytes);
      if (registryBytes !== null && (await registryTotal(tx, repository.registryRow)) > registryBytes)
        throw new Exceeded('registryBytes', registryBytes);
      return finished;
    }).catch((error: unknown) => {
      if (error instanceof Exceeded) return { exceeded: error.quota, limit: error.limit };
      throw error;
    });
  }
}

/**
 * The repository's row is locked first, as its deletion does, so that the two never wait for each other in a circle. A blob that
 * was found damaged gets the new object; else the first object of a digest stays and the new one is spare. A link that is there
 * already is locked, which waits for a collector that takes it away, and its grace time begins anew.
 */
function finishing(repository: Repository, upload: Upload, layer: FinishedLayer): Prisma.Sql {
  return Prisma.sql`
    WITH here AS (SELECT id FROM repository WHERE id = ${repository.id} FOR KEY SHARE),
    finished AS (
      UPDATE upload SET state = 'completed', staged = NULL, tail_bytes = 0, lease_token = NULL, lease_expires_at = NULL,
        completed_sha256 = ${layer.sha256}, completed_sha512 = ${layer.sha512}, touched_at = now()
      FROM here WHERE upload.id = ${upload.id}::uuid AND lease_token = ${upload.lease}::uuid AND state = 'open' RETURNING upload.id),
    tails AS (DELETE FROM upload_tail USING finished WHERE upload_id = finished.id),
    parts AS (DELETE FROM upload_part USING finished WHERE upload_id = finished.id),
    damaged AS (SELECT object_key FROM blob WHERE sha256 = ${layer.sha256} AND damaged_at IS NOT NULL),
    stored AS (
      INSERT INTO blob (sha256, sha512, size_bytes, object_key)
      SELECT ${layer.sha256}, ${layer.sha512}, ${layer.sizeBytes}::bigint, ${layer.objectKey} FROM finished
      ON CONFLICT (sha256) DO UPDATE SET sha512 = coalesce(blob.sha512, excluded.sha512),
        object_key = CASE WHEN blob.damaged_at IS NULL THEN blob.object_key ELSE excluded.object_key END,
        verified_at = CASE WHEN blob.damaged_at IS NULL THEN blob.verified_at ELSE now() END, damaged_at = NULL
      RETURNING id, object_key),
    spare AS (
      INSERT INTO doomed_object (object_key)
      SELECT ${layer.objectKey} FROM stored WHERE object_key <> ${layer.objectKey}
      UNION ALL SELECT damaged.object_key FROM stored, damaged WHERE stored.object_key = ${layer.objectKey}),
    there AS (
      SELECT l.blob_id FROM repository_layer l JOIN stored ON stored.id = l.blob_id WHERE l.repository_id = ${repository.id}::bigint FOR KEY SHARE OF l),
    renewed AS (INSERT INTO loose_layer (repository_id, blob_id) SELECT ${repository.id}::bigint, blob_id FROM there),
    linked AS (
      INSERT INTO repository_layer (repository_id, blob_id) SELECT ${repository.id}::bigint, id FROM stored WHERE NOT EXISTS (SELECT 1 FROM there)
      ON CONFLICT DO NOTHING RETURNING blob_id)
    SELECT count(*)::int AS finished, (SELECT count(*)::int FROM linked) AS linked, (SELECT count(*)::int FROM damaged) AS healed,
      count(count_in_repository(${repository.id}::bigint, 0, CASE WHEN EXISTS (SELECT 1 FROM linked) THEN ${layer.sizeBytes}::bigint ELSE 0 END, -1)) AS counted
    FROM finished`;
}

function outcome([done]: Done[]): 'linked' | 'already-there' | 'lease-lost' {
  if (done!.finished === 0) return 'lease-lost';
  return done!.linked + done!.healed === 0 ? 'already-there' : 'linked';
}

class Exceeded extends Error {
  constructor(
    readonly quota: 'repositoryBytes' | 'registryBytes',
    readonly limit: number,
  ) {
    super('quota exceeded');
  }
}
