import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { DeleteRepositoryCommand } from '@aws-sdk/client-ecr';
import { Logger } from '@nestjs/common';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { BLOB_STORE, type BlobStore } from '../../src/blob-store/blob-store.js';
import { CONFIG, type Config } from '../../src/config/config.js';
import { Metrics } from '../../src/observability/metrics.js';
import { IntegrityRepository } from '../../src/registry/integrity/integrity.repository.js';
import { ObjectVerifier, StoreUnavailable } from '../../src/registry/integrity/object-verifier.js';
import { ScrubService } from '../../src/registry/integrity/scrub.service.js';
import { StoreBinding } from '../../src/registry/layers/collection/store-binding.js';
import { fsck } from '../support/fsck.js';
import { type Blob, layer } from '../support/images.js';
import { createRepository, MEBIBYTE, pushLayer } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { flipped, type StoredObjects, storedObjects } from '../support/stored-objects.js';
import { describeEachStore, s3IsAvailable } from '../support/stores.js';
import { proxied, type TcpProxy } from '../support/tcp-proxy.js';

const running = new AbortController().signal;
const rowOf = (registry: TestRegistry, { digest }: Blob) =>
  registry.prisma.blob.findUniqueOrThrow({ where: { sha256: digest.slice(7) } });
const age = (registry: TestRegistry, blob: Blob, days: number): Promise<number> =>
  registry.prisma.$executeRaw`
    UPDATE blob SET verified_at = now() - make_interval(days => ${days}::int) WHERE sha256 = ${blob.digest.slice(7)}`;
const isFresh = async (registry: TestRegistry, blob: Blob): Promise<boolean> =>
  Date.now() - (await rowOf(registry, blob)).verifiedAt.getTime() < 3_600_000;

