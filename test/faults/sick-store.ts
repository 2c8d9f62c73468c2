import { expect } from '@jest/globals';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import { BLOB_STORE, type BlobStore } from '../../src/blob-store/blob-store.js';
import type { Blob } from '../support/images.js';
import { requiredEnvironment } from '../support/postgres.js';
import { describeWhere } from '../support/programs.js';
import { expectExactCounters } from '../support/recount.js';
import { startRegistry, startReplica, type TestRegistry } from '../support/registry.js';
import { type S3Proxy, startS3Proxy } from '../support/s3-proxy.js';
import { s3IsAvailable } from '../support/stores.js';
import { pulled } from './push.js';

/** Tests of a registry whose S3 store misbehaves; without an S3 server they are skipped aloud. */
export function describeSickStore(name: string, promises: () => void): void {
  describeWhere(s3IsAvailable(), name, 'an S3 server', promises, 'REQUIRE_S3');
}

export interface SickStore {
  registry: TestRegistry;
  store: S3Proxy;
  close(): Promise<void>;
}

/** A registry that reaches its S3 store only through a proxy that does what the test says. */
export async function startOnSickStore(config: Record<string, string> = {}, seed = 1): Promise<SickStore> {
  const store = await startS3Proxy(requiredEnvironment('STOWAGE_TEST_S3_ENDPOINT'), seed);
  try {
    const registry = await startRegistry({
      store: 's3',
      // Without jobs, whose requests would meet the faults in place of the test's.
      config: { STOWAGE_S3_ENDPOINT: store.url, STOWAGE_ROLE: 'api', ...config },
    });
    return {
      registry,
      store,
      async close() {
        store.heal();
        await registry.close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** The layer is what the client sent, and the counters are what the rows amount to. */
export async function expectTrue(
  registry: TestRegistry,
  repository: string,
  ...blobs: Blob[]
): Promise<void> {
  for (const blob of blobs) {
    const bytes = await pulled(registry, repository, blob);
    expect({ digest: blob.digest, same: bytes.equals(blob.bytes) }).toEqual({
      digest: blob.digest,
      same: true,
    });
  }
  await expectExactCounters(registry.prisma);
}

/** Whatever failed attempts left in the store, the collector finds: afterwards it holds the recorded layers and nothing else. */
export async function expectNothingLeaked(registry: TestRegistry): Promise<void> {
  await registry.prisma
    .$executeRaw`UPDATE upload SET touched_at = now() - interval '1 day', created_at = now() - interval '2 days' WHERE state = 'open'`;
  await registry.prisma.$executeRaw`UPDATE doomed_object SET not_before = now()`;
  const instant = '0.0000001';
  const collector = await startReplica(registry, {
    STOWAGE_UPLOAD_EXPIRY_HOURS: instant,
    STOWAGE_ORPHAN_GRACE_HOURS: instant,
  });
  try {
    const collection = collector.app.get(CollectionService);
    const signal = new AbortController().signal;
    await collection.collect(signal);
    await collection.sweep(signal);
    const store = collector.app.get<BlobStore>(BLOB_STORE);
    const found: string[] = [];
    for await (const { key } of store.objects()) found.push(key);
    const blobs = await registry.prisma.blob.findMany({ select: { objectKey: true } });
    expect(found.toSorted()).toEqual(blobs.map(({ objectKey }) => objectKey).toSorted());
    const unfinished = [];
    for await (const { staged } of store.unfinished()) unfinished.push(staged);
    expect(unfinished).toEqual([]);
  } finally {
    await collector.close();
  }
}
