import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { imageManifest } from '../support/images.js';
import { requiredEnvironment } from '../support/postgres.js';
import { describeWhere } from '../support/programs.js';
import { createRepository, pushLayersOfImage, putImage } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { type S3Proxy, startS3Proxy } from '../support/s3-proxy.js';
import { s3IsAvailable } from '../support/stores.js';
import type { Stage } from './operation.js';
import { OPERATIONS } from './operations.js';
import { askedDuring } from './statements.js';

const IMAGES = 120;

describeWhere(
  s3IsAvailable(),
  'the cost of an operation',
  'an S3 server',
  () => {
    let store: S3Proxy;
    let registry: TestRegistry;
    let stage: Stage;

    beforeAll(async () => {
      store = await startS3Proxy(requiredEnvironment('STOWAGE_TEST_S3_ENDPOINT'));
      registry = await startRegistry({
        store: 's3',
        config: { STOWAGE_S3_ENDPOINT: store.url, STOWAGE_ROLE: 'api' },
      });
      stage = await prepared(registry);
    }, 60_000);

    afterAll(async () => {
      await registry?.close();
      await store?.close();
    });

    it.each(
      OPERATIONS.map(({ name, statements, transactions = 0, store: requests = [], prepare }) => ({
        name,
        prepare,
        cost: { statements, rest: { transactions, requests } },
        inWords: `statements ${statements}, transactions ${transactions}, requests to the store ${requests.length}`,
      })),
    )('$name: $inWords', async ({ cost, prepare }) => {
      // What is asked once per process or of a row nobody pulled yet does not count.
      await (
        await prepare(stage)
      )();
      const run = await prepare(stage);
      store.forget();
      const { statements, transactions } = await askedDuring(run);
      expect(statements).toHaveLength(cost.statements);
      expect({ transactions, requests: store.requests }).toEqual(cost.rest);
    });
  },
  'REQUIRE_S3',
);

async function prepared(registry: TestRegistry): Promise<Stage> {
  const repository = await createRepository(registry.ecr);
  const other = await createRepository(registry.ecr);
  const images = [];
  for (let index = 0; index < IMAGES; index += 1) {
    const image = await pushLayersOfImage(registry.ecr, repository, `image ${index}`);
    const manifest = imageManifest(image.config, image.layers);
    await putImage(registry.ecr, repository, manifest, `v${index}`);
    images.push(image);
  }
  return { registry, repository, other, images };
}
