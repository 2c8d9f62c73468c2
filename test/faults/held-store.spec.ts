import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import {
  BatchCheckLayerAvailabilityCommand,
  BatchGetImageCommand,
  DescribeImagesCommand,
  DescribeRepositoriesCommand,
  GetAuthorizationTokenCommand,
  GetDownloadUrlForLayerCommand,
  ListImagesCommand,
} from '@aws-sdk/client-ecr';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Blob, layer } from '../support/images.js';
import {
  createRepository,
  MEBIBYTE,
  type PushedImage,
  pushImage,
  pushLayersOfImage,
  putImage,
} from '../support/pushes.js';
import { INTERNAL_ERROR } from '../support/s3-operations.js';
import type { Steps } from './outcome.js';
import { DOORS, pushPatiently, stepsAt } from './push.js';
import { describeSickStore, expectTrue, type SickStore, startOnSickStore } from './sick-store.js';

describeSickStore('While the store holds every request, the registry', () => {
  let sick: SickStore;
  let repositoryName: string;
  let image: PushedImage;
  beforeAll(async () => {
    // Room for few uploads only, so that most of those below wait for others to end.
    sick = await startOnSickStore({
      STOWAGE_MAX_BYTES_IN_FLIGHT: String(64 * MEBIBYTE),
      STOWAGE_DATABASE_CONNECTIONS: '4',
    });
    repositoryName = await createRepository(sick.registry.ecr);
    image = await pushImage(sick.registry.ecr, repositoryName, 'held', ['v1']);
  });
  afterEach(() => sick.store.heal());
  afterAll(() => sick?.close());

  it('answers everything that is asked of metadata, and puts images', async () => {
    const { registry, store } = sick;
    const blobs = Array.from({ length: 24 }, (_, n) => layer(12 * MEBIBYTE + n, `held ${n}`));
    const small = await pushLayersOfImage(registry.ecr, repositoryName, 'held and put');
    store.on('*', { hold: true }, { times: Infinity });
    const pushes = blobs.map((blob, n) =>
      pushPatiently(DOORS[n % 2]!, registry, repositoryName, blob, blob.size),
    );
    while (store.held < 3) await sleep(10);

    const path = `/v2/${repositoryName}`;
    const [first] = image.layers;
    const imageIds = [{ imageTag: 'v1' }];
    const layerDigests = [first!.digest];
    const { ecr } = registry;
    const found = await Promise.all([
      ecr.send(new DescribeRepositoriesCommand({ repositoryNames: [repositoryName] })),
      ecr.send(new DescribeImagesCommand({ repositoryName, imageIds })),
      ecr.send(new ListImagesCommand({ repositoryName })),
      ecr.send(new BatchGetImageCommand({ repositoryName, imageIds })),
      ecr.send(new BatchCheckLayerAvailabilityCommand({ repositoryName, layerDigests })),
      ecr.send(new GetDownloadUrlForLayerCommand({ repositoryName, layerDigest: first!.digest })),
      ecr.send(new GetAuthorizationTokenCommand({})),
    ]);
    expect(found.map(({ $metadata }) => $metadata.httpStatusCode)).toEqual(Array(7).fill(200));
    const answers = await Promise.all(
      [
        ['GET', '/v2/'],
        ['GET', '/v2/_catalog'],
        ['GET', `${path}/tags/list`],
        ['GET', `${path}/manifests/v1`],
        ['HEAD', `${path}/manifests/v1`],
        ['GET', `${path}/referrers/${image.manifest.digest}`],
        ['HEAD', `${path}/blobs/${first!.digest}`],
        ['GET', `${path}/blobs/${first!.digest}`], // the way to the store, which the client goes itself
      ].map(async ([method, url]) => {
        const response = await registry.fetchOci(url!, { method: method!, redirect: 'manual' });
        await response.arrayBuffer();
        return response.status;
      }),
    );
    expect(answers).toEqual([200, 200, 200, 200, 200, 200, 200, 307]);
    await putImage(ecr, repositoryName, small.manifest, 'put-meanwhile');
    // A balancer goes on sending requests here.
    const ready = await fetch(`${registry.environment.operatorUrl}/readyz`);
    expect([ready.status, await ready.json()]).toMatchObject([200, { checks: { blobStore: 'failed' } }]);
    // All of that while the store answered nobody.
    expect(store.held).toBeGreaterThanOrEqual(3);

    store.heal();
    await Promise.all(pushes);
    await expectTrue(registry, repositoryName, ...blobs);
  }, 120_000);

  it('asks a store that is down only as often as it must', async () => {
    const { registry, store } = sick;
    const REQUESTS = 60;
    const uploads: { blob: Blob; steps: Steps }[] = [];
    for (let n = 0; n < 2 * REQUESTS; n += 1) {
      const blob = layer(500 + n, `down ${n}`);
      const steps = stepsAt(DOORS[n % 2]!, registry, repositoryName);
      await steps.begin();
      await steps.append(blob.bytes, 0);
      uploads.push({ blob, steps });
    }
    store.on('*', INTERNAL_ERROR, { times: Infinity });
    const completeAll = async (some: typeof uploads): Promise<number> => {
      store.forget();
      const outcomes = await Promise.all(some.map(({ blob, steps }) => steps.complete(blob.digest)));
      expect(new Set(outcomes)).toEqual(new Set(['retry later']));
      return store.requests.filter((operation) => operation === 'PutObject').length;
    };
    // Fifty repetitions are all that is left to all of them together; then each is sent once.
    const first = await completeAll(uploads.slice(0, REQUESTS));
    expect(first).toBeGreaterThan(REQUESTS);
    expect(first).toBeLessThanOrEqual(REQUESTS + 50);
    expect(await completeAll(uploads.slice(REQUESTS))).toBe(REQUESTS);
    store.heal();
    for (const { blob, steps } of uploads) expect(await steps.complete(blob.digest)).toBe('done');
    await expectTrue(registry, repositoryName, ...uploads.slice(0, 3).map(({ blob }) => blob));
  }, 60_000);
});
