/**
 * Layers as files of one machine.
 *
 *   <root>/identity                          the name of this store
 *   <root>/records/<name>                    other named objects
 *   <root>/staged/<nonce>                    a named object, or an object of a given key, that is being written
 *   <root>/staged/<key>/<nonce>              one file per append of an unfinished object
 *   <root>/blobs/<k0k1>/<key>                a finished object that came in one append: a hard link to that file
 *   <root>/blobs/<k0k1>/<key>/<nonce>        … or in several: links to all of them, never copied together
 *   <root>/blobs/<k0k1>/<key>/layout.json    … and their order and sizes
 *
 * Every append writes a file of its own under a fresh name, so a writer that lost its lease can never touch bytes that
 * are recorded. A file counts only after fsync of itself and of the folder that names it. (Over 300 lines, as everything that
 * writes into this tree must agree on it.)
 */
import { randomUUID } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { access, type FileHandle, link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { ByteRange } from '../domain/byte-range.js';
import { faultPoint } from '../observability/fault-points.js';
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
import { giveBack } from './spent-memory.js';
import { entries, makeDurableFolder, syncFolder, writeDurably } from './durable-files.js';
import {
  assertSize,
  type FilePart,
  LAYOUT,
  orNull,
  READ_BYTES,
  readLayout,
  readParts,
  sendFile,
  sizeOfParts,
  within,
} from './file-parts.js';
import { NamedFiles } from './named-files.js';

interface StagedFiles extends StagedBlob {
  key: string;
  parts: FilePart[];
}

const IDENTITY = 'identity';
const WRITE_BYTES = 1024 * 1024;
/** What is smaller stays with the upload's record, and becomes one file at the end: each file costs two waits for the disk. */
const MIN_FILE_BYTES = 64 * 1024;
/** Held by all appends together until they are written; beyond that every chunk is written as it comes. Bytes. */
const MOST_BATCHED_BYTES = 64 * 1024 * 1024;
/** Held by all pulls together for what they read; beyond that each new one reads in small pieces. Bytes. */
const MOST_SENDING_BYTES = 64 * 1024 * 1024;
const CROWDED_READ_BYTES = 16 * 1024;
/** Another filesystem; one without links; a file that has as many as it can. */
const NO_LINK = new Set(['EXDEV', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

export class FilesystemBlobStore implements BlobStore {
  readonly named: NamedFiles;
  private readonly stagedRoot: string;
  private readonly blobRoot: string;
  private batchedBytes = 0;
  private sendingBytes = 0;

  /** @param root absolute folder; created if absent */
  constructor(private readonly root: string) {
    this.stagedRoot = join(root, 'staged');
    this.blobRoot = join(root, 'blobs');
    this.named = new NamedFiles(root, this.stagedRoot);
  }

  async append(staged: StagedBlob | null, source: AppendSource, context: AppendContext): Promise<Appended> {
    const { head, headBytes, whole, bytes } = await begun(source.bytes);
    if (whole && headBytes < MIN_FILE_BYTES) return { staged, rest: head, restBytes: headBytes };
    const before = (staged as StagedFiles | null) ?? { key: randomUUID(), parts: [] };
    const folder = join(this.stagedRoot, before.key);
    await makeDurableFolder(folder, this.stagedRoot);
    faultPoint('file-folder-made');
    const name = randomUUID();
    const size = await this.writeFile(join(folder, name), bytes, context.signal, source.isLastUse).catch(
      async (error: unknown) => {
        // Nothing was stored: a folder of earlier appends stays, one made just now goes.
        const undone = staged ? join(folder, name) : folder;
        await rm(undone, { recursive: true, force: true }).catch(() => undefined);
        throw error;
      },
    );
    faultPoint('file-written');
    await syncFolder(folder);
    return { staged: { key: before.key, parts: [...before.parts, { name, size }] }, rest: [], restBytes: 0 };
  }

  async commit(staged: StagedBlob | null, rest: Buffer[], context: AppendContext): Promise<Committed> {
    const key = randomUUID();
    const shard = join(this.blobRoot, key.slice(0, 2));
    const to = join(shard, key);
    try {
      await makeDurableFolder(shard, this.blobRoot);
      // Until its folder is synced nobody knows of it, so it can be written in its place.
      if (!staged) await this.writeFile(to, rest, context.signal);
      else await this.linkParts(staged as StagedFiles, rest, to, context);
      faultPoint('object-file-linked');
      await syncFolder(shard);
      return { key, certain: true };
    } catch (error) {
      await rm(to, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
  }

  async settle(staged: StagedBlob): Promise<void> {
    await this.discard(staged);
  }

  async discard(staged: StagedBlob): Promise<void> {
    await rm(join(this.stagedRoot, (staged as StagedFiles).key), { recursive: true, force: true });
  }

  async read(key: string, range?: ByteRange, sizeBytes?: number): Promise<Readable> {
    const path = this.pathOf(key);
    const found = await stat(path).catch(orMissing(key));
    const parts = found.isFile() ? null : await readLayout(path).catch(orMissing(key));
    assertSize(key, parts ?? [found], sizeBytes);
    if (!parts) {
      const all = range ? { start: range.first, end: range.last } : {};
      return createReadStream(path, { ...all, highWaterMark: READ_BYTES });
    }
    return Readable.from(readParts(path, parts, range), { objectMode: false });
  }

  async send(
    key: string,
    range: ByteRange | undefined,
    sizeBytes: number,
    sink: (piece: Buffer) => Promise<void>,
  ): Promise<void> {
    const path = this.pathOf(key);
    const found = await stat(path).catch(orMissing(key));
    const parts = found.isFile()
      ? [{ path, size: found.size }]
      : (await readLayout(path).catch(orMissing(key))).map(({ name, size }) => ({
          path: join(path, name),
          size,
        }));
    assertSize(key, parts, sizeBytes);
    const asked = within(parts, range);
    const bytes = asked.reduce((sum, { first, last }) => sum + last - first + 1, 0);
    const crowded = this.sendingBytes >= MOST_SENDING_BYTES;
    const pieceBytes = Math.min(bytes, crowded ? CROWDED_READ_BYTES : READ_BYTES);
    this.sendingBytes += 2 * pieceBytes;
    try {
      const buffers = [Buffer.allocUnsafeSlow(pieceBytes), Buffer.allocUnsafeSlow(pieceBytes)];
      for (const { part, first, last } of asked)
        await sendFile(part.path, first, last, buffers, sink).catch(orMissing(key));
    } finally {
      this.sendingBytes -= 2 * pieceBytes;
    }
  }

  async find(key: string): Promise<StoredObject | null> {
    const path = this.pathOf(key);
    const found = await stat(path).catch(orNull);
    if (!found) return null;
    const sizeBytes = found.isFile() ? found.size : await sizeOfParts(path);
    // The change time is that of the link, so an old part in a new object counts as new.
    return { key, sizeBytes, modifiedAt: found.ctime };
  }

  async put(key: string, bytes: AsyncIterable<Buffer>): Promise<void> {
    await this.place(key, (draft) => this.writeFile(draft, bytes, new AbortController().signal));
  }

  async linkInto(folder: string, key: string): Promise<boolean> {
    const from = this.pathOf(key);
    const found = await stat(from).catch(orMissing(key));
    try {
      await new FilesystemBlobStore(folder).place(key, async (draft) => {
        if (found.isFile()) return link(from, draft);
        await mkdir(draft, { mode: 0o700 });
        for (const name of await readdir(from)) await link(join(from, name), join(draft, name));
        return syncFolder(draft);
      });
      return true;
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') throw new BlobMissing(key);
      if (NO_LINK.has(code)) return false;
      throw error;
    }
  }

  async remove(keys: string[]): Promise<void> {
    for (const key of keys) await rm(this.pathOf(key), { recursive: true, force: true });
  }

  async identity(): Promise<string | null> {
    return (await this.named.read(IDENTITY))?.toString() ?? null;
  }

  async identify(name: string): Promise<void> {
    await this.named.write(IDENTITY, Buffer.from(name));
  }

  async check(): Promise<void> {
    await mkdir(this.stagedRoot, { recursive: true });
    await mkdir(this.blobRoot, { recursive: true });
    await access(this.root, constants.R_OK | constants.W_OK);
  }

  async *objects(): AsyncIterable<StoredObject> {
    for await (const shard of entries(this.blobRoot)) {
      for await (const key of entries(join(this.blobRoot, shard))) {
        const object = await this.find(key);
        if (object) yield object;
      }
    }
  }

  async *unfinished(): AsyncIterable<UnfinishedObject> {
    for await (const key of entries(this.stagedRoot)) {
      const found = await stat(join(this.stagedRoot, key)).catch(orNull);
      if (found) yield { staged: { key, parts: [] }, startedAt: found.mtime };
    }
  }

  async stagedBytes(staged: StagedBlob): Promise<number | null> {
    const { key, parts } = staged as StagedFiles;
    const folder = join(this.stagedRoot, key);
    if (!(await stat(folder).catch(orNull))) return null;
    let bytes = 0;
    for (const { name, size } of parts) {
      const found = await stat(join(folder, name)).catch(orNull);
      if (found?.size === size) bytes += size;
    }
    return bytes;
  }

  sameUnfinished(one: StagedBlob, other: StagedBlob): boolean {
    return (one as StagedFiles).key === (other as StagedFiles).key;
  }

  private pathOf(key: string): string {
    return join(this.blobRoot, key.slice(0, 2), key);
  }

  /** Under a key of the caller's: made aside and renamed into place. */
  private async place(key: string, make: (draft: string) => Promise<unknown>): Promise<void> {
    const draft = join(this.stagedRoot, randomUUID());
    const shard = join(this.blobRoot, key.slice(0, 2));
    await makeDurableFolder(this.stagedRoot, this.root);
    await makeDurableFolder(shard, this.blobRoot);
    try {
      await make(draft);
      await rm(this.pathOf(key), { recursive: true, force: true });
      await rename(draft, this.pathOf(key));
      await syncFolder(shard);
    } catch (error) {
      await rm(draft, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
  }

  /** Hard links: no byte moves, and until the commit is recorded the staged files still serve another attempt. */
  private async linkParts(
    { key, parts }: StagedFiles,
    rest: Buffer[],
    to: string,
    context: AppendContext,
  ): Promise<void> {
    const from = join(this.stagedRoot, key);
    if (parts.length === 1 && rest.length === 0) {
      await link(join(from, parts[0]!.name), to).catch(orMissing(key));
      return;
    }
    await mkdir(to, { mode: 0o700 });
    faultPoint('object-folder-made');
    for (const part of parts) {
      await link(join(from, part.name), join(to, part.name)).catch(orMissing(key));
      faultPoint('object-part-linked');
    }
    const all = [...parts];
    if (rest.length > 0) {
      const name = randomUUID();
      all.push({ name, size: await this.writeFile(join(to, name), rest, context.signal) });
    }
    await writeDurably(join(to, LAYOUT), JSON.stringify(all));
    faultPoint('object-layout-written');
    await syncFolder(to);
  }

  private async writeFile(
    path: string,
    bytes: AsyncIterable<Buffer> | Iterable<Buffer>,
    signal: AbortSignal,
    isLastUse = false,
  ): Promise<number> {
    const file = await open(path, 'wx', 0o600);
    let size = 0;
    let batch: Buffer[] = [];
    let batchBytes = 0;
    let writing: Promise<void> = Promise.resolve();
    /** Begins to write the batch once the one before is written; the next one gathers meanwhile. */
    const flush = async (): Promise<void> => {
      await writing;
      signal.throwIfAborted();
      const [pending, bytes] = [batch, batchBytes];
      batch = [];
      batchBytes = 0;
      writing = writeAll(file, pending).finally(() => (this.batchedBytes -= bytes));
      if (isLastUse) writing = writing.then(() => giveBack(pending));
      // Awaited later; a failure before that is not unhandled.
      writing.catch(() => undefined);
    };
    try {
      for await (const chunk of bytes) {
        batch.push(chunk);
        batchBytes += chunk.length;
        this.batchedBytes += chunk.length;
        size += chunk.length;
        if (batchBytes < WRITE_BYTES && this.batchedBytes <= MOST_BATCHED_BYTES) continue;
        await flush();
        if (this.batchedBytes > MOST_BATCHED_BYTES) await writing;
      }
      await flush();
      await writing;
      await file.datasync();
      await file.close();
      return size;
    } catch (error) {
      await writing.catch(() => undefined);
      await file.close().catch(() => undefined);
      throw error;
    } finally {
      this.batchedBytes -= batchBytes;
    }
  }
}

/** Reads until there is enough for a file or the source ends; `bytes` begins again with what was read. */
async function begun(
  source: AsyncIterable<Buffer>,
): Promise<{ head: Buffer[]; headBytes: number; whole: boolean; bytes: AsyncIterable<Buffer> }> {
  const iterator = source[Symbol.asyncIterator]();
  const head: Buffer[] = [];
  let headBytes = 0;
  let whole = false;
  while (!whole && headBytes < MIN_FILE_BYTES) {
    const next = await iterator.next();
    if (next.done) whole = true;
    else headBytes += head.push(next.value) && next.value.length;
  }
  const bytes = (async function* () {
    yield* head;
    if (!whole) yield* { [Symbol.asyncIterator]: () => iterator };
  })();
  return { head, headBytes, whole, bytes };
}

async function writeAll(file: FileHandle, buffers: Buffer[]): Promise<void> {
  for (let pending = buffers; pending.length > 0;) {
    const { bytesWritten } = await file.writev(pending);
    pending = behind(pending, bytesWritten);
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

function orMissing(key: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    throw error.code === 'ENOENT' ? new BlobMissing(key) : error;
  };
}
