import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { type Blob, imageConfig, imageManifest, layer, type Manifest } from '../support/images.js';
import { describeWhere } from '../support/programs.js';
import { createRepository, MEBIBYTE, pushLayer, putImage } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { slices, streamed } from './stream.js';
import { between, type CountingMinio, startCountingMinio } from './minio.js';

const LAYERS = 5;
const LAYER_BYTES = 32 * MEBIBYTE;

describeWhere(
  Boolean(process.env['STOWAGE_TEST_MINIO']),
  'the cost of a push at the S3 store',
  'a MinIO of its own',
  () => {
    let minio: CountingMinio;
    let registry: TestRegistry;

    beforeAll(async () => {
      minio = await startCountingMinio();
      registry = await startRegistry({
        store: 'filesystem',
        config: { ...minio.settings, STOWAGE_ROLE: 'api' },
      });
    }, 90_000);

    afterAll(async () => {
      await registry?.close();
      await minio?.stop();
    });

    it.each([
      // Per layer: begin, two parts of 16 MiB, complete; the config is one PutObject.
      ['docker push', 30, dockerPush],
      // Per layer: begin, one part of S3 for each UploadLayerPart of 10 MiB, the rest of 2 MiB, complete.
      ['a push by the ECR operations', 36, ecrPush],
    ] as const)(
      '%s of 5 layers of 32 MiB takes at most %i requests, and each byte goes once and never back',
      async (name, most, push) => {
        const repository = await createRepository(registry.ecr);
        const layers = Array.from({ length: LAYERS }, (_, n) => layer(LAYER_BYTES, `${name} ${n}`));
        const config = imageConfig(name);
        const before = await minio.counters();
        await push(registry, repository, [...layers, config], imageManifest(config, layers));
        const cost = between(before, await minio.counters());
        const pushed = LAYERS * LAYER_BYTES + config.size;
        const perByte = (cost.receivedBytes / pushed).toFixed(4);
        process.stdout.write(
          `S3 cost of ${name}: ${cost.total} requests ${JSON.stringify(cost.requests)}, ` +
            `${perByte} bytes written per byte, ${cost.sentBytes} bytes read\n`,
        );
        expect(cost.total).toBeLessThanOrEqual(most);
        // Fewer would mean that the counters were not those of this push.
        expect(cost.total).toBeGreaterThan(LAYERS * 3);
        expect(cost.receivedBytes / pushed).toBeLessThanOrEqual(1.01);
        expect(cost.receivedBytes).toBeGreaterThanOrEqual(pushed);
        expect(Object.keys(cost.requests).filter((api) => /get|head|copy/i.test(api))).toEqual([]);
        // The answers' own XML, and nothing of the layers.
        expect(cost.sentBytes).toBeLessThan(100_000);
      },
      90_000,
    );
  },
);

/** All layers at once, each by POST, one streamed PATCH of unknown length, and an empty PUT. */
async function dockerPush(
  registry: TestRegistry,
  repository: string,
  blobs: Blob[],
  manifest: Manifest,
): Promise<void> {
  await Promise.all(
    blobs.map(async ({ bytes, digest }) => {
      const begun = await registry.fetchOci(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
      const location = begun.headers.get('location')!;
      const patched = await registry.fetchOci(location, { method: 'PATCH', body: streamed(slices(bytes)) });
      expect(patched.status).toBe(202);
      const put = await registry.fetchOci(`${location}?digest=${digest}`, { method: 'PUT' });
      expect(put.status).toBe(201);
    }),
  );
  const put = await registry.fetchOci(`/v2/${repository}/manifests/latest`, {
    method: 'PUT',
    headers: { 'content-type': manifest.mediaType },
    body: manifest.text,
  });
  expect(put.status).toBe(201);
}

async function ecrPush(
  registry: TestRegistry,
  repository: string,
  blobs: Blob[],
  manifest: Manifest,
): Promise<void> {
  await Promise.all(blobs.map((blob) => pushLayer(registry.ecr, repository, blob)));
  await putImage(registry.ecr, repository, manifest, 'latest');
}
