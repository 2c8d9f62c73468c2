import { afterAll, beforeAll, expect, it } from '@jest/globals';
import {
  BatchCheckLayerAvailabilityCommand,
  BatchDeleteImageCommand,
  GetDownloadUrlForLayerCommand,
  InvalidParameterException,
  LayerInaccessibleException,
  LayersNotFoundException,
  RepositoryNotFoundException,
} from '@aws-sdk/client-ecr';
import { SignedUrls } from '../../src/identity/signed-urls.js';
import { imageConfig, imageManifest, layer, MEDIA_TYPES } from '../support/images.js';
import {
  beginUpload,
  createRepository,
  MEBIBYTE,
  pushImage,
  pushLayer,
  putImage,
} from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { describeEachStore, type StoreName } from '../support/stores.js';

const ACCOUNT = '000000000000';

describeEachStore('A pushed layer', (store) => {
  let registry: TestRegistry;
  let repository: string;
  beforeAll(async () => {
    registry = await startRegistry({ store });
    repository = await createRepository(registry.ecr);
  });
  afterAll(() => registry?.close());

  const check = (layerDigests: string[], repositoryName = repository) =>
    registry.ecr.send(new BatchCheckLayerAvailabilityCommand({ repositoryName, layerDigests }));
  const urlOf = async (layerDigest: string, repositoryName = repository): Promise<string> =>
    (await registry.ecr.send(new GetDownloadUrlForLayerCommand({ repositoryName, layerDigest })))
      .downloadUrl!;

  it('is available from the moment its upload is complete, and not before', async () => {
    const { bytes, digest } = layer(6 * MEBIBYTE, 'flips');
    const upload = await beginUpload(registry.ecr, repository);
    const missing = {
      layers: [],
      failures: [
        { layerDigest: digest, failureCode: 'MissingLayerDigest', failureReason: expect.any(String) },
      ],
    };
    expect(await check([digest])).toMatchObject(missing);
    await upload.part(bytes, 0);
    expect(await check([digest])).toMatchObject(missing);
    await upload.complete(digest);
    expect(await check([digest])).toMatchObject({
      layers: [{ layerDigest: digest, layerAvailability: 'AVAILABLE', layerSize: bytes.length }],
      failures: [],
    });
  });

  it('is looked up among a hundred digests, each answered once and in its own way', async () => {
    const blobs = [layer(10, 'one'), layer(20, 'two')];
    for (const blob of blobs) await pushLayer(registry.ecr, repository, blob);
    const unknown = Array.from({ length: 90 }, (_, index) => layer(index, `unknown ${index}`).digest);
    const malformed = ['', 'sha256', 'sha256:', 'sha256:xyz', ':00', 'a b:00'];
    const asked = [blobs[0]!.digest, ...unknown, ...malformed, blobs[1]!.digest, blobs[0]!.digest];
    const { layers, failures } = await check(asked.slice(0, 100));
    expect(layers).toMatchObject([
      { layerDigest: blobs[0]!.digest, layerSize: 10 },
      { layerDigest: blobs[1]!.digest, layerSize: 20 },
    ]);
    expect(failures!.map(({ layerDigest, failureCode }) => [layerDigest, failureCode])).toEqual([
      ...unknown.map((digest) => [digest, 'MissingLayerDigest']),
      ...malformed.map((digest) => [digest, 'InvalidLayerDigest']),
    ]);
  });

  it('is available under the media type its image gives it, config included', async () => {
    const { config, layers } = await pushImage(registry.ecr, repository, 'typed');
    const answer = await check([config.digest, layers[0]!.digest]);
    expect(answer.layers!.map(({ mediaType }) => mediaType)).toEqual([
      MEDIA_TYPES.ociConfig,
      MEDIA_TYPES.ociLayer,
    ]);
  });

  it('is asked for within the limits of the API, in a repository that exists', async () => {
    await refusal(check([layer(1).digest], 'no/such'), RepositoryNotFoundException);
    await refusal(check([]), InvalidParameterException);
    await refusal(check(Array.from({ length: 101 }, () => 'a:0')), InvalidParameterException);
    await refusal(check(['a'.repeat(1001)]), InvalidParameterException);
  });

  it('has a download URL only while an image of the repository refers to it', async () => {
    const name = await createRepository(registry.ecr);
    const config = imageConfig('inaccessible');
    const blob = layer(100, 'inaccessible');
    for (const each of [config, blob]) await pushLayer(registry.ecr, name, each);
    expect((await refusal(urlOf(blob.digest, name), LayerInaccessibleException)).message).toContain(
      blob.digest,
    );
    const manifest = imageManifest(config, [blob]);
    await putImage(registry.ecr, name, manifest);
    await urlOf(blob.digest, name);
    await registry.ecr.send(
      new BatchDeleteImageCommand({ repositoryName: name, imageIds: [{ imageDigest: manifest.digest }] }),
    );
    await refusal(urlOf(blob.digest, name), Error);
  });

  it('has no download URL where nobody pushed it', async () => {
    const { layers } = await pushImage(registry.ecr, repository, 'only here');
    const other = await createRepository(registry.ecr);
    const error = await refusal(urlOf(layers[0]!.digest, other), LayersNotFoundException);
    expect(error.message).toBe(
      `The layer with digest '${layers[0]!.digest}' does not exist within the repository with name '${other}' in the registry with id '${ACCOUNT}'`,
    );
    await refusal(urlOf('sha256:00'), LayersNotFoundException);
    await refusal(urlOf(layers[0]!.digest, 'no/such'), RepositoryNotFoundException);
    await refusal(urlOf('sha256'), InvalidParameterException);
  });

  it('comes back byte for byte from its URL, whole and in ranges, without credentials', async () => {
    const name = await createRepository(registry.ecr);
    const config = imageConfig('download');
    const blob = layer(11 * MEBIBYTE + 3, 'download');
    for (const each of [config, blob]) await pushLayer(registry.ecr, name, each);
    await putImage(registry.ecr, name, imageManifest(config, [blob]));
    const url = await urlOf(blob.digest, name);

    const whole = await fetch(url);
    expect(whole.status).toBe(200);
    expect(whole.headers.get('content-length')).toBe(String(blob.size));
    expect(whole.headers.get('accept-ranges')).toBe('bytes');
    expect(Buffer.from(await whole.arrayBuffer()).equals(blob.bytes)).toBe(true);

    const last = blob.size - 1;
    const border = 10 * MEBIBYTE;
    const ranges = [
      [0, 0],
      [border - 1, border],
      [border, last],
      [last, last],
    ] as const;
    await Promise.all(
      ranges.map(async ([from, to]) => {
        const part = await fetch(url, { headers: { range: `bytes=${from}-${to}` } });
        expect(part.status).toBe(206);
        expect(part.headers.get('content-range')).toBe(`bytes ${from}-${to}/${blob.size}`);
        expect(Buffer.from(await part.arrayBuffer()).equals(blob.bytes.subarray(from, to + 1))).toBe(true);
      }),
    );
    const beyond = await fetch(url, { headers: { range: `bytes=${blob.size}-` } });
    expect(beyond.status).toBe(416);
    await beyond.arrayBuffer();
  });

  it('is not given to a URL that was changed', async () => {
    const { layers, config } = await pushImage(registry.ecr, repository, 'tampered');
    const url = new URL(await urlOf(layers[0]!.digest));
    const other = new URL(await urlOf(config.digest));
    const changed = [new URL(url), new URL(url), new URL(url), new URL(url)] as const;
    changed[0].pathname = other.pathname;
    changed[1].search = '';
    for (const key of changed[2].searchParams.keys())
      if (/signature/i.test(key)) changed[2].searchParams.set(key, '0'.repeat(64));
    for (const key of changed[3].searchParams.keys())
      if (/expires/i.test(key)) changed[3].searchParams.set(key, '9999999999');
    for (const attempt of changed) {
      const response = await fetch(attempt);
      expect([400, 403]).toContain(response.status);
      const body = Buffer.from(await response.arrayBuffer());
      expect(body.includes(layers[0]!.bytes)).toBe(false);
    }
  });

  it('is streamed from a URL of the registry itself where the store must stay out of reach', async () => {
    const streaming = await startRegistry({ store, config: { STOWAGE_BLOB_DELIVERY: 'stream' } });
    try {
      const name = await createRepository(streaming.ecr);
      const { layers } = await pushImage(streaming.ecr, name, 'streamed');
      const blob = layers[0]!;
      const { downloadUrl } = await streaming.ecr.send(
        new GetDownloadUrlForLayerCommand({ repositoryName: name, layerDigest: blob.digest }),
      );
      expect(new URL(downloadUrl!).origin).toBe(streaming.url);
      const response = await fetch(downloadUrl!);
      expect(Buffer.from(await response.arrayBuffer()).equals(blob.bytes)).toBe(true);
      const { pathname } = new URL(downloadUrl!);
      const expired = streaming.app.get(SignedUrls).sign(pathname, -1);
      expect((await fetch(new URL(expired, streaming.url))).status).toBe(403);
      expect((await fetch(new URL(pathname, streaming.url))).status).toBe(403);
    } finally {
      await streaming.close();
    }
  });

  it('comes from the registry for files and from the bucket for S3', async () => {
    const origins: Record<StoreName, string | undefined> = {
      filesystem: registry.url,
      s3: registry.environment.settings['STOWAGE_S3_ENDPOINT'],
    };
    const { layers } = await pushImage(registry.ecr, repository, 'origin');
    expect(new URL(await urlOf(layers[0]!.digest)).origin).toBe(origins[store]);
  });
});
