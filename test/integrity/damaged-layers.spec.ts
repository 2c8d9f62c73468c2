import { afterAll, beforeAll, expect, it } from '@jest/globals';
import {
  BatchCheckLayerAvailabilityCommand,
  DescribeImagesCommand,
  GetDownloadUrlForLayerCommand,
  LayersNotFoundException,
} from '@aws-sdk/client-ecr';
import { CollectionService } from '../../src/registry/layers/collection/collection.service.js';
import { type Blob, imageConfig, imageManifest, layer } from '../support/images.js';
import {
  beginUpload,
  createRepository,
  MEBIBYTE,
  pushImage,
  pushLayer,
  putImage,
} from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { flipped, type StoredObjects, storedObjects } from '../support/stored-objects.js';
import { describeEachStore } from '../support/stores.js';
import { pull } from '../support/upload-doors.js';

describeEachStore('A layer that was found damaged', (store) => {
  let registry: TestRegistry;
  let objects: StoredObjects;
  beforeAll(async () => {
    registry = await startRegistry({
      store,
      config: { STOWAGE_ROLE: 'api', STOWAGE_BLOB_DELIVERY: 'stream' },
    });
    objects = storedObjects(registry.environment);
  });
  afterAll(() => registry?.close());

  const rowOf = ({ digest }: Blob) =>
    registry.prisma.blob.findUniqueOrThrow({ where: { sha256: digest.slice(7) } });
  const damage = (blob: Blob): Promise<number> =>
    registry.prisma.$executeRaw`UPDATE blob SET damaged_at = now() WHERE sha256 = ${blob.digest.slice(7)}`;
  const availability = async (repositoryName: string, blob: Blob) => {
    const { layers, failures } = await registry.ecr.send(
      new BatchCheckLayerAvailabilityCommand({ repositoryName, layerDigests: [blob.digest] }),
    );
    return layers![0]?.layerAvailability ?? failures![0]!.failureCode;
  };
  const head = async (repository: string, blob: Blob): Promise<number> =>
    (await registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`, { method: 'HEAD' })).status;

  it('is served at neither door, while its image is still listed', async () => {
    const repositoryName = await createRepository(registry.ecr);
    const image = await pushImage(registry.ecr, repositoryName, `${store} hidden`, ['v1']);
    const blob = image.layers[0]!;
    await damage(blob);
    const got = await registry.fetchOci(`/v2/${repositoryName}/blobs/${blob.digest}`);
    expect(got.status).toBe(404);
    expect(await got.json()).toMatchObject({ errors: [{ code: 'BLOB_UNKNOWN' }] });
    expect(await head(repositoryName, blob)).toBe(404);
    expect(await availability(repositoryName, blob)).toBe('MissingLayerDigest');
    await refusal(
      registry.ecr.send(new GetDownloadUrlForLayerCommand({ repositoryName, layerDigest: blob.digest })),
      LayersNotFoundException,
    );
    const { imageDetails } = await registry.ecr.send(new DescribeImagesCommand({ repositoryName }));
    expect(imageDetails!.map(({ imageDigest }) => imageDigest)).toEqual([image.manifest.digest]);
    expect((await registry.fetchOci(`/v2/${repositoryName}/manifests/v1`)).status).toBe(200);
  });

  it('is not mounted, and no manifest can be pushed that needs it', async () => {
    const [from, to] = [await createRepository(registry.ecr), await createRepository(registry.ecr)];
    const [blob, config] = [layer(3_000, `${store} mount`), imageConfig(`${store} mount`)];
    for (const each of [blob, config]) await pushLayer(registry.ecr, from, each);
    await damage(blob);
    const mount = await registry.fetchOci(`/v2/${to}/blobs/uploads/?mount=${blob.digest}&from=${from}`, {
      method: 'POST',
    });
    expect(mount.status).toBe(202);
    const manifest = imageManifest(config, [blob]);
    const push = (): Promise<Response> =>
      registry.fetchOci(`/v2/${from}/manifests/v1`, {
        method: 'PUT',
        headers: { 'content-type': manifest.mediaType },
        body: manifest.text,
      });
    const refused = await push();
    expect(refused.status).toBe(404);
    expect(await refused.json()).toMatchObject({ errors: [{ code: 'MANIFEST_BLOB_UNKNOWN' }] });
    await pushLayer(registry.ecr, from, blob);
    expect((await push()).status).toBe(201);
  });

  it.each(['ECR', 'OCI'])(
    'is whole again in every repository once it is pushed to one of them at the %s door',
    async (door) => {
      const names = [await createRepository(registry.ecr), await createRepository(registry.ecr)];
      const image = await pushImage(registry.ecr, names[0]!, `${store} ${door}`, ['v1']);
      const blob = image.layers[0]!;
      await pushLayer(registry.ecr, names[1]!, blob);
      const before = await rowOf(blob);
      await objects.change(before.objectKey, flipped);
      await damage(blob);
      // Pushed to the one that did not hold the image.
      if (door === 'ECR') {
        const upload = await beginUpload(registry.ecr, names[1]!);
        await upload.part(blob.bytes, 0);
        expect((await upload.complete(blob.digest)).layerDigest).toBe(blob.digest);
      } else {
        const path = `/v2/${names[1]}/blobs/uploads/?digest=${blob.digest}`;
        const put = await registry.fetchOci(path, { method: 'POST', body: new Uint8Array(blob.bytes) });
        expect(put.status).toBe(201);
      }
      for (const name of names) {
        expect((await pull(registry, name, blob)).equals(blob.bytes)).toBe(true);
        expect(await availability(name, blob)).toBe('AVAILABLE');
      }
      const after = await rowOf(blob);
      expect(after).toMatchObject({ id: before.id, damagedAt: null });
      expect(after.objectKey).not.toBe(before.objectKey);
      expect(after.verifiedAt.getTime()).toBeGreaterThanOrEqual(before.verifiedAt.getTime());
      const doomed = await registry.prisma.doomedObject.findMany({ where: { objectKey: before.objectKey } });
      expect(doomed).toHaveLength(1);
      await registry.app.get(CollectionService, { strict: false }).collect(new AbortController().signal);
      await expect(objects.read(before.objectKey)).rejects.toThrow();
      await expectExactCounters(registry.prisma);
    },
  );

  it('gets one new object, however many push it at once', async () => {
    const repositories = await Promise.all(Array.from({ length: 4 }, () => createRepository(registry.ecr)));
    const blob = layer(6 * MEBIBYTE, `${store} at once`);
    for (const name of repositories) await pushLayer(registry.ecr, name, blob);
    const before = await rowOf(blob);
    await objects.remove(before.objectKey);
    await damage(blob);
    await Promise.all(repositories.map((name) => pushLayer(registry.ecr, name, blob)));
    for (const name of repositories) expect((await pull(registry, name, blob)).equals(blob.bytes)).toBe(true);
    await registry.app.get(CollectionService, { strict: false }).collect(new AbortController().signal);
    for (const name of repositories) expect((await pull(registry, name, blob)).equals(blob.bytes)).toBe(true);
    expect(await registry.prisma.doomedObject.count()).toBe(0);
    await expectExactCounters(registry.prisma);
  });

  it('is not served by a download URL that was given out before', async () => {
    const repositoryName = await createRepository(registry.ecr);
    const image = await pushImage(registry.ecr, repositoryName, `${store} url`, ['v1']);
    const blob = image.layers[0]!;
    const { downloadUrl } = await registry.ecr.send(
      new GetDownloadUrlForLayerCommand({ repositoryName, layerDigest: blob.digest }),
    );
    const { objectKey } = await rowOf(blob);
    expect(Buffer.from(await (await fetch(downloadUrl!)).arrayBuffer()).equals(blob.bytes)).toBe(true);
    await objects.change(objectKey, flipped);
    await damage(blob);
    expect((await fetch(downloadUrl!)).status).toBe(404);
    // The damaged object is still there, until the collector comes.
    await pushLayer(registry.ecr, repositoryName, blob);
    expect(await objects.read(objectKey)).toHaveLength(blob.size);
    expect((await fetch(downloadUrl!)).status).toBe(404);
    await putImage(registry.ecr, repositoryName, image.manifest, 'v2');
  });

  it('ends the connection, and confuses no other answer, where its size is another and nobody has found out yet', async () => {
    const repository = await createRepository(registry.ecr);
    const changes: Record<string, (bytes: Buffer) => Buffer> = {
      shorter: (bytes) => bytes.subarray(0, bytes.length - 1),
      longer: (bytes) => Buffer.concat([bytes, Buffer.from('more')]),
      empty: () => Buffer.alloc(0),
    };
    for (const [name, change] of Object.entries(changes))
      for (const size of [1_000, 3 * MEBIBYTE]) {
        const blob = layer(size, `${store} ${name} ${size}`);
        await pushLayer(registry.ecr, repository, blob);
        await objects.change((await rowOf(blob)).objectKey, change);
        const whole = await pull(registry, repository, blob).catch(() => null);
        // More bytes than recorded may show only when those that were asked for are out.
        if (name === 'longer') expect(whole === null || whole.equals(blob.bytes)).toBe(true);
        else expect(whole).toBeNull();
        const range = { headers: { range: `bytes=10-${size - 1}` } };
        const part = await registry
          .fetchOci(`/v2/${repository}/blobs/${blob.digest}`, range)
          .catch(() => null);
        // What lies within the recorded size is there when only more follows; an object may be refused for its size alone.
        const served = part?.status === 206 ? await part.arrayBuffer().catch(() => null) : null;
        expect([null, ...(name === 'longer' ? [size - 10] : [])]).toContain(served?.byteLength ?? null);
        expect((await registry.fetchOci('/v2/')).status).toBe(200);
      }
  });
});