/** The service on a store whose answers the test has its hand in. */
function scrubOf(
  { app }: TestRegistry,
  read?: (store: BlobStore, key: string) => Promise<Readable>,
  settings: Partial<Config> = {},
): ScrubService {
  const real = app.get<BlobStore>(BLOB_STORE, { strict: false });
  const store = new Proxy(real, {
    get(target, name) {
      if (name === 'read' && read) return (key: string) => read(target, key);
      const member: unknown = Reflect.get(target, name);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
  const blobs = app.get(IntegrityRepository, { strict: false });
  const verifier = new ObjectVerifier(store, blobs, app.get(StoreBinding, { strict: false }));
  const config = { ...app.get<Config>(CONFIG, { strict: false }), ...settings };
  return new ScrubService(blobs, verifier, app.get(Metrics, { strict: false }), config);
}

describeEachStore('The scrub', (store) => {
  let registry: TestRegistry;
  let objects: StoredObjects;
  let scrub: ScrubService;
  let repository: string;
  beforeAll(async () => {
    registry = await startRegistry({ store, config: { STOWAGE_ROLE: 'api' } });
    objects = storedObjects(registry.environment);
    scrub = registry.app.get(ScrubService, { strict: false });
  });
  afterAll(() => registry?.close());
  beforeEach(async () => (repository = await createRepository(registry.ecr)));
  afterEach(async () => {
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: repository, force: true }));
    await registry.prisma.blob.deleteMany();
  });

  const push = async (seed: string, days: number, size = 2_000): Promise<Blob> => {
    const blob = layer(size, `${store} ${seed}`);
    await pushLayer(registry.ecr, repository, blob);
    await age(registry, blob, days);
    return blob;
  };
  const metric = async (name: string): Promise<number> => {
    const text = await (await fetch(`${registry.environment.operatorUrl}/metrics`)).text();
    return Number(new RegExp(`^${name} (.+)$`, 'm').exec(text)![1]);
  };
  const isDamaged = async (blob: Blob): Promise<boolean> => (await rowOf(registry, blob)).damagedAt !== null;

  it('reads every layer nobody read for thirty days, and no other', async () => {
    const [due, young] = [await push('due', 31, 6 * MEBIBYTE), await push('young', 29)];
    expect(await scrub.scrub(running)).toEqual({ layers: 1, bytes: due.size, damaged: 0, unreadable: 0 });
    expect(await isFresh(registry, due)).toBe(true);
    expect(await isFresh(registry, young)).toBe(false);
    expect(await scrub.scrub(running)).toEqual({ layers: 0, bytes: 0, damaged: 0, unreadable: 0 });
  });

  it('finds rotten and lost layers, takes them out of sight, and says so aloud', async () => {
    const [whole, rotten, lost] = [await push('whole', 40), await push('rotten', 40), await push('lost', 40)];
    await objects.change((await rowOf(registry, rotten)).objectKey, flipped);
    await objects.remove((await rowOf(registry, lost)).objectKey);
    const read = await metric('stowage_scrubbed_bytes_total');
    const [result, lines] = await toldOf(() => scrub.scrub(running));
    expect(result).toMatchObject({ layers: 3, damaged: 2, unreadable: 0 });
    expect(lines.map(({ digest }) => digest).sort()).toEqual([rotten.digest, lost.digest].sort());
    for (const { repositories } of lines)
      expect(repositories).toEqual([`arn:aws:ecr:us-east-1:000000000000:repository/${repository}`]);
    for (const blob of [rotten, lost]) {
      expect(await isDamaged(blob)).toBe(true);
      const got = await registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`);
      expect(got.status).toBe(404);
    }
    expect(await isDamaged(whole)).toBe(false);
    expect(await metric('stowage_damaged_blobs')).toBe(2);
    expect((await metric('stowage_scrubbed_bytes_total')) - read).toBe(result.bytes);
    // What is damaged is not read again and again; once it was pushed again it is a layer like any other.
    expect(await scrub.scrub(running)).toMatchObject({ layers: 0 });
    for (const blob of [rotten, lost]) await pushLayer(registry.ecr, repository, blob);
    expect(await metric('stowage_damaged_blobs')).toBe(0);
    for (const blob of [rotten, lost]) await age(registry, blob, 31);
    expect(await scrub.scrub(running)).toMatchObject({ layers: 2, damaged: 0 });
    expect((await fsck(registry)).findings).toEqual([]);
  });

  it('begins with those that waited longest, stops when told to, and goes on from there', async () => {
    const blobs = [await push('second', 50), await push('third', 40), await push('first', 60)];
    const order = [blobs[2]!, blobs[0]!, blobs[1]!];
    const keys = await Promise.all(order.map(async (blob) => (await rowOf(registry, blob)).objectKey));
    const stopping = new AbortController();
    const asked: string[] = [];
    const stopped = scrubOf(registry, async (real, key) => {
      asked.push(key);
      if (asked.length === 2) stopping.abort();
      return real.read(key);
    });
    expect(await stopped.scrub(stopping.signal)).toMatchObject({ layers: 1 });
    expect(asked).toEqual(keys.slice(0, 2));
    expect(await Promise.all(order.map((blob) => isFresh(registry, blob)))).toEqual([true, false, false]);
    expect(await scrub.scrub(AbortSignal.abort())).toMatchObject({ layers: 0 });
    expect(await scrub.scrub(running)).toMatchObject({ layers: 2 });
  });

  it('ends a run once it has read its share, and leaves the rest to the next one', async () => {
    for (const seed of ['a', 'b']) await push(seed, 40);
    // So much that one of them is more than a run may read at this rate.
    await registry.prisma.$executeRaw`UPDATE blob SET size_bytes = ${600 * MEBIBYTE}`;
    const slow = scrubOf(registry, undefined, { STOWAGE_SCRUB_MIB_PER_SECOND: 1 });
    for (const run of [1, 2])
      expect([run, await slow.scrub(running)]).toEqual([run, expect.objectContaining({ layers: 1 })]);
    expect(await slow.scrub(running)).toMatchObject({ layers: 0 });
  });

  it('can be turned off', async () => {
    const blob = await push('off', 4_000);
    const off = scrubOf(registry, undefined, { STOWAGE_SCRUB_DAYS: 0 });
    expect(await off.scrub(running)).toMatchObject({ layers: 0 });
    expect(await isFresh(registry, blob)).toBe(false);
  });

  it('believes no difference it cannot see twice', async () => {
    const blob = await push('once', 40);
    let reads = 0;
    const once = scrubOf(registry, async (real, key) =>
      (reads += 1) === 1 ? Readable.from([flipped(blob.bytes)]) : real.read(key),
    );
    expect(await once.scrub(running)).toMatchObject({ layers: 1, damaged: 0 });
    expect(reads).toBe(2);
    expect(await isDamaged(blob)).toBe(false);
    expect(await isFresh(registry, blob)).toBe(true);
  });

  it('damages nothing that was replaced while it was read', async () => {
    const blob = await push('replaced', 40);
    const { objectKey } = await rowOf(registry, blob);
    const replaced = scrubOf(registry, async () => {
      await registry.prisma
        .$executeRaw`UPDATE blob SET object_key = ${`${objectKey}-new`} WHERE object_key = ${objectKey}`;
      return Readable.from([Buffer.from('what the old object holds')]);
    });
    expect(await replaced.scrub(running)).toMatchObject({ layers: 0, damaged: 0 });
    expect(await isDamaged(blob)).toBe(false);
  });

  it('leaves a layer the store cannot read as it is, says so, and goes on with the others', async () => {
    const [unreadable, other] = [await push('unreadable', 50), await push('other', 40)];
    const { objectKey } = await rowOf(registry, unreadable);
    const failing = scrubOf(registry, async (real, key) => {
      if (key === objectKey) throw Object.assign(new Error('i/o error'), { code: 'EIO' });
      return real.read(key);
    });
    const [result, lines] = await toldOf(() => failing.scrub(running));
    expect(result).toMatchObject({ layers: 2, damaged: 0, unreadable: 1 });
    expect(lines.map(({ digest }) => digest)).toEqual([unreadable.digest]);
    expect(await isDamaged(unreadable)).toBe(false);
    expect(await isFresh(registry, unreadable)).toBe(false);
    expect(await isFresh(registry, other)).toBe(true);
  });

  it('damages nothing where the store is not the one that belongs to the database', async () => {
    const blob = await push('other store', 40);
    const name = await objects.rename('00000000-0000-0000-0000-000000000000');
    await objects.remove((await rowOf(registry, blob)).objectKey);
    await expect(scrub.scrub(running)).rejects.toBeInstanceOf(StoreUnavailable);
    expect(await isDamaged(blob)).toBe(false);
    await objects.rename(name);
    expect(await scrub.scrub(running)).toMatchObject({ damaged: 1 });
  });
});

describe('Where the store is away, neither scrub nor fsck damages anything', () => {
  it('a disk that is not mounted', async () => {
    const registry = await startRegistry({ store: 'filesystem', config: { STOWAGE_ROLE: 'api' } });
    try {
      const blob = layer(2_000, 'unmounted');
      await pushLayer(registry.ecr, await createRepository(registry.ecr), blob);
      await age(registry, blob, 40);
      const root = join(registry.environment.dataDir, 'layers');
      await rename(root, `${root}.away`);
      await expect(registry.app.get(ScrubService, { strict: false }).scrub(running)).rejects.toThrow(
        StoreUnavailable,
      );
      await expect(fsck(registry, { repair: true })).rejects.toThrow(StoreUnavailable);
      expect((await rowOf(registry, blob)).damagedAt).toBeNull();
      await rm(root, { recursive: true });
      await rename(`${root}.away`, root);
      expect((await fsck(registry)).findings).toEqual([]);
    } finally {
      await registry.close();
    }
  });

  (s3IsAvailable() || process.env['REQUIRE_S3'] === '1' ? it : it.skip)(
    'an S3 store that does not answer, from the first or from the middle of a layer on',
    async () => {
      const through = await proxied(process.env['STOWAGE_TEST_S3_ENDPOINT']!);
      const proxy: TcpProxy = through.proxy;
      const config = { STOWAGE_ROLE: 'api', STOWAGE_S3_ENDPOINT: through.url };
      const registry = await startRegistry({ store: 's3', config });
      try {
        const blob = layer(6 * MEBIBYTE, 'unreachable');
        await pushLayer(registry.ecr, await createRepository(registry.ecr), blob);
        await age(registry, blob, 40);
        const cutInTheMiddle = scrubOf(registry, async (real, key) => {
          const bytes = await real.read(key);
          bytes.once('data', () => void proxy.cut());
          return bytes.pause();
        });
        await expect(cutInTheMiddle.scrub(running)).rejects.toThrow(StoreUnavailable);
        await expect(registry.app.get(ScrubService, { strict: false }).scrub(running)).rejects.toThrow(
          StoreUnavailable,
        );
        await expect(fsck(registry, { repair: true })).rejects.toThrow(StoreUnavailable);
        expect((await rowOf(registry, blob)).damagedAt).toBeNull();
        await proxy.restore();
        expect(await registry.app.get(ScrubService, { strict: false }).scrub(running)).toMatchObject({
          layers: 1,
        });
        expect((await fsck(registry)).findings).toEqual([]);
      } finally {
        await proxy.restore();
        await registry.close();
        await proxy.close();
      }
    },
    60_000,
  );
});

describe('A running service', () => {
  it('scrubs by itself', async () => {
    const registry = await startRegistry({ store: 'filesystem' });
    try {
      const blob = layer(2_000, 'by itself');
      await pushLayer(registry.ecr, await createRepository(registry.ecr), blob);
      await storedObjects(registry.environment).change((await rowOf(registry, blob)).objectKey, flipped);
      await age(registry, blob, 40);
      // Due now, instead of within ten minutes.
      await registry.prisma.$executeRaw`SELECT graphile_worker.add_job('scrub-layers')`;
      await eventually(async () => (await rowOf(registry, blob)).damagedAt !== null);
    } finally {
      await registry.close();
    }
  });
});

/** What was logged as an error meanwhile. */
async function toldOf<Result>(
  work: () => Promise<Result>,
): Promise<[Result, { digest: string; repositories: string[] }[]]> {
  const error = jest.spyOn(Logger.prototype, 'error');
  try {
    const result = await work();
    return [result, error.mock.calls.map(([line]) => line as { digest: string; repositories: string[] })];
  } finally {
    error.mockRestore();
  }
}

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await condition()); await sleep(20))
    if (Date.now() > deadline) throw new Error('It did not come about within 20 s');
}
