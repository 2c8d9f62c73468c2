import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DescribeRepositoriesCommand, ServerException } from '@aws-sdk/client-ecr';
import { imageConfig, imageManifest, layer } from '../support/images.js';
import { createDatabase, type TestDatabase } from '../support/postgres.js';
import {
  beginUpload,
  createRepository,
  MEBIBYTE,
  pushImage,
  pushLayer,
  putImage,
  uploadOf,
} from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { s3IsAvailable, stores } from '../support/stores.js';
import { proxied, type TcpProxy } from '../support/tcp-proxy.js';

const readiness = async (registry: TestRegistry): Promise<[number, unknown]> => {
  const response = await fetch(`${registry.environment.operatorUrl}/readyz`);
  const { checks } = (await response.json()) as { checks: unknown };
  return [response.status, checks];
};

describe('While the database is down, the registry', () => {
  let registry: TestRegistry;
  let database: TestDatabase;
  let proxy: TcpProxy;
  beforeAll(async () => {
    database = await createDatabase();
    const through = await proxied(database.url);
    proxy = through.proxy;
    registry = await startRegistry({
      store: 'filesystem',
      embeddedDatabase: true,
      config: { DATABASE_URL: through.url },
    });
  });
  afterAll(async () => {
    await proxy?.restore();
    await registry?.close();
    await proxy?.close();
    await database?.drop();
  });

  it('refuses with ServerException, records nothing, says it is not ready, and goes on by itself afterwards', async () => {
    const repository = await createRepository(registry.ecr);
    const { bytes, digest } = layer(12 * MEBIBYTE, 'database');
    const half = 6 * MEBIBYTE;
    const upload = await beginUpload(registry.ecr, repository);
    await upload.part(bytes.subarray(0, half), 0);
    const config = imageConfig('database');
    await pushLayer(registry.ecr, repository, config);
    const manifest = imageManifest(config, []);

    await proxy.cut();
    const calls = [
      () => createRepository(registry.ecr, { repositoryName: 'down/here' }),
      () => registry.ecr.send(new DescribeRepositoriesCommand({})),
      () => beginUpload(registry.ecr, repository),
      () => upload.part(bytes.subarray(half), half),
      () => upload.complete(digest),
      () => putImage(registry.ecr, repository, manifest, 'latest'),
    ];
    for (const call of calls) {
      const error = await refusal(call(), ServerException);
      expect(error.$metadata.httpStatusCode).toBe(500);
      expect(error.message).not.toMatch(/prisma|postgres|sql|127\.0\.0\.1|ECONN/i);
    }
    const pull = await registry.fetchOci(`/v2/${repository}/manifests/latest`);
    expect(pull.status).toBe(503);
    expect(pull.headers.get('retry-after')).toMatch(/^[0-9]+$/);
    expect(await pull.json()).toMatchObject({ errors: [{ code: 'UNKNOWN' }] });
    expect(await readiness(registry)).toEqual([503, { database: 'failed', blobStore: 'ok', port: 'ok' }]);
    expect((await fetch(`${registry.environment.operatorUrl}/livez`)).status).toBe(200);
    expect((await fetch(`${registry.environment.operatorUrl}/metrics`)).status).toBe(200);

    await proxy.restore();
    const { repositories } = await registry.ecr.send(new DescribeRepositoriesCommand({}));
    expect(repositories!.map(({ repositoryName }) => repositoryName)).toEqual([repository]);
    expect(await registry.prisma.image.count()).toBe(0);
    expect((await upload.part(bytes.subarray(half), half)).lastByteReceived).toBe(bytes.length - 1);
    expect((await upload.complete(digest)).layerDigest).toBe(digest);
    await putImage(registry.ecr, repository, manifest, 'latest');
    expect((await readiness(registry))[0]).toBe(200);
  });

  it('is not disturbed by connections that broke while they were idle', async () => {
    const repository = await createRepository(registry.ecr);
    await Promise.all(
      Array.from({ length: 8 }, () => registry.ecr.send(new DescribeRepositoriesCommand({}))),
    );
    await proxy.cut();
    // An exchange over another connection: by its end the process has heard of those that broke.
    expect((await fetch(`${registry.environment.operatorUrl}/livez`)).status).toBe(200);
    await proxy.restore();
    await pushImage(registry.ecr, repository, 'after idle', ['v1']);
  });
});

(s3IsAvailable() || process.env['REQUIRE_S3'] === '1' ? describe : describe.skip)(
  `While the S3 store is down${stores().includes('s3') ? '' : ' (no S3 server)'}, the registry`,
  () => {
    let registry: TestRegistry;
    let proxy: TcpProxy;
    beforeAll(async () => {
      const through = await proxied(process.env['STOWAGE_TEST_S3_ENDPOINT']!);
      proxy = through.proxy;
      registry = await startRegistry({ store: 's3', config: { STOWAGE_S3_ENDPOINT: through.url } });
    });
    afterAll(async () => {
      await proxy?.restore();
      await registry?.close();
      await proxy?.close();
    });

    it('refuses parts and completions with ServerException, acknowledges no byte, and goes on by itself afterwards', async () => {
      const repository = await createRepository(registry.ecr);
      const { bytes, digest } = layer(18 * MEBIBYTE, 's3');
      const third = 6 * MEBIBYTE;
      const upload = await beginUpload(registry.ecr, repository);
      await upload.part(bytes.subarray(0, third), 0);
      const small = layer(100, 'small');
      const smallUpload = await beginUpload(registry.ecr, repository);
      await smallUpload.part(small.bytes, 0);

      await proxy.cut();
      const retried = upload.part(bytes.subarray(third, 2 * third), third);
      expect((await refusal(retried, ServerException)).$metadata.httpStatusCode).toBe(500);
      await refusal(upload.complete(digest), Error);
      await refusal(smallUpload.complete(small.digest), ServerException);
      const stream = await registry.fetchOci(`/v2/${repository}/blobs/uploads/${upload.id}`, {
        method: 'PATCH',
        body: new Uint8Array(bytes.subarray(third)),
      });
      expect(stream.status).toBe(503);
      const status = await registry.fetchOci(`/v2/${repository}/blobs/uploads/${upload.id}`);
      expect(status.headers.get('range')).toBe(`0-${third - 1}`);
      // Metadata is served on, so nobody should be sent elsewhere, where the store is down as well.
      expect(await readiness(registry)).toEqual([200, { database: 'ok', blobStore: 'failed', port: 'ok' }]);

      await proxy.restore();
      expect(await readiness(registry)).toEqual([200, { database: 'ok', blobStore: 'ok', port: 'ok' }]);
      for (const first of [third, 2 * third])
        await uploadOf(registry.ecr, repository, upload.id).part(bytes.subarray(first, first + third), first);
      expect((await upload.complete(digest)).layerDigest).toBe(digest);
      expect((await smallUpload.complete(small.digest)).layerDigest).toBe(small.digest);
      const pulled = await registry.fetchOci(`/v2/${repository}/blobs/${digest}`);
      expect(Buffer.from(await pulled.arrayBuffer()).equals(bytes)).toBe(true);
    });
  },
);
