import { expect } from '@jest/globals';
import type { PrismaService } from '../../src/database/prisma.service.js';

interface Counted {
  name: string;
  images: bigint;
  uploads: bigint;
  bytes: bigint;
}

/** Every counter the quotas are held against is what the rows themselves amount to. */
export async function expectExactCounters(prisma: PrismaService): Promise<void> {
  const counters = await prisma.$queryRaw<Counted[]>`
    SELECT name, counted_in_repository(id, 'images') AS images, counted_in_repository(id, 'uploads') AS uploads,
      counted_in_repository(id, 'bytes') AS bytes FROM repository ORDER BY id`;
  const recounted = await prisma.$queryRaw<Counted[]>`
    SELECT r.name, (SELECT count(*) FROM image i WHERE i.repository_id = r.id) AS images,
      (SELECT count(*) FROM upload u WHERE u.repository_id = r.id AND u.state = 'open') AS uploads,
      (SELECT coalesce(sum(b.size_bytes), 0)::bigint FROM repository_layer l JOIN blob b ON b.id = l.blob_id WHERE l.repository_id = r.id) AS bytes
    FROM repository r ORDER BY r.id`;
  expect(counters).toEqual(recounted);
  const wrong = await prisma.$queryRaw<unknown[]>`
    SELECT g.region, g.repository_count FROM registry g
    WHERE g.repository_count <> (SELECT count(*) FROM repository r WHERE r.registry_id = g.id)`;
  expect(wrong).toEqual([]);
}

/** What the registry itself counts in one repository. */
export async function countedIn(
  prisma: PrismaService,
  repositoryName: string,
  what: 'images' | 'bytes' | 'uploads',
): Promise<number> {
  const [row] = await prisma.$queryRaw<{ counted: bigint }[]>`
    SELECT counted_in_repository(id, ${what}) AS counted FROM repository WHERE name = ${repositoryName}`;
  return Number(row!.counted);
}
