import { Inject, Injectable } from '@nestjs/common';
import {
  BLOB_STORE,
  type BlobStore,
  OPEN_LAYER_FOLDER,
  type OpenLayerFolder,
} from '../../../blob-store/blob-store.js';
import { CONFIG, type Config } from '../../../config/config.js';
import { withAttempts } from '../attempts.js';
import { inParallel } from '../in-parallel.js';
import { LocksRepository } from '../locks.repository.js';
import { RecoveryError } from '../recovery-error.js';
import { BackupFolder, type ListedLayer } from './backup-folder.js';
import { type BackupManifest, MANIFEST_FORMAT, releaseVersion, type StoreKind } from './backup-manifest.js';
import { bareKey, bothSides } from './both-sides.js';
import { DumpRepository } from './dump.repository.js';
import { isLost, verified } from './verified.js';

const CONCURRENCY = 4;

export interface BackupOptions {
  /** Absolute. */
  folder: string;
  /** Whether the bytes of the layers come along. */
  layers: boolean;
  signal: AbortSignal;
  told?: (copies: LayerCopies) => void;
}

export interface LayerCopies {
  /** New in the folder, by link or by copy. */
  copied: number;
  /** There from an earlier backup. */
  kept: number;
  bytes: number;
}

export interface Backup {
  manifest: BackupManifest;
  copies: LayerCopies | null;
  /** Layers of earlier backups that this one does not name. */
  removed: number;
}

/** Writes the state of the registry at one moment into a folder, while it is used. */
@Injectable()
export class BackupService {
  private readonly kind: StoreKind;

  constructor(
    private readonly dumps: DumpRepository,
    private readonly locks: LocksRepository,
    @Inject(BLOB_STORE) private readonly store: BlobStore,
    @Inject(OPEN_LAYER_FOLDER) private readonly openFolder: OpenLayerFolder,
    @Inject(CONFIG) config: Config,
  ) {
    this.kind = config.s3 ? 's3' : 'filesystem';
  }

  /**
   * Database first, then layers: every layer the rows name is there to be copied, since none is removed meanwhile. A second backup
   * into the same folder copies only what is new, and replaces the first at one stroke when it is whole.
   * @throws RecoveryError when the folder holds anything else, when it was stopped, or when the database let go of it
   */
  async backup(options: BackupOptions): Promise<Backup> {
    const folder = new BackupFolder(options.folder);
    return this.locks.exclusively('backup', async () => {
      const identity = await this.assertApplicable(folder);
      const taken = await this.locks.keepingObjects(() => this.take(folder, identity, options));
      await folder.finish(taken.manifest);
      const layers = this.openFolder(folder.layers);
      await layers.remove(taken.superfluous);
      return { manifest: taken.manifest, copies: taken.copies, removed: taken.superfluous.length };
    });
  }

  private async assertApplicable(folder: BackupFolder): Promise<string> {
    await folder.prepare();
    const identity = await this.store.identity();
    if (identity === null) throw new RecoveryError('The configured blob store was never used.');
    const earlier = await folder.manifest();
    if (earlier && earlier.store.identity !== identity)
      throw new RecoveryError('The folder holds a backup of another registry.');
    return identity;
  }

  private async take(
    folder: BackupFolder,
    identity: string,
    options: BackupOptions,
  ): Promise<{ manifest: BackupManifest; copies: LayerCopies | null; superfluous: string[] }> {
    const dumped = await this.dump(folder, options.signal);
    const listed = folder.listed(dumped.list.file);
    const copied = options.layers ? await this.copyLayers(folder, listed, options) : null;
    const manifest: BackupManifest = {
      application: 'stowage',
      format: MANIFEST_FORMAT,
      version: releaseVersion(),
      takenAt: dumped.takenAt.toISOString(),
      finishedAt: new Date().toISOString(),
      store: { kind: this.kind, identity },
      migrations: dumped.migrations,
      tables: dumped.tables,
      sequences: dumped.sequences,
      layers: {
        included: options.layers,
        bytes: dumped.bytes,
        list: dumped.list,
        missing: copied?.missing ?? [],
      },
    };
    return { manifest, copies: copied?.copies ?? null, superfluous: copied?.superfluous ?? [] };
  }

  private async dump(folder: BackupFolder, signal: AbortSignal) {
    return this.dumps.snapshot(async (snapshot) => {
      const dump = `database-${snapshot.takenAt.toISOString().replaceAll(/[^0-9]/g, '')}`;
      const tables: BackupManifest['tables'] = [];
      for (const table of snapshot.tables) {
        assertRunning(signal);
        const copied = snapshot.copy(table);
        const written = await folder.write(`${dump}/${table.name}.gz`, copied.bytes);
        tables.push({ ...table, ...written, rows: copied.rows });
      }
      const copied = snapshot.copyLayerList();
      const written = await folder.write(`${dump}/layers.gz`, copied.bytes);
      const { takenAt, migrations, sequences } = snapshot;
      const bytes = await snapshot.layerBytes();
      return { takenAt, migrations, sequences, tables, bytes, list: { ...written, rows: copied.rows } };
    });
  }

  private async copyLayers(
    folder: BackupFolder,
    listed: AsyncIterable<ListedLayer>,
    { signal, told = () => undefined }: BackupOptions,
  ): Promise<{ copies: LayerCopies; missing: string[]; superfluous: string[] }> {
    const target = this.openFolder(folder.layers);
    for await (const { staged } of target.unfinished()) await target.discard(staged);
    const copies: LayerCopies = { copied: 0, kept: 0, bytes: 0 };
    const [missing, superfluous]: [string[], string[]] = [[], []];
    await inParallel(
      CONCURRENCY,
      bothSides(listed, target.objects()),
      async ({ left: layer, right: copy }) => {
        assertRunning(signal);
        if (!layer) return void superfluous.push(copy!.key);
        // Objects never change: one of the same key and size is the same.
        if (copy?.sizeBytes === layer.sizeBytes) copies.kept += 1;
        else if (await this.copyLayer(layer, target, folder)) {
          copies.copied += 1;
          copies.bytes += layer.sizeBytes;
        } else missing.push(layer.key);
        told(copies);
      },
    );
    return { copies, missing: missing.sort(), superfluous };
  }

  /** @returns false when the store does not have it, or has other bytes */
  private async copyLayer(layer: ListedLayer, target: BlobStore, folder: BackupFolder): Promise<boolean> {
    try {
      if (await this.store.linkInto?.(folder.layers, layer.key)) return true;
      await withAttempts(async () => {
        const bytes = await this.store.read(layer.key);
        await target.put(bareKey(layer.key), verified(bytes, layer));
      }, isLost);
      return true;
    } catch (error) {
      if (isLost(error)) return false;
      throw error;
    }
  }
}

function assertRunning(signal: AbortSignal): void {
  if (signal.aborted)
    throw new RecoveryError('Stopped. The folder holds no new backup; an earlier one is whole.');
}
