import { afterEach, expect, it } from '@jest/globals';
import { DescribeRepositoriesCommand, DescribeImagesCommand } from '@aws-sdk/client-ecr';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Blob, blobOf, layer, MEDIA_TYPES } from '../support/images.js';
import { runProgram } from '../support/programs.js';
import {
  beginUpload,
  createRepository,
  MEBIBYTE,
  type PushedImage,
  pushImage,
  uploadOf,
} from '../support/pushes.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';
import { describeEachStore } from '../support/stores.js';
import { beginOciUpload, crash, ociFinish, ociOffset, ociPatch, streamPatch, within } from './crash.js';

/** A dead request holds its upload for 15 seconds. */
const PATIENCE_MS = 120_000;

let registry: RegistryProcess;

afterEach(() => registry?.close());

interface Acknowledged {
  repository: string;
  tag: string;
  image: PushedImage;
}

describeEachStore('a registry with the embedded database', (store) => {
  const start = async (config: Record<string, string> = {}): Promise<void> => {
    registry = await startRegistryProcess({ store, embeddedDatabase: true, config });
  };

  it(
    'has everything it acknowledged after kill -9 of service and database under load',
    async () => {
      await start();
      const created: string[] = [];
      const acknowledged: Acknowledged[] = [];
      for (let round = 1; round <= 3; round += 1) {
        let over = false;
        const load = [1, 2, 3].map(async (worker) => {
          const repository = `round-${round}/worker-${worker}`;
          created.push(await createRepository(registry.ecr, { repositoryName: repository }));
          for (let n = 1; ; n += 1) {
            const tag = `v${n}`;
            const image = await pushImage(registry.ecr, repository, `${repository} ${tag}`, [tag]);
            if (over) return;
            acknowledged.push({ repository, tag, image });
          }
        });
        const ended = Promise.allSettled(load);
        const known = acknowledged.length;
        await within(20_000, () => acknowledged.length >= known + 6);
        await crash(registry);
        over = true;
        expect((await ended).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
        await registry.restart();
        await expectAll(acknowledged);
      }
      const { repositories } = await registry.ecr.send(new DescribeRepositoriesCommand({}));
      const names = repositories!.map(({ repositoryName }) => repositoryName!);
      expect(names).toEqual(expect.arrayContaining(created));
    },
    PATIENCE_MS,
  );

  it(
    'continues uploads from the acknowledged byte after kill -9, at both doors',
    async () => {
      await start();
      const repository = await createRepository(registry.ecr);
      const blob = layer(23 * MEBIBYTE + 17, `crash ${store}`);
      const other = layer(12 * MEBIBYTE + 1, `crash ${store} oci`);
      const streamed = layer(40 * MEBIBYTE, `crash ${store} streamed`);

      const ecr = await beginUpload(registry.ecr, repository);
      await ecr.part(blob.bytes.subarray(0, 10 * MEBIBYTE), 0);
      await ecr.part(blob.bytes.subarray(10 * MEBIBYTE, 20 * MEBIBYTE), 10 * MEBIBYTE);
      // Neither chunk is long enough for a part of an S3 upload: the bytes are kept elsewhere until there are more.
      const oci = await beginOciUpload(registry, repository);
      expect(await ociPatch(registry, oci, other.bytes.subarray(0, 3_000_000), 0)).toBe(202);
      expect(await ociPatch(registry, oci, other.bytes.subarray(3_000_000, 4_000_000), 3_000_000)).toBe(202);
      const inTheMiddle = await beginOciUpload(registry, repository);
      const first = 6 * MEBIBYTE;
      expect(await ociPatch(registry, inTheMiddle, streamed.bytes.subarray(0, first), 0)).toBe(202);
      const patch = streamPatch(registry, inTheMiddle);
      await patch.write(streamed.bytes.subarray(first, first + 25 * MEBIBYTE));

      await crash(registry);
      expect(await patch.outcome).toMatch(/ECONNRESET|EPIPE/);
      await registry.restart();

      const again = uploadOf(registry.ecr, repository, ecr.id);
      // A client that did not see the answer sends the part once more.
      await again.part(blob.bytes.subarray(10 * MEBIBYTE, 20 * MEBIBYTE), 10 * MEBIBYTE);
      await again.part(blob.bytes.subarray(20 * MEBIBYTE), 20 * MEBIBYTE);
      expect((await again.complete(blob.digest)).layerDigest).toBe(blob.digest);

      expect(await ociOffset(registry, oci)).toBe(4_000_000);
      expect(await ociPatch(registry, oci, other.bytes.subarray(4_000_000), 4_000_000)).toBe(202);
      expect(await ociFinish(registry, oci, other.digest)).toBe(other.digest);

      const offset = await ociOffset(registry, inTheMiddle);
      expect(offset).toBe(first);
      expect(await ociPatch(registry, inTheMiddle, streamed.bytes.subarray(offset), offset)).toBe(202);
      expect(await ociFinish(registry, inTheMiddle, streamed.digest)).toBe(streamed.digest);

      for (const stored of [blob, other, streamed]) await expectLayer(repository, stored);
    },
    PATIENCE_MS,
  );

  it(
    'refuses a wrong digest after kill -9 although the running hash is lost',
    async () => {
      await start();
      const repository = await createRepository(registry.ecr);
      const blob = layer(11 * MEBIBYTE, `lost hash ${store}`);
      const upload = await beginUpload(registry.ecr, repository);
      await upload.part(blob.bytes.subarray(0, 10 * MEBIBYTE), 0);
      await crash(registry);
      await registry.restart();
      const again = uploadOf(registry.ecr, repository, upload.id);
      await again.part(blob.bytes.subarray(10 * MEBIBYTE), 10 * MEBIBYTE);
      const wrong = layer(1, 'another').digest;
      await expect(again.complete(wrong)).rejects.toThrow('None of the provided layer digests match');
      expect((await again.complete(blob.digest)).layerDigest).toBe(blob.digest);
      await expectLayer(repository, blob);
    },
    PATIENCE_MS,
  );

  it(
    'lets a running push finish on SIGTERM and ends with 0',
    async () => {
      await start();
      const repository = await createRepository(registry.ecr);
      const blob = layer(20 * MEBIBYTE, `sigterm ${store}`);
      const path = await beginOciUpload(registry, repository);
      const patch = streamPatch(registry, path);
      await patch.write(blob.bytes.subarray(0, 8 * MEBIBYTE));
      await sleep(200);
      const ended = registry.kill('SIGTERM');
      await within(5_000, async () => !(await isListening()));
      await patch.write(blob.bytes.subarray(8 * MEBIBYTE));
      patch.end();
      expect(await patch.outcome).toBe(202);
      const answered = Date.now();
      expect(await ended).toBe(0);
      // The connection that is kept alive does not hold it up.
      expect(Date.now() - answered).toBeLessThan(3_000);
      expect(existsSync(join(registry.environment.dataDir, 'postgres/data/postmaster.pid'))).toBe(false);
      await registry.restart();
      expect(await ociOffset(registry, path)).toBe(blob.size);
      expect(await ociFinish(registry, path, blob.digest)).toBe(blob.digest);
      await expectLayer(repository, blob);
    },
    PATIENCE_MS,
  );

  it(
    'cuts a push that does not end on SIGTERM, keeps what was acknowledged and ends with 0',
    async () => {
      await start({ STOWAGE_SHUTDOWN_SECONDS: '1' });
      const repository = await createRepository(registry.ecr);
      const blob = layer(16 * MEBIBYTE, `sigterm cut ${store}`);
      const path = await beginOciUpload(registry, repository);
      expect(await ociPatch(registry, path, blob.bytes.subarray(0, 7 * MEBIBYTE), 0)).toBe(202);
      const patch = streamPatch(registry, path);
      await patch.write(blob.bytes.subarray(7 * MEBIBYTE, 15 * MEBIBYTE));
      await sleep(200);
      const began = Date.now();
      expect(await registry.kill('SIGTERM')).toBe(0);
      expect(Date.now() - began).toBeLessThan(10_000);
      expect(await patch.outcome).not.toBe(202);
      await registry.restart();
      const restarted = Date.now();
      const offset = await ociOffset(registry, path);
      expect(offset).toBe(7 * MEBIBYTE);
      expect(await ociPatch(registry, path, blob.bytes.subarray(offset), offset)).toBe(202);
      // It was given free in order: nobody waits for a lease to run out.
      expect(Date.now() - restarted).toBeLessThan(5_000);
      expect(await ociFinish(registry, path, blob.digest)).toBe(blob.digest);
    },
    PATIENCE_MS,
  );
});

it(
  'tells a second npm start on the same data folder that there is a first one, and fails it',
  async () => {
    registry = await startRegistryProcess({ store: 'filesystem', embeddedDatabase: true });
    const settings = { ...registry.environment.settings, STOWAGE_PORT: '0', STOWAGE_OPERATOR_PORT: '0' };
    const second = runProgram('npm', ['start'], { env: settings });
    await expect(second).rejects.toThrow('Another process is already serving the data folder');
    await expect(second).rejects.toMatchObject({ cause: { code: 1 } });
    await registry.ecr.send(new DescribeRepositoriesCommand({}));
  },
  PATIENCE_MS,
);

async function expectAll(acknowledged: Acknowledged[]): Promise<void> {
  for (const { repository, tag, image } of acknowledged) {
    const { imageDetails } = await registry.ecr.send(
      new DescribeImagesCommand({ repositoryName: repository, imageIds: [{ imageTag: tag }] }),
    );
    expect(imageDetails).toMatchObject([{ imageDigest: image.manifest.digest }]);
    const accept = Object.values(MEDIA_TYPES).join();
    const response = await registry.fetchOci(`/v2/${repository}/manifests/${tag}`, { headers: { accept } });
    expect(await response.text()).toBe(image.manifest.text);
    for (const blob of [image.config, ...image.layers]) await expectLayer(repository, blob);
  }
}

async function expectLayer(repository: string, { digest }: Blob): Promise<void> {
  const response = await registry.fetchOci(`/v2/${repository}/blobs/${digest}`);
  expect(response.status).toBe(200);
  expect(blobOf(Buffer.from(await response.arrayBuffer())).digest).toBe(digest);
}

function isListening(): Promise<boolean> {
  return fetch(registry.url).then(
    () => true,
    () => false,
  );
}
