import { afterAll, beforeAll, beforeEach, expect } from '@jest/globals';
import {
  type AppendContext,
  BLOB_STORE,
  type BlobStore,
  type StagedBlob,
} from '../../src/blob-store/blob-store.js';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import { fsck } from './fsck.js';
import { type Blob, layer } from './images.js';
import { createRepository, MEBIBYTE, pushImage, type PushedImage, pushLayer } from './pushes.js';
import { startRegistry, type TestRegistry } from './registry.js';
import { type StoredObjects, storedObjects } from './stored-objects.js';
import type { StoreName } from './stores.js';

/** A registry for tests that break something in it and look whether fsck notices. */
export class InspectedRegistry {
  registry!: TestRegistry;
  blobs!: BlobStore;
  objects!: StoredObjects;
  /** Each test has its own, with one image in it. */
  repository!: string;
  arn!: string;
  image!: PushedImage;

  constructor(private readonly store: StoreName) {}

  async start(): Promise<void> {
    // Without background jobs, which would collect at moments of their own.
    const config = { STOWAGE_ROLE: 'api', STOWAGE_BLOB_DELIVERY: 'stream' };
    this.registry = await startRegistry({ store: this.store, config });
    this.blobs = this.registry.app.get<BlobStore>(BLOB_STORE, { strict: false });
    this.objects = storedObjects(this.registry.environment);
  }

  async begin(): Promise<void> {
    this.repository = await createRepository(this.registry.ecr);
    this.arn = `arn:aws:ecr:us-east-1:000000000000:repository/${this.repository}`;
    this.image = await pushImage(this.registry.ecr, this.repository, this.repository, ['v1']);
  }

  /** More than a part of the store. */
  large(seed: string): Blob {
    return layer(6 * MEBIBYTE, `${this.store} ${seed}`);
  }

  rowOf({ digest }: Blob) {
    return this.registry.prisma.blob.findUniqueOrThrow({ where: { sha256: digest.slice(7) } });
  }

  async stagedOf(id: string): Promise<StagedBlob> {
    return (await this.registry.prisma.upload.findUniqueOrThrow({ where: { id } })).staged as StagedBlob;
  }

  /** Of a HEAD of the layer. */
  async status({ digest }: Blob): Promise<number> {
    const path = `/v2/${this.repository}/blobs/${digest}`;
    return (await this.registry.fetchOci(path, { method: 'HEAD' })).status;
  }

  collect() {
    return this.registry.app.get(CollectionService, { strict: false }).collect(new AbortController().signal);
  }

  /** For writing to the store past the registry. */
  context(): AppendContext {
    let next = 1;
    return {
      signal: new AbortController().signal,
      takePartNumbers: async (count) => (next += count) - count,
    };
  }

  /** Nothing is wrong, and nothing lies about, however young. */
  async expectClean(): Promise<void> {
    const { findings } = await fsck(this.registry, { impatient: true });
    expect(findings.filter(({ known }) => !known)).toEqual([]);
  }

  /** Pushes the image's layers again, so that the next test begins in order. */
  async heal(): Promise<void> {
    for (const each of [this.image.config, ...this.image.layers])
      await pushLayer(this.registry.ecr, this.repository, each);
    await this.collect();
    await this.expectClean();
    expect(await this.registry.prisma.blob.count({ where: { damagedAt: { not: null } } })).toBe(0);
  }
}

/** Started and thrown away around the tests of this describe. */
export function inspectedRegistry(store: StoreName): InspectedRegistry {
  const at = new InspectedRegistry(store);
  beforeAll(() => at.start());
  afterAll(() => at.registry?.close());
  beforeEach(() => at.begin());
  return at;
}
