import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  BatchGetImageCommand,
  GetAuthorizationTokenCommand,
  ImageDigestDoesNotMatchException,
  PutImageCommand,
} from '@aws-sdk/client-ecr';
import {
  type Blob,
  blobOf,
  imageConfig,
  imageIndex,
  imageManifest,
  layer,
  type Manifest,
  manifestOf,
  MEDIA_TYPES,
} from '../support/images.js';
import { createRepository, pushImage, pushLayer, pushLayersOfImage, putImage } from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

describe('An image at both doors', () => {
  let registry: TestRegistry;
  let repository: string;
  beforeAll(async () => {
    registry = await startRegistry({ store: 'filesystem' });
    repository = await createRepository(registry.ecr);
  });
  afterAll(() => registry?.close());

  const put = (
    reference: string,
    body: string | Buffer,
    contentType: string | null = MEDIA_TYPES.ociManifest,
    name = repository,
  ): Promise<Response> =>
    registry.fetchOci(`/v2/${name}/manifests/${reference}`, {
      method: 'PUT',
      body: new Uint8Array(Buffer.from(body)),
      ...(contentType !== null && { headers: { 'content-type': contentType } }),
    });
  const get = (reference: string, init?: RequestInit): Promise<Response> =>
    registry.fetchOci(`/v2/${repository}/manifests/${reference}`, init);
  const errorOf = async (response: Response): Promise<{ status: number; code: string; message: string }> => {
    const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
    return { status: response.status, ...errors[0]! };
  };
  const batchGet = async (imageDigest: string): Promise<string> => {
    const command = new BatchGetImageCommand({ repositoryName: repository, imageIds: [{ imageDigest }] });
    return (await registry.ecr.send(command)).images![0]!.imageManifest!;
  };

  /** The same image in spellings a parser would not keep. */
  const spellings = ({ text }: Manifest): string[] => {
    const document = JSON.parse(text) as Record<string, unknown>;
    const reversed = Object.fromEntries(Object.entries(document).toReversed());
    return [
      ` \r\n\t${text}\n\n`,
      JSON.stringify(reversed),
      text.replace('"schemaVersion"', '"\\u0073chemaVersion"').replaceAll('/', '\\/'),
      JSON.stringify({ ...document, annotations: { 'größe 😀': 'é e\u0301 \u2028 \\u0041', '': '' } }),
      text.replace('"schemaVersion": 2', '"x": 1e2, "x": 100, "schemaVersion": 2.0'),
      JSON.stringify({ ...document, unknown: { deep: [[[null]]], big: 12345678901234567000 } }),
    ];
  };

  it('keeps its exact bytes and digest, whichever door it came in by', async () => {
    const { manifest } = await pushLayersOfImage(registry.ecr, repository, 'spellings');
    for (const [index, text] of spellings(manifest).entries()) {
      const { digest } = blobOf(Buffer.from(text));
      const pushed = await put(`by-oci-${index}`, text);
      expect([pushed.status, pushed.headers.get('docker-content-digest')]).toEqual([201, digest]);
      expect(await batchGet(digest)).toBe(text);
    }
    for (const [index, text] of spellings(manifest).entries()) {
      const other = `${text} `;
      const { digest } = blobOf(Buffer.from(other));
      const { image } = await registry.ecr.send(
        new PutImageCommand({ repositoryName: repository, imageManifest: other, imageTag: `ecr-${index}` }),
      );
      expect(image!.imageId!.imageDigest).toBe(digest);
      expect(Buffer.from(await (await get(`ecr-${index}`)).arrayBuffer())).toEqual(Buffer.from(other));
    }
  });

  it('can be pulled whole with the token of GetAuthorizationToken', async () => {
    const image = await pushImage(registry.ecr, repository, 'docker pull', ['pull']);
    const { authorizationData } = await registry.ecr.send(new GetAuthorizationTokenCommand({}));
    const { authorizationToken, proxyEndpoint } = authorizationData![0]!;
    const [user, password] = Buffer.from(authorizationToken!, 'base64').toString().split(':');
    expect(user).toBe('AWS');
    const headers = { authorization: `Basic ${Buffer.from(`AWS:${password}`).toString('base64')}` };
    const pull = async (path: string): Promise<Buffer> => {
      const response = await fetch(new URL(`/v2/${repository}/${path}`, proxyEndpoint), { headers });
      expect(response.status).toBe(200);
      return Buffer.from(await response.arrayBuffer());
    };
    expect((await fetch(new URL('/v2/', proxyEndpoint), { headers })).status).toBe(200);
    const manifest = JSON.parse(String(await pull('manifests/pull'))) as { config: Blob; layers: Blob[] };
    for (const { digest } of [manifest.config, ...manifest.layers])
      expect(blobOf(await pull(`blobs/${digest}`)).digest).toBe(digest);
    expect(await pull(`blobs/${image.layers[0]!.digest}`)).toEqual(image.layers[0]!.bytes);
  });

  it('is described by HEAD as by GET', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'head', ['head'], { flavour: 'docker' });
    for (const reference of ['head', manifest.digest]) {
      for (const method of ['GET', 'HEAD']) {
        const response = await get(reference, { method, headers: { accept: 'application/json' } });
        expect(response.status).toBe(200);
        expect(response.headers.get('content-type')).toBe(MEDIA_TYPES.dockerManifest);
        expect(response.headers.get('content-length')).toBe(String(manifest.size));
        expect(response.headers.get('docker-content-digest')).toBe(manifest.digest);
        expect(await response.text()).toBe(method === 'GET' ? manifest.text : '');
      }
    }
  });

  it('may be pushed again at the OCI door, with the same tag and the same digest', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'again', ['again']);
    for (const reference of ['again', manifest.digest, 'again']) {
      const response = await put(reference, manifest.text);
      expect(response.status).toBe(201);
      expect(response.headers.get('location')).toBe(`/v2/${repository}/manifests/${manifest.digest}`);
    }
  });

  it('pushed by digest takes every tag of the query', async () => {
    const { manifest } = await pushLayersOfImage(registry.ecr, repository, 'query tags');
    const response = await put(`${manifest.digest}?tag=query-1&tag=query-2`, manifest.text);
    expect([response.status, response.headers.get('oci-tag')]).toEqual([201, 'query-1, query-2']);
    for (const tag of ['query-1', 'query-2'])
      expect((await get(tag)).headers.get('docker-content-digest')).toBe(manifest.digest);
    const wrong = await put(`${manifest.digest}?tag=query-3&tag=a%20b`, manifest.text);
    expect((await errorOf(wrong)).code).toBe('TAG_INVALID');
    expect((await get('query-3')).status).toBe(404);
  });

  it('may come with parameters in its content type, and without a content type', async () => {
    const { manifest } = await pushLayersOfImage(registry.ecr, repository, 'content types');
    expect((await put('typed', manifest.text, `${MEDIA_TYPES.ociManifest}; charset=utf-8`)).status).toBe(201);
    expect((await put('untyped', manifest.text, null)).status).toBe(201);
    expect((await get('untyped')).headers.get('content-type')).toBe(MEDIA_TYPES.ociManifest);
  });

  it('is refused at the OCI door with the words of the ECR door', async () => {
    const ofThis = `with name '${repository}' in the registry with id '000000000000'`;
    const [config, missing] = [imageConfig('oci refusals'), layer(10, 'never pushed to OCI')];
    await pushLayer(registry.ecr, repository, config);
    const incomplete = imageManifest(config, [missing]);
    expect(await errorOf(await put('refused', incomplete.text))).toEqual({
      status: 404,
      code: 'MANIFEST_BLOB_UNKNOWN',
      message: `Layers with digests '[${missing.digest}]' required for pushing image into repository ${ofThis} do not exist`,
    });
    const index = imageIndex([incomplete]);
    expect(await errorOf(await put('refused', index.text, index.mediaType))).toEqual({
      status: 404,
      code: 'MANIFEST_BLOB_UNKNOWN',
      message: `Images with digests '[${incomplete.digest}]' required for pushing image into repository ${ofThis} do not exist`,
    });
    const complete = imageManifest(config, []);
    expect(await errorOf(await put(missing.digest, complete.text))).toEqual({
      status: 400,
      code: 'MANIFEST_INVALID',
      message: `The image with digest '${missing.digest}' in repository '${repository}' and registry ID '000000000000' does not match the image digest that Amazon ECR has calculated.`,
    });
    expect((await get('refused')).status).toBe(404);
  });

  it.each([
    ['an unknown tag', 'no-such-tag', 404, 'MANIFEST_UNKNOWN'],
    ['an unknown digest', `sha256:${'0'.repeat(64)}`, 404, 'MANIFEST_UNKNOWN'],
    ['a digest in capitals', `sha256:${'A'.repeat(64)}`, 400, 'DIGEST_INVALID'],
    ['a short digest', 'sha256:abc', 400, 'DIGEST_INVALID'],
    ['a digest of another algorithm', `md5:${'0'.repeat(32)}`, 400, 'DIGEST_INVALID'],
    ['a tag that begins with a dash', '-tag', 400, 'TAG_INVALID'],
    ['a tag with a blank', 'a%20b', 400, 'TAG_INVALID'],
    ['a tag of 301 characters', 'a'.repeat(301), 400, 'TAG_INVALID'],
    ['a tag with a NUL', 'a%00b', 400, 'TAG_INVALID'],
  ])('cannot be asked for by %s', async (_what, reference, status, code) => {
    expect(await errorOf(await get(reference))).toMatchObject({ status, code });
  });

  it('of exactly 4 MiB is stored; one of a byte more is refused', async () => {
    const { manifest } = await pushLayersOfImage(registry.ecr, repository, '4 MiB');
    const great = manifest.text.padEnd(4_194_304, ' ');
    expect((await put('great', great)).status).toBe(201);
    expect((await get('great')).headers.get('content-length')).toBe('4194304');
    expect(await errorOf(await put('greater', `${great} `))).toMatchObject({
      status: 413,
      code: 'SIZE_INVALID',
    });
    expect((await get('greater')).status).toBe(404);
  });

  it('sees no image of another repository', async () => {
    const other = await createRepository(registry.ecr);
    const { manifest } = await pushImage(registry.ecr, other, 'elsewhere', ['elsewhere']);
    for (const reference of ['elsewhere', manifest.digest]) expect((await get(reference)).status).toBe(404);
    const nowhere = await registry.fetchOci('/v2/no/such/manifests/latest');
    expect(await errorOf(nowhere)).toMatchObject({ status: 404, code: 'NAME_UNKNOWN' });
    expect((await put('latest', manifest.text, manifest.mediaType, 'no/such')).status).toBe(404);
  });

  it('that names each kind of foreign layer needs none of them', async () => {
    const config = imageConfig('foreign kinds');
    await pushLayer(registry.ecr, repository, config);
    const foreign = [
      'application/vnd.oci.image.layer.nondistributable.v1.tar',
      'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
      'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
      'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    ].map((mediaType) => ({ mediaType, ...pick(layer(10, mediaType)), urls: ['https://example.com/'] }));
    const document = {
      schemaVersion: 2,
      config: { mediaType: MEDIA_TYPES.ociConfig, ...pick(config) },
      layers: foreign,
    };
    const manifest = manifestOf(MEDIA_TYPES.ociManifest, document);
    expect((await put('foreign', manifest.text)).status).toBe(201);
    const needed = { ...document, layers: [{ ...foreign[0], mediaType: MEDIA_TYPES.ociLayer }] };
    expect((await put('foreign', JSON.stringify(needed))).status).toBe(404);
  });

  it('must have the digest PutImage expects, letter by letter', async () => {
    const { manifest } = await pushLayersOfImage(registry.ecr, repository, 'expected digest');
    const expectation = (imageDigest: string): Promise<unknown> =>
      registry.ecr.send(
        new PutImageCommand({ repositoryName: repository, imageManifest: manifest.text, imageDigest }),
      );
    const wrong = [
      manifest.digest.toUpperCase(),
      manifest.digest.slice(7),
      `sha512:${manifest.digest.slice(7)}`,
    ];
    for (const digest of wrong) await refusal(expectation(digest), ImageDigestDoesNotMatchException);
    expect((await get(manifest.digest)).status).toBe(404);
    await putImage(registry.ecr, repository, manifest);
  });
});

function pick({ digest, size }: Blob): { digest: string; size: number } {
  return { digest, size };
}
