import { BLOB_STORE, type BlobStore } from '../../src/blob-store/blob-store.js';
import { CONFIG, type Config } from '../../src/config/config.js';
import { PrismaService } from '../../src/database/prisma.service.js';
import { CollectionMetrics } from '../../src/registry/layers/collection/collection-metrics.js';
import { CollectionRepository } from '../../src/registry/layers/collection/collection.repository.js';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import { ObjectRemoval } from '../../src/registry/layers/collection/object-removal.js';
import { Orphans } from '../../src/registry/layers/collection/orphans.js';
import { ReviewsRepository } from '../../src/registry/layers/collection/reviews.repository.js';
import { type Blob } from './images.js';
import type { TestRegistry } from './registry.js';

/** Never aborted. */
export const running = new AbortController().signal;

/** The collector of a registry under other settings than its own. */
export function collectorWith(registry: TestRegistry, settings: Partial<Config>): CollectionService {
  const { app, prisma } = registry;
  const config = { ...app.get<Config>(CONFIG, { strict: false }), ...settings };
  const store = app.get<BlobStore>(BLOB_STORE, { strict: false });
  const repository = new CollectionRepository(prisma, config);
  return new CollectionService(
    repository,
    new ReviewsRepository(prisma, config),
    new Orphans(repository, store, config),
    app.get(ObjectRemoval, { strict: false }),
    app.get(CollectionMetrics, { strict: false }),
    config,
  );
}

/** The collector for which everything in the store is old. */
export function impatientCollector(registry: TestRegistry): CollectionService {
  return collectorWith(registry, { STOWAGE_ORPHAN_GRACE_HOURS: -1, STOWAGE_UPLOAD_EXPIRY_HOURS: -1 });
}

/** As if so many hours had passed since everything that waits for the collector began to wait. */
export async function age(registry: Pick<TestRegistry, 'prisma'>, hours: number): Promise<void> {
  const { prisma } = registry;
  await prisma.$executeRaw`UPDATE loose_layer SET since = since - make_interval(hours => ${hours}::int)`;
  await prisma.$executeRaw`UPDATE loose_blob SET since = since - make_interval(hours => ${hours}::int)`;
  await prisma.$executeRaw`UPDATE deleted_image SET deleted_at = deleted_at - make_interval(hours => ${hours}::int)`;
  await prisma.$executeRaw`
    UPDATE upload SET created_at = created_at - make_interval(hours => ${hours}::int), touched_at = touched_at - make_interval(hours => ${hours}::int)`;
  await ageDoomed(prisma, hours);
}

/** The same for objects that wait for their removal alone. */
export async function ageDoomed(prisma: PrismaService, hours: number): Promise<void> {
  await prisma.$executeRaw`UPDATE doomed_object SET not_before = not_before - make_interval(hours => ${hours}::int)`;
}

/**
 * Collects, and collects again when even the objects' last waiting time is over, as if hours had passed; nothing else ages.
 */
export async function collectFully(
  registry: TestRegistry,
  service: CollectionService = registry.app.get<CollectionService>(CollectionService, { strict: false }),
): Promise<void> {
  await service.collect(running);
  await ageDoomed(registry.prisma, 2_000);
  await service.collect(running);
}

export async function objectsOf(registry: TestRegistry): Promise<string[]> {
  const keys = [];
  for await (const { key } of registry.app.get<BlobStore>(BLOB_STORE, { strict: false }).objects())
    keys.push(key);
  return keys;
}

/** Where the bytes of a layer are, whoever sees it. */
export async function objectOf(registry: TestRegistry, blob: Blob): Promise<string | undefined> {
  return (await registry.prisma.blob.findUnique({ where: { sha256: blob.digest.slice(7) } }))?.objectKey;
}
