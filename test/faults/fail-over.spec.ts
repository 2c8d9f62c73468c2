import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { DescribeImagesCommand, ImageAlreadyExistsException } from '@aws-sdk/client-ecr';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/database/embedded-postgres.js';
import { type Blob, imageConfig, imageManifest, layer } from '../support/images.js';
import { type PostgresProxy, startPostgresProxy } from '../support/postgres-proxy.js';
import { createRepository, MEBIBYTE, putImage } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';
import { ecrOutcome, type Outcome } from './outcome.js';
import { DOORS, pushPatiently, untilDone } from './push.js';
import { expectNothingLeaked, expectTrue } from './sick-store.js';

const CLIENTS = 4;
const FAIL_OVERS = 3;

describeEachStore('A fail-over of the database', (store) => {
  let folder: string;
  let server: EmbeddedPostgres;
  let proxy: PostgresProxy;
  let registry: TestRegistry;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stowage-failover-'));
    server = await startEmbeddedPostgres(folder);
    proxy = await startPostgresProxy(server.url);
    registry = await startRegistry({ store, embeddedDatabase: true, config: { DATABASE_URL: proxy.url } });
  }, 60_000);
  afterAll(async () => {
    await registry?.close();
    await proxy?.close();
    await server?.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }, 60_000);

  it('under load costs refusals for a while, and nothing that was acknowledged', async () => {
    const load = { over: false };
    const pushed: { repository: string; tag: string; blobs: Blob[]; digest: string }[] = [];
    const repositories: string[] = [];
    for (let client = 0; client < CLIENTS; client += 1)
      repositories.push(await createRepository(registry.ecr));
    let refusals = 0;
    const clients = repositories.map(async (repository, client) => {
      const door = DOORS[client % 2]!;
      for (let n = 0; !load.over; n += 1) {
        const seed = `${store} ${client} ${n}`;
        const blobs = [layer(MEBIBYTE + n, seed), imageConfig(seed)];
        for (const blob of blobs) refusals += await pushPatiently(door, registry, repository, blob);
        const manifest = imageManifest(blobs[1]!, [blobs[0]!]);
        refusals += await untilDone(() => tag(registry, repository, manifest, `v${n}`));
        pushed.push({ repository, tag: `v${n}`, blobs, digest: manifest.digest });
      }
    });
    const ended = Promise.all(clients);
    for (let failOver = 0; failOver < FAIL_OVERS; failOver += 1) {
      const before = pushed.length;
      while (pushed.length < before + CLIENTS) await Promise.race([sleep(20), ended]);
      await server.stop();
      server = await startEmbeddedPostgres(folder);
    }
    load.over = true;
    await ended;
    expect(refusals).toBeGreaterThan(0);
    for (const { repository, tag: imageTag, blobs, digest } of pushed) {
      const described = new DescribeImagesCommand({ repositoryName: repository, imageIds: [{ imageTag }] });
      const { imageDetails } = await registry.ecr.send(described);
      expect(imageDetails![0]!.imageDigest).toBe(digest);
      await expectTrue(registry, repository, ...blobs);
    }
    await expectNothingLeaked(registry);
  }, 120_000);

  it('does not end the jobs', async () => {
    await server.stop();
    server = await startEmbeddedPostgres(folder);
    await untilDone(() => ecrOutcome(createRepository(registry.ecr)));
    const waiting = (): Promise<{ id: string }[]> =>
      registry.prisma.$queryRaw`SELECT id::text FROM graphile_worker.jobs WHERE key = 'after the fail-over'`;
    await registry.prisma
      .$queryRaw`SELECT 1 FROM graphile_worker.add_job('collect-garbage', job_key => 'after the fail-over')`;
    while ((await waiting()).length > 0) await sleep(200);
  }, 60_000);
});

async function tag(
  registry: TestRegistry,
  repository: string,
  manifest: ReturnType<typeof imageManifest>,
  name: string,
): Promise<Outcome> {
  return ecrOutcome(
    putImage(registry.ecr, repository, manifest, name).catch((error: unknown) => {
      // Done by a request whose answer was lost.
      if (!(error instanceof ImageAlreadyExistsException)) throw error;
    }),
  );
}
