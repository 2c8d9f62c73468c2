import { Inject, Injectable } from '@nestjs/common';
import {
  BLOB_STORE,
  type BlobStore,
  OPEN_LAYER_FOLDER,
  type OpenLayerFolder,
} from '../../../blob-store/blob-store.js';
import { RECORDS } from '../../../blob-store/named-objects.js';
import { CONFIG, type Config } from '../../../config/config.js';
import { withAttempts } from '../attempts.js';
import { inParallel } from '../in-parallel.js';
import { LocksRepository } from '../locks.repository.js';
import { RecoveryError } from '../recovery-error.js';
import { BackupFolder, type ListedLayer } from './backup-folder.js';
import type { BackupManifest } from './backup-manifest.js';
import { bareKey, bothSides } from './both-sides.js';
import { RestoreRepository } from './restore.repository.js';
import { isLost, verified } from './verified.js';

const CONCURRENCY = 4;

export interface RestoreOptions {
  /** Absolute. */
  folder: string;
  /** Whether to go on without the bytes of layers that are not there, or are not those of their digests. */
  acceptMissing: boolean;
  signal: AbortSignal;
  told?: (layers: RestoredLayers) => void;
  /** That of this release, unless a test brings another. */
  migrationFolder?: string;
}

export interface RestoredLayers {
  layers: number;
  bytes: number;
}

export interface Restored extends RestoredLayers {
  manifest: BackupManifest;
  /** Digests of layers that could not be had; nobody sees them, and pushing one again repairs it. */
  missing: string[];
  /** Objects in the store that the backup does not know: pushed after it. */
  unknownObjects: number;
}

/** Layers of the backup are not to be had, and nobody said that it may be so. The database is as it was. */
export class BackupIncomplete extends RecoveryError {
  constructor(readonly digests: string[]) {
    super(
      `${digests.length} layer(s) are missing or damaged. Nothing was restored to the database. ` +
        'Accept that they are missing to restore all else.',
    );
  }
}

/** Brings a backup back, to an empty machine. */
@Injectable()
export class RestoreService {
  private readonly kind: string;

  constructor(
    private readonly rows: RestoreRepository,
    private readonly locks: LocksRepository,
    @Inject(BLOB_STORE) private readonly store: BlobStore,
    @Inject(OPEN_LAYER_FOLDER) private readonly openFolder: OpenLayerFolder,
    @Inject(CONFIG) config: Config,
  ) {
    this.kind = config.s3 ? 's3' : 'filesystem';
  }

  /**
   * Layers first, every one of them hashed; then, in one transaction, the rows. Interrupted, it leaves an empty database and some
   * layers, and can be run again.
   * @throws BackupIncomplete unless that is accepted
   * @throws RecoveryError when the backup is not whole, the machine not empty, or the work was stopped
   */
  async restore(options: RestoreOptions): Promise<Restored> {
    const folder = new BackupFolder(options.folder);
    const manifest = await folder.manifest();
    if (!manifest) throw new RecoveryError(await folder.whyThereIsNone());
    await folder.assertWhole(manifest);
    return this.locks.exclusively('restore', async () => {
      await this.rows.assertEmpty(manifest.migrations);
      await this.assertStore(manifest, folder);
      const found = manifest.layers.included
        ? await this.bringLayers(folder, manifest, options)
        : await this.findLayers(folder, manifest);
      if (found.missing.length > 0 && !options.acceptMissing)
        throw new BackupIncomplete(found.missing.map(digestOf));
      // Before the rows: a service started in between would take the two for strangers, not for one registry.
      await this.store.identify(manifest.store.identity);
      const damaged = [...found.missing, ...found.knownMissing].map(({ key }) => key);
      await this.rows.restore(manifest, (file) => folder.read(file), damaged, options.migrationFolder);
      const missing = [...found.missing, ...found.knownMissing].map(digestOf);
      return { ...found.restored, manifest, missing, unknownObjects: found.unknownObjects };
    });
  }

