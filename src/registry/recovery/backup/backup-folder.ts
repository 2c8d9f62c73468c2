import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { syncFolder, writeDurably } from '../../../blob-store/durable-files.js';
import { RecoveryError } from '../recovery-error.js';
import { type BackupManifest, backupManifest, type CheckedFile } from './backup-manifest.js';

const MANIFEST = 'manifest.json';
const DRAFT = 'manifest.json.draft';
const LAYERS = 'layers';
const DUMP = /^database-[0-9a-z-]+$/;

export interface ListedLayer {
  key: string;
  sha256: string;
  sizeBytes: number;
}

/**
 * One backup in a folder:
 *
 *   manifest.json              written last
 *   database-<time>/<table>.gz rows, as COPY writes them
 *   database-<time>/layers.gz  the list of the layers
 *   layers/                    their bytes, laid out as the filesystem store's; only ever added to until a new manifest stands
 */
export class BackupFolder {
  readonly layers: string;

  /** @param path absolute */
  constructor(private readonly path: string) {
    this.layers = join(path, LAYERS);
  }

  /** @throws RecoveryError when there is something else in it */
  async prepare(): Promise<void> {
    await mkdir(this.path, { recursive: true, mode: 0o700 });
    const foreign = (await readdir(this.path)).filter(
      (name) => ![MANIFEST, DRAFT, LAYERS].includes(name) && !DUMP.test(name),
    );
    if (foreign.length > 0)
      throw new RecoveryError(`${this.path} is not a folder of backups: it contains ${foreign[0]}.`);
  }

  /** @returns null where there is no whole backup */
  async manifest(): Promise<BackupManifest | null> {
    let text: string;
    try {
      text = await readFile(join(this.path, MANIFEST), 'utf8');
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
      throw error;
    }
    try {
      return backupManifest.parse(JSON.parse(text));
    } catch (cause) {
      throw new RecoveryError(`${join(this.path, MANIFEST)} is damaged, or was written by a newer release.`, {
        cause,
      });
    }
  }

  /** Why {@link manifest} found none, for whoever wanted to restore it. */
  async whyThereIsNone(): Promise<string> {
    const names = await readdir(this.path).catch(() => []);
    return names.some((name) => DUMP.test(name) || name === DRAFT)
      ? `The backup in ${this.path} was never finished. Take it again, or restore another one.`
      : `There is no backup in ${this.path}.`;
  }

  /** Compresses what comes into a file. @returns its name below the folder, and the digest of what stands in it */
  async write(file: string, source: Readable): Promise<Omit<CheckedFile, 'rows'>> {
    const path = join(this.path, file);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const sha256 = createHash('sha256');
    const digested = new PassThrough();
    digested.on('data', (chunk: Buffer) => sha256.update(chunk));
    await pipeline(
      source,
      createGzip({ level: 6 }),
      digested,
      createWriteStream(path, { flush: true, mode: 0o600 }),
    );
    return { file, sha256: sha256.digest('hex') };
  }

  /** Makes what was written the backup of this folder, at one stroke, and drops the dumps of earlier and unfinished ones. */
  async finish(manifest: BackupManifest): Promise<void> {
    const dump = dirname(manifest.layers.list.file);
    await syncFolder(join(this.path, dump));
    await writeDurably(join(this.path, DRAFT), `${JSON.stringify(manifest, null, 2)}\n`);
    await syncFolder(this.path);
    await rename(join(this.path, DRAFT), join(this.path, MANIFEST));
    await syncFolder(this.path);
    for (const name of await readdir(this.path))
      if (DUMP.test(name) && name !== dump) await rm(join(this.path, name), { recursive: true, force: true });
  }

  /** @throws RecoveryError naming the first file that is not as it was written */
  async assertWhole({ tables, layers }: BackupManifest): Promise<void> {
    for (const { file, sha256 } of [...tables, layers.list]) {
      const hash = createHash('sha256');
      try {
        for await (const chunk of createReadStream(join(this.path, file))) hash.update(chunk as Buffer);
      } catch (cause) {
        throw new RecoveryError(`The backup is not whole: ${file} cannot be read.`, { cause });
      }
      if (hash.digest('hex') !== sha256)
        throw new RecoveryError(`The backup is damaged: ${file} is not what was written.`);
    }
  }

  read(file: string): Readable {
    const unzipped = createGunzip();
    const source = createReadStream(join(this.path, file));
    source.on('error', (error) => unzipped.destroy(error));
    return source.pipe(unzipped);
  }

  async *listed(file: string): AsyncGenerator<ListedLayer> {
    for await (const line of createInterface({ input: this.read(file), crlfDelay: Infinity })) {
      const [key, sha256, size] = line.split('\t');
      yield { key: key!, sha256: sha256!, sizeBytes: Number(size) };
    }
  }
}
