/** Over 300 lines: the whole contract of a store is one list. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import {
  type AppendContext,
  type Appended,
  BlobMissing,
  type BlobStore,
  type StagedBlob,
} from '../../src/blob-store/blob-store.js';
import { ByteBudget } from '../../src/blob-store/byte-budget.js';
import { FilesystemBlobStore } from '../../src/blob-store/filesystem.blob-store.js';
import { S3BlobStore } from '../../src/blob-store/s3.blob-store.js';
import { layer } from '../support/images.js';
import { describeEachStore, s3Environment, type StoreName } from '../support/stores.js';

const MEBIBYTE = 1024 * 1024;

interface Opened {
  store: BlobStore;
  close(): Promise<void>;
}

const OPEN: Record<StoreName, () => Promise<Opened>> = {
  async filesystem() {
    const root = await mkdtemp(join(tmpdir(), 'stowage-blobs-'));
    return {
      store: new FilesystemBlobStore(join(root, 'layers')),
      close: () => rm(root, { recursive: true, force: true }),
    };
  },
  async s3() {
    const settings = s3Environment();
    const endpoint = settings['STOWAGE_S3_ENDPOINT']!;
    const store = new S3BlobStore(
      {
        endpoint,
        publicEndpoint: endpoint,
        bucket: settings['STOWAGE_S3_BUCKET']!,
        region: 'us-east-1',
        accessKeyId: settings['STOWAGE_S3_ACCESS_KEY_ID']!,
        secretAccessKey: settings['STOWAGE_S3_SECRET_ACCESS_KEY']!,
      },
      new ByteBudget(64 * MEBIBYTE),
    );
    await store.prepare();
    return { store, close: async () => undefined };
  },
};

describeEachStore('The blob store', (name) => {
  let opened: Opened;
  let store: BlobStore;
  beforeAll(async () => {
    opened = await OPEN[name]();
    store = opened.store;
    await store.check();
  });
  afterAll(() => opened?.close());

  /** Of one upload: every attempt gets part numbers of its own. */
  const session = (): AppendContext => {
    let next = 1;
    return {
      takePartNumbers: async (count) => (next += count) - count,
      signal: new AbortController().signal,
    };
  };
  const append = (
    context: AppendContext,
    staged: StagedBlob | null,
    ...chunks: (Buffer | Error)[]
  ): Promise<Appended> => store.append(staged, { bytes: sent(chunks), inMemory: false }, context);
  const read = async (key: string, first?: number, last?: number): Promise<Buffer> =>
    buffer(await store.read(key, first === undefined ? undefined : { first, last: last! }));
  const keys = async (): Promise<Map<string, number>> => {
    const found = new Map<string, number>();
    for await (const { key, sizeBytes } of store.objects()) found.set(key, sizeBytes);
    return found;
  };
  const isUnfinished = async (staged: StagedBlob): Promise<boolean> => {
    for await (const found of store.unfinished()) if (store.sameUnfinished(found.staged, staged)) return true;
    return false;
  };
  /** Appends one after the other, as an upload does: what the store leaves over comes first in the next append. */
  const appendAll = async (
    context: AppendContext,
    chunks: Buffer[],
  ): Promise<{ staged: StagedBlob | null; rest: Buffer[] }> => {
    let staged: StagedBlob | null = null;
    let rest: Buffer[] = [];
    for (const chunk of chunks) ({ staged, rest } = await append(context, staged, ...rest, chunk));
    return { staged, rest };
  };
  const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

  const SIZES = [
    [1],
    [5 * MEBIBYTE],
    [5 * MEBIBYTE - 1],
    [5 * MEBIBYTE + 1],
    [1, 1, 1],
    [3 * MEBIBYTE, 3 * MEBIBYTE, 1],
    [5 * MEBIBYTE - 1, 1, 5 * MEBIBYTE],
    [16 * MEBIBYTE, 21 * MEBIBYTE + 7, 4],
    [40 * MEBIBYTE + 1],
  ];
  it('gives the memory of pieces back that nobody reads once they are stored', async () => {
    const pieces = Array.from({ length: 90 }, (_, index) => Buffer.alloc(256 * 1024, index + 1));
    const bytes = Buffer.concat(pieces);
    const context = session();
    const source = { bytes: sent(pieces), inMemory: false, isLastUse: true };
    const { staged, rest } = await store.append(null, source, context);
    expect(rest).toEqual([]);
    expect(pieces.map(({ length }) => length)).toEqual(pieces.map(() => 0));
    const { key } = await store.commit(staged, rest, context);
    expect((await read(key)).equals(bytes)).toBe(true);
  });

  it.each(SIZES.map((sizes) => [sizes]))('gives back appends of %j bytes as one object', async (sizes) => {
    const { bytes } = layer(
      sizes.reduce((sum, size) => sum + size, 0),
      sizes.join(),
    );
    let at = 0;
    const context = session();
    const chunks = sizes.map((size) => bytes.subarray(at, (at += size)));
    const { staged, rest } = await appendAll(context, chunks);
    const { key, certain } = await store.commit(staged, rest, context);
    expect(certain).toBe(true);
    expect((await read(key)).equals(bytes)).toBe(true);
    expect((await keys()).get(key)).toBe(bytes.length);
    if (staged) {
      await store.settle?.(staged);
      expect(await isUnfinished(staged)).toBe(false);
    }
    expect(digest(await read(key))).toBe(digest(bytes));
  });

  it('keeps an object of no bytes', async () => {
    const { key } = await store.commit(null, [], session());
    expect(await read(key)).toHaveLength(0);
    expect((await keys()).get(key)).toBe(0);
  });

  it('reads any range, also over the seams of appends', async () => {
    const { bytes } = layer(11 * MEBIBYTE, 'ranges');
    const context = session();
    const seam = 5 * MEBIBYTE + 3;
    const { staged, rest } = await appendAll(context, [bytes.subarray(0, seam), bytes.subarray(seam)]);
    const { key } = await store.commit(staged, rest, context);
    const end = bytes.length - 1;
    for (const [first, last] of [
      [0, 0],
      [seam - 1, seam],
      [seam, seam],
      [seam - 10, end],
      [end, end],
      [0, end],
    ] as const)
      expect((await read(key, first, last)).equals(bytes.subarray(first, last + 1))).toBe(true);
  });

  it('keeps what was recorded when a later append fails in the middle', async () => {
    const { bytes } = layer(18 * MEBIBYTE, 'failing append');
    const context = session();
    const first = await append(context, null, bytes.subarray(0, 6 * MEBIBYTE));
    const failing = append(context, first.staged, layer(6 * MEBIBYTE, 'x').bytes, new Error('cut off'));
    await expect(failing).rejects.toThrow('cut off');
    const second = await append(context, first.staged, ...first.rest, bytes.subarray(6 * MEBIBYTE));
    const { key } = await store.commit(second.staged, second.rest, context);
    expect((await read(key)).equals(bytes)).toBe(true);
  });

  it('keeps what was recorded when another writer appended to the same state', async () => {
    const { bytes } = layer(12 * MEBIBYTE, 'two writers');
    const context = session();
    const half = 6 * MEBIBYTE;
    const first = await append(context, null, bytes.subarray(0, half));
    const [mine] = await Promise.all([
      append(context, first.staged, ...first.rest, bytes.subarray(half)),
      append(context, first.staged, ...first.rest, layer(half, 'the loser').bytes),
    ]);
    const { key } = await store.commit(mine.staged, mine.rest, context);
    expect((await read(key)).equals(bytes)).toBe(true);
  });

  it('leaves nothing to take over when the first append of an upload fails', async () => {
    const before = await unfinishedCount(store);
    const chunks = ['a', 'b', 'c', 'd'].map((seed) => layer(6 * MEBIBYTE, seed).bytes);
    const failing = append(session(), null, ...chunks, new Error('cut off'));
    await expect(failing).rejects.toThrow('cut off');
    expect(await unfinishedCount(store)).toBe(before);
  });

  it('stops appending when the upload was lost to another writer', async () => {
    const lost = new AbortController();
    const appending = store.append(
      null,
      {
        bytes: (async function* () {
          yield layer(6 * MEBIBYTE, 'x').bytes;
          lost.abort(new Error('lease lost'));
          for (const seed of ['y', 'z', 'w']) yield layer(8 * MEBIBYTE, seed).bytes;
        })(),
        inMemory: false,
      },
      { ...session(), signal: lost.signal },
    );
    await expect(appending).rejects.toThrow();
  });

  it('can commit again when the record of the first time was lost', async () => {
    const { bytes } = layer(7 * MEBIBYTE, 'lost record');
    const context = session();
    const { staged, rest } = await appendAll(context, [
      bytes.subarray(0, 6 * MEBIBYTE),
      bytes.subarray(6 * MEBIBYTE),
    ]);
    await store.commit(staged, rest, context);
    const again = await store.commit(staged, rest, context);
    expect((await read(again.key)).equals(bytes)).toBe(true);
  });

  it('never takes the outcome of a lost commit for that of another one', async () => {
    const { bytes } = layer(6 * MEBIBYTE, 'other rest');
    const context = session();
    const { staged, rest } = await appendAll(context, [bytes]);
    await store.commit(staged, [...rest, Buffer.from('one')], context);
    const other = [...rest, Buffer.from('two')];
    const again = await store.commit(staged, other, context);
    if (again.certain) expect((await read(again.key)).subarray(-3).toString()).toBe('two');
    else expect(await read(again.key)).toHaveLength(bytes.length + 3);
  });

  it('drops an unfinished object, more than once if need be', async () => {
    const context = session();
    const { staged } = await append(context, null, layer(6 * MEBIBYTE, 'dropped').bytes);
    expect(await isUnfinished(staged!)).toBe(true);
    await store.discard(staged!);
    await store.discard(staged!);
    expect(await isUnfinished(staged!)).toBe(false);
    await expect(store.commit(staged, [], context)).rejects.toBeInstanceOf(BlobMissing);
    const more = append(context, staged, layer(6 * MEBIBYTE, 'too late').bytes).then((appended) =>
      store.commit(appended.staged, appended.rest, context),
    );
    await expect(more).rejects.toBeInstanceOf(BlobMissing);
  });

  it('tells unfinished objects apart and since when they exist', async () => {
    const started = Date.now();
    const [one, other] = await Promise.all(
      ['one', 'other'].map((seed) => append(session(), null, layer(6 * MEBIBYTE, seed).bytes)),
    );
    const grown = await append(session(), one!.staged, layer(6 * MEBIBYTE, 'grown').bytes);
    expect(store.sameUnfinished(one!.staged!, grown.staged!)).toBe(true);
    expect(store.sameUnfinished(one!.staged!, other!.staged!)).toBe(false);
    for await (const { staged, startedAt } of store.unfinished())
      if (store.sameUnfinished(staged, one!.staged!))
        expect(Math.abs(startedAt.getTime() - started)).toBeLessThan(60_000);
  });

  it('removes objects, those that are gone already included', async () => {
    const blobs = await Promise.all(
      ['a', 'b', 'c'].map((text) => store.commit(null, [Buffer.from(text)], session())),
    );
    const [first, second, third] = blobs.map(({ key }) => key) as [string, string, string];
    await store.remove([first]);
    await store.remove([first, second]);
    await store.remove([]);
    await expect(store.read(first)).rejects.toBeInstanceOf(BlobMissing);
    await expect(store.read(second, { first: 0, last: 0 })).rejects.toBeInstanceOf(BlobMissing);
    expect((await read(third)).toString()).toBe('c');
    expect([...(await keys()).keys()]).not.toContain(second);
  });

  it('finds one object with its size, or none', async () => {
    const { key } = await store.commit(null, [Buffer.from('found')], session());
    expect(await store.find(key)).toMatchObject({ key, sizeBytes: 5 });
    await store.remove([key]);
    expect(await store.find(key)).toBeNull();
  });

  it('tells how many of the recorded bytes of an unfinished object it has', async () => {
    const context = session();
    const first = await append(context, null, layer(6 * MEBIBYTE, 'first').bytes);
    const second = await append(context, first.staged, ...first.rest, layer(7 * MEBIBYTE, 'second').bytes);
    const [before, after] = [6 * MEBIBYTE - first.restBytes, 13 * MEBIBYTE - second.restBytes];
    expect(await store.stagedBytes(second.staged!)).toBe(after);
    // The state of before the second append: its bytes are there, whatever followed them.
    expect(await store.stagedBytes(first.staged!)).toBe(before);
    await store.discard(second.staged!);
    expect(await store.stagedBytes(second.staged!)).toBeNull();
  });

  it('leaves nothing unfinished behind an object that was made in one go', async () => {
    const before = await unfinishedCount(store);
    for (const rest of [[], [Buffer.from('in one go')]]) await store.commit(null, rest, session());
    expect(await unfinishedCount(store)).toBe(before);
  });

  it('keeps named objects beside the layers, listed by neither among the other', async () => {
    const layers = [...(await keys()).keys()];
    const written = new Map([
      ['records/0002', Buffer.from('two')],
      ['records/0001', Buffer.alloc(0)],
      ['records/0001-more', layer(2 * MEBIBYTE, 'named').bytes],
      ['recordings/0001', Buffer.from('of another kind')],
    ]);
    for (const [named, bytes] of written) await store.named.write(named, bytes);
    const listed = async (prefix: string): Promise<[string, number][]> => {
      const found: [string, number][] = [];
      for await (const { name: named, sizeBytes } of store.named.list(prefix)) found.push([named, sizeBytes]);
      return found;
    };
    expect(await listed('records/')).toEqual([
      ['records/0001', 0],
      ['records/0001-more', 2 * MEBIBYTE],
      ['records/0002', 3],
    ]);
    expect(await listed('recordings/')).toEqual([['recordings/0001', 15]]);
    expect(await listed('nothing/')).toEqual([]);
    for (const [named, bytes] of written) expect((await store.named.read(named))?.equals(bytes)).toBe(true);
    expect([...(await keys()).keys()]).toEqual(layers);
  });

  it('replaces and removes named objects, those that are gone already included', async () => {
    await store.named.write('records/replaced', Buffer.from('a longer first text'));
    await store.named.write('records/replaced', Buffer.from('second'));
    expect((await store.named.read('records/replaced'))?.toString()).toBe('second');
    await store.named.remove(['records/replaced']);
    await store.named.remove(['records/replaced', 'records/never']);
    await store.named.remove([]);
    expect(await store.named.read('records/replaced')).toBeNull();
  });

  it('has the name it was given', async () => {
    await store.identify('one');
    expect(await store.identity()).toBe('one');
    await store.identify('another');
    expect(await store.identity()).toBe('another');
  });

  it.each([0, 1, 5 * MEBIBYTE, 37 * MEBIBYTE + 3])(
    'puts a whole object of %i bytes under a key it had before',
    async (size) => {
      const { key } = await store.commit(null, [Buffer.from('gone')], session());
      await store.remove([key]);
      const { bytes } = layer(size, 'put');
      await store.put(key, sent([bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)]));
      expect((await read(key)).equals(bytes)).toBe(true);
      expect((await keys()).get(key)).toBe(size);
    },
  );

  it('puts nothing when the bytes end in an error', async () => {
    for (const size of [10, 20 * MEBIBYTE]) {
      const { key } = await store.commit(null, [Buffer.from('as it was')], session());
      const before = await unfinishedCount(store);
      const failing = store.put(key, sent([layer(size, 'failing').bytes, new Error('another digest')]));
      await expect(failing).rejects.toThrow('another digest');
      expect((await read(key)).toString()).toBe('as it was');
      expect(await unfinishedCount(store)).toBe(before);
    }
  });

  it('links objects into a layer folder where it can, and they outlive it', async () => {
    if (!store.linkInto) return expect(name).toBe('s3');
    const folder = await mkdtemp(join(tmpdir(), 'stowage-folder-'));
    const other = new FilesystemBlobStore(folder);
    const { bytes } = layer(11 * MEBIBYTE, 'linked');
    const context = session();
    const chunks = [bytes.subarray(0, 6 * MEBIBYTE), bytes.subarray(6 * MEBIBYTE)];
    for (const sizes of [chunks, [bytes]]) {
      const { staged, rest } = await appendAll(context, sizes);
      const { key } = await store.commit(staged, rest, context);
      for (const _again of [1, 2]) expect(await store.linkInto(folder, key)).toBe(true);
      await store.remove([key]);
      expect((await buffer(await other.read(key))).equals(bytes)).toBe(true);
      await expect(store.linkInto(folder, key)).rejects.toBeInstanceOf(BlobMissing);
    }
    expect(await unfinishedCount(other)).toBe(0);
    await rm(folder, { recursive: true, force: true });
  });

  it('lists its objects in key order', async () => {
    const listed = [...(await keys()).keys()];
    expect(listed.length).toBeGreaterThan(3);
    expect(listed).toEqual([...listed].sort());
  });
});

/** What a client sends: chunks, and where one is an error, the end of its connection. */
async function* sent(chunks: (Buffer | Error)[]): AsyncGenerator<Buffer> {
  for (const chunk of chunks) {
    if (chunk instanceof Error) throw chunk;
    yield chunk;
  }
}

async function unfinishedCount(store: BlobStore): Promise<number> {
  let count = 0;
  for await (const _found of store.unfinished()) count += 1;
  return count;
}
