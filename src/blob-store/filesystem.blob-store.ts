/**
 * Layers as files of one machine.
 *
 *   <root>/identity                          the name of this store
 *   <root>/staged/<key>/<nonce>              one file per append of an unfinished object
 *   <root>/blobs/<k0k1>/<key>                a finished object that came in one append: a hard link to that file
 *   <root>/blobs/<k0k1>/<key>/<nonce>        … or in several: links to all of them, never copied together
 *   <root>/blobs/<k0k1>/<key>/layout.json    … and their order and sizes
 *
 * Every append writes a file of its own under a fresh name, so a writer that lost its lease can never touch bytes that
 * are recorded. A file counts only after fsync of itself and of the folder that names it.
 */
import { randomUUID } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { access, link, mkdir, open, opendir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { ByteRange } from '../domain/byte-range.js';
import type {
  AppendContext,
  Appended,
  AppendSource,
  BlobStore,
  Committed,
  StagedBlob,
  StoredObject,
  UnfinishedObject,
} from './blob-store.js';
import { BlobMissing } from './blob-store.js';

interface FilePart {
  name: string;
  size: number;
}

interface StagedFiles extends StagedBlob {
  key: string;
  parts: FilePart[];
}

const LAYOUT = 'layout.json';
const IDENTITY = 'identity';
const WRITE_BYTES = 1024 * 1024;

export class FilesystemBlobStore implements BlobStore {
  private readonly stagedRoot: string;
  private readonly blobRoot: string;

  /** @param root absolute folder; created if absent */
  constructor(private readonly root: string) {
    this.stagedRoot = join(root, 'staged');
    this.blobRoot = join(root, 'blobs');
  }

  async append(staged: StagedBlob | null, source: AppendSource, context: AppendContext): Promise<Appended> {
    const before = (staged as StagedFiles | null) ?? { key: randomUUID(), parts: [] };
    const folder = join(this.stagedRoot, before.key);
    await makeDurableFolder(folder, this.stagedRoot);
    const name = randomUUID();
    // Nothing was stored: a folder of earlier appends stays, one made just now goes.
    const undo = async (): Promise<void> => {
      await rm(staged ? join(folder, name) : folder, { recursive: true, force: true });
    };
    const size = await this.writeFile(join(folder, name), source.bytes, context.signal).catch(
      async (error: unknown) => {
        await undo().catch(() => undefined);
        throw error;
      },
    );
    if (size === 0) {
      await undo();
      return { staged, rest: [], restBytes: 0 };
    }
    await syncFolder(folder);
    return { staged: { key: before.key, parts: [...before.parts, { name, size }] }, rest: [], restBytes: 0 };
  }

  async commit(staged: StagedBlob | null, rest: Buffer[], context: AppendContext): Promise<Committed> {
    const final =
      staged && rest.length === 0
        ? (staged as StagedFiles)
        : await this.appendWhole(staged as StagedFiles | null, rest, context);
    const key = randomUUID();
    const from = join(this.stagedRoot, final.key);
    const shard = join(this.blobRoot, key.slice(0, 2));
    const to = join(shard, key);
    await makeDurableFolder(shard, this.blobRoot);
    // Hard links: no byte moves, and until the commit is recorded the staged files still serve another attempt.
    if (final.parts.length === 1) {
      await link(join(from, final.parts[0]!.name), to).catch(orMissing(final.key));
    } else {
      await mkdir(to, { mode: 0o700 });
      for (const part of final.parts)
        await link(join(from, part.name), join(to, part.name)).catch(orMissing(final.key));
      await writeDurably(join(to, LAYOUT), JSON.stringify(final.parts));
      await syncFolder(to);
    }
    await syncFolder(shard);
    return { key, certain: true };
  }

  async settle(staged: StagedBlob): Promise<void> {
    await this.discard(staged);
  }

  async discard(staged: StagedBlob): Promise<void> {
    await rm(join(this.stagedRoot, (staged as StagedFiles).key), { recursive: true, force: true });
  }

  async read(key: string, range?: ByteRange): Promise<Readable> {
    const path = this.pathOf(key);
    const found = await stat(path).catch(orMissing(key));
    if (found.isFile()) return createReadStream(path, range ? { start: range.first, end: range.last } : {});
    const parts = await readLayout(path).catch(orMissing(key));
    return Readable.from(readParts(path, parts, range), { objectMode: false });
  }

  async remove(keys: string[]): Promise<void> {
    for (const key of keys) await rm(this.pathOf(key), { recursive: true, force: true });
  }

  async identity(): Promise<string | null> {
    return readFile(join(this.root, IDENTITY), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
  }

  async identify(name: string): Promise<void> {
    await writeDurably(join(this.root, IDENTITY), name);
    await syncFolder(this.root);
  }

  async check(): Promise<void> {
    await mkdir(this.stagedRoot, { recursive: true });
    await mkdir(this.blobRoot, { recursive: true });
    await access(this.root, constants.R_OK | constants.W_OK);
  }

  async *objects(): AsyncIterable<StoredObject> {
    for await (const shard of entries(this.blobRoot)) {
      for await (const key of entries(join(this.blobRoot, shard))) {
        const path = join(this.blobRoot, shard, key);
        const found = await stat(path).catch(() => null);
        if (!found) continue;
        const parts = found.isFile() ? [{ size: found.size }] : await readLayout(path).catch(() => []);
        // The change time is that of the link, so an old part in a new object counts as new.
        yield { key, sizeBytes: parts.reduce((sum, part) => sum + part.size, 0), modifiedAt: found.ctime };
      }
    }
  }

  async *unfinished(): AsyncIterable<UnfinishedObject> {
    for await (const key of entries(this.stagedRoot)) {
      const found = await stat(join(this.stagedRoot, key)).catch(() => null);
      if (found) yield { staged: { key, parts: [] }, startedAt: found.mtime };
    }
  }

  sameUnfinished(one: StagedBlob, other: StagedBlob): boolean {
    return (one as StagedFiles).key === (other as StagedFiles).key;
  }

  private pathOf(key: string): string {
    return join(this.blobRoot, key.slice(0, 2), key);
  }

  private async appendWhole(
    staged: StagedFiles | null,
    rest: Buffer[],
    context: AppendContext,
  ): Promise<StagedFiles> {
    const bytes = (async function* () {
      yield* rest;
    })();
    const appended = await this.append(staged, { bytes, inMemory: true }, context);
    if (appended.staged) return appended.staged as StagedFiles;
    if (staged) return staged;
    // A zero-byte object is one empty file.
    const key = randomUUID();
    const name = randomUUID();
    await makeDurableFolder(join(this.stagedRoot, key), this.stagedRoot);
    await writeDurably(join(this.stagedRoot, key, name), '');
    return { key, parts: [{ name, size: 0 }] };
  }

  private async writeFile(path: string, bytes: AsyncIterable<Buffer>, signal: AbortSignal): Promise<number> {
    const file = await open(path, 'wx', 0o600);
    let size = 0;
    let batch: Buffer[] = [];
    let batchBytes = 0;
    const flush = async (): Promise<void> => {
      signal.throwIfAborted();
      let pending = batch;
      while (pending.length > 0) {
        const { bytesWritten } = await file.writev(pending);
        pending = behind(pending, bytesWritten);
      }
      batch = [];
      batchBytes = 0;
    };
    try {
      for await (const chunk of bytes) {
        batch.push(chunk);
        batchBytes += chunk.length;
        size += chunk.length;
        if (batchBytes >= WRITE_BYTES) await flush();
      }
      await flush();
      await file.datasync();
      await file.close();
      return size;
    } catch (error) {
      await file.close().catch(() => undefined);
      throw error;
    }
  }
}

/** What is left of a list of buffers after the first `written` bytes. */
function behind(buffers: Buffer[], written: number): Buffer[] {
  let skip = written;
  for (const [index, buffer] of buffers.entries()) {
    if (skip < buffer.length) return [buffer.subarray(skip), ...buffers.slice(index + 1)];
    skip -= buffer.length;
  }
  return [];
}

async function* readParts(folder: string, parts: FilePart[], range?: ByteRange): AsyncGenerator<Buffer> {
  let partFirst = 0;
  for (const part of parts) {
    const partLast = partFirst + part.size - 1;
    const first = Math.max(range?.first ?? 0, partFirst);
    const last = Math.min(range?.last ?? Number.MAX_SAFE_INTEGER, partLast);
    if (first <= last) {
      yield* createReadStream(join(folder, part.name), { start: first - partFirst, end: last - partFirst });
    }
    partFirst = partLast + 1;
  }
}

async function readLayout(folder: string): Promise<FilePart[]> {
  return JSON.parse(await readFile(join(folder, LAYOUT), 'utf8')) as FilePart[];
}

async function* entries(folder: string): AsyncGenerator<string> {
  const names: string[] = [];
  try {
    for await (const entry of await opendir(folder)) names.push(entry.name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  yield* names.sort();
}

async function makeDurableFolder(folder: string, parent: string): Promise<void> {
  if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined) await syncFolder(parent);
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

function orMissing(key: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    throw error.code === 'ENOENT' ? new BlobMissing(key) : error;
  };
}