  private async assertStore(manifest: BackupManifest, folder: BackupFolder): Promise<void> {
    if (manifest.store.kind !== this.kind)
      throw new RecoveryError(
        `The backup is of a registry with ${manifest.store.kind} storage; this one is configured for ${this.kind}.`,
      );
    if (!manifest.layers.included) {
      if ((await this.store.identity()) !== manifest.store.identity)
        throw new RecoveryError(
          'The backup was taken without layers, and the configured store is not the one that holds them.',
        );
      return;
    }
    const identity = await this.store.identity();
    if (identity !== null && identity !== manifest.store.identity && (await this.holdsRecords()))
      throw new RecoveryError(
        'The configured store holds the records of another registry. A backup is restored to an empty one only.',
      );
    for await (const { left, right } of bothSides(
      folder.listed(manifest.layers.list.file),
      this.store.objects(),
    ))
      if (!left && right)
        throw new RecoveryError(
          'The configured store holds layers that are not of this backup. A backup is restored to an empty one only.',
        );
  }

  private async holdsRecords(): Promise<boolean> {
    for await (const _ of this.store.named.list(RECORDS)) return true;
    return false;
  }

  private async bringLayers(
    folder: BackupFolder,
    manifest: BackupManifest,
    { signal, told = () => undefined }: RestoreOptions,
  ): Promise<Found> {
    const source = this.openFolder(folder.layers);
    const restored: RestoredLayers = { layers: 0, bytes: 0 };
    const missing: ListedLayer[] = [];
    const known = new Set(manifest.layers.missing);
    const knownMissing: ListedLayer[] = [];
    const listed = bothSides(folder.listed(manifest.layers.list.file), this.store.objects());
    await inParallel(CONCURRENCY, listed, async ({ left: layer, right: there }) => {
      if (signal.aborted)
        throw new RecoveryError('Stopped. The database is still empty; run it again to go on.');
      if (!layer) return;
      if (known.has(layer.key)) return void knownMissing.push(layer);
      const isThere = there?.sizeBytes === layer.sizeBytes && (await this.isSound(layer));
      if (!isThere && !(await this.bring(source, layer))) return void missing.push(layer);
      restored.layers += 1;
      restored.bytes += layer.sizeBytes;
      told(restored);
    });
    return { restored, missing, knownMissing, unknownObjects: 0 };
  }

  /** Left by an interrupted restore. */
  private async isSound(layer: ListedLayer): Promise<boolean> {
    return withAttempts(async () => {
      try {
        for await (const _chunk of verified(await this.store.read(layer.key), layer));
        return true;
      } catch (error) {
        if (isLost(error)) return false;
        throw error;
      }
    });
  }

  /** @returns false when the backup does not have it, or has other bytes */
  private async bring(source: BlobStore, layer: ListedLayer): Promise<boolean> {
    try {
      await withAttempts(async () => {
        const bytes = await source.read(bareKey(layer.key));
        await this.store.put(layer.key, verified(bytes, layer));
      }, isLost);
      return true;
    } catch (error) {
      if (isLost(error)) return false;
      throw error;
    }
  }

  /** For a store that still has its layers: by their sizes, since reading them all is what fsck is for. */
  private async findLayers(folder: BackupFolder, manifest: BackupManifest): Promise<Found> {
    const found: Found = {
      restored: { layers: 0, bytes: 0 },
      missing: [],
      knownMissing: [],
      unknownObjects: 0,
    };
    for await (const { left, right } of bothSides(
      folder.listed(manifest.layers.list.file),
      this.store.objects(),
    )) {
      if (!left) found.unknownObjects += 1;
      else if (right?.sizeBytes === left.sizeBytes) found.restored.layers += 1;
      else found.missing.push(left);
    }
    return found;
  }
}

interface Found {
  restored: RestoredLayers;
  missing: ListedLayer[];
  /** Those the backup itself tells of. */
  knownMissing: ListedLayer[];
  unknownObjects: number;
}

function digestOf({ sha256 }: ListedLayer): string {
  return `sha256:${sha256}`;
}
