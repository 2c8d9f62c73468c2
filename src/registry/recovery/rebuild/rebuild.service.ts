import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { BLOB_STORE, type BlobStore, type StoredObject } from '../../../blob-store/blob-store.js';
import { withAttempts } from '../attempts.js';
import { LocksRepository } from '../locks.repository.js';
import { RecordReader } from '../records/record-reader.js';
import { RecoveryError } from '../recovery-error.js';
import { inParallel } from '../in-parallel.js';
import { LayerIndexRepository } from './layer-index.repository.js';
import { type KeptOutImage, RebuildRepository, type RebuiltRows } from './rebuild.repository.js';

/** Objects hashed at once: one is waited for while another is hashed. */
const CONCURRENCY = 3;
const BATCH = 500;

/** How far the index has come. */
export interface IndexedLayers {
  /** Hashed by this run. */
  objects: number;
  bytes: number;
  /** Hashed by an earlier one. */
  skipped: number;
  /** Objects whose bytes another one has too. */
  spare: number;
}

export interface RebuildOptions {
  signal: AbortSignal;
  /** Whether to go on without the images whose layers are not there. */
  acceptMissing: boolean;
  told?: (layers: IndexedLayers) => void;
}

/** Images lack layers, and nobody said that it may be so. Nothing but the index of the layers was kept. */
export class LayersMissing extends RecoveryError {
  constructor(readonly images: KeptOutImage[]) {
    super(
      `${images.length} image(s) of the records lack layers. Put the objects back into the store and run this again, ` +
        'or accept that these images are left out.',
    );
  }
}

export interface Rebuilt extends RebuiltRows {
  layers: IndexedLayers;
  /** Uploads that were never finished; they are gone, and their bytes are the collector's. */
  unfinishedUploads: number;
}

/** Makes a new database from what the blob store holds: layers by their bytes, all else by the copy of the records. */
@Injectable()
export class RebuildService {
  constructor(
    private readonly index: LayerIndexRepository,
    private readonly rows: RebuildRepository,
    private readonly records: RecordReader,
    private readonly locks: LocksRepository,
    @Inject(BLOB_STORE) private readonly store: BlobStore,
  ) {}

  /**
   * May be stopped and run again: what is hashed stays hashed. Until all is done the database is not the store's, and the service
   * does not start on the two.
   * @throws LayersMissing unless that is accepted
   * @throws RecoveryError when the database is not empty, when there are no records, or when it was stopped
   */
  async rebuild({ signal, acceptMissing, told = () => undefined }: RebuildOptions): Promise<Rebuilt> {
    return this.locks.exclusively('rebuild', async () => {
      const identity = await this.assertApplicable();
      // Whether the records can be read shows in a minute; hashing may take days.
      for await (const _some of this.records.read()) assertRunning(signal);
      const layers = await this.indexLayers(signal, told);
      const rows = await this.rows.rebuild(identity, this.records.read(), (images) => {
        if (images.length > 0 && !acceptMissing) throw new LayersMissing(images);
      });
      return { ...rows, layers, unfinishedUploads: await this.countUnfinished() };
    });
  }

  private async assertApplicable(): Promise<string> {
    const identity = await this.store.identity();
    if (identity === null)
      throw new RecoveryError(
        'The configured blob store was never used. Check STOWAGE_DATA_DIR and STOWAGE_S3_BUCKET.',
      );
    if (await this.index.knowsRepositories())
      throw new RecoveryError('The database knows repositories. A rebuild is for an empty database only.');
    if (await this.index.isBoundTo(identity))
      throw new RecoveryError('The database is the one of this blob store already; nothing is lost.');
    return identity;
  }

  private async indexLayers(
    signal: AbortSignal,
    told: (layers: IndexedLayers) => void,
  ): Promise<IndexedLayers> {
    const layers: IndexedLayers = { objects: 0, bytes: 0, skipped: 0, spare: 0 };
    await inParallel(CONCURRENCY, this.notIndexed(layers), async (object) => {
      assertRunning(signal);
      const { sha256, sizeBytes } = await withAttempts(() => this.hash(object.key));
      if (!(await this.index.index({ key: object.key, sha256, sizeBytes }))) layers.spare += 1;
      layers.objects += 1;
      layers.bytes += sizeBytes;
      told(layers);
    });
    return layers;
  }

  private async *notIndexed(layers: IndexedLayers): AsyncGenerator<StoredObject> {
    let batch: StoredObject[] = [];
    const fresh = async (): Promise<StoredObject[]> => {
      const indexed = await this.index.indexed(batch.map(({ key }) => key));
      const rest = batch.filter(({ key }) => !indexed.has(key));
      layers.skipped += batch.length - rest.length;
      batch = [];
      return rest;
    };
    for await (const object of this.store.objects()) {
      batch.push(object);
      if (batch.length >= BATCH) yield* await fresh();
    }
    yield* await fresh();
  }

  private async hash(key: string): Promise<{ sha256: string; sizeBytes: number }> {
    const sha256 = createHash('sha256');
    let sizeBytes = 0;
    for await (const chunk of await this.store.read(key)) {
      sha256.update(chunk as Buffer);
      sizeBytes += (chunk as Buffer).length;
    }
    return { sha256: sha256.digest('hex'), sizeBytes };
  }

  private async countUnfinished(): Promise<number> {
    let count = 0;
    for await (const _found of this.store.unfinished()) count += 1;
    return count;
  }
}

function assertRunning(signal: AbortSignal): void {
  if (signal.aborted) throw new RecoveryError('Stopped. Run it again to go on; what is hashed stays hashed.');
}
