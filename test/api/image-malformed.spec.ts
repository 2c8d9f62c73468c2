import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { InvalidParameterException, PutImageCommand } from '@aws-sdk/client-ecr';
import fc from 'fast-check';
import { layer, MEDIA_TYPES } from '../support/images.js';
import { createRepository, pushImage, type PushedImage, pushLayersOfImage } from '../support/pushes.js';
import { refusalNamed } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

type Document = Record<string, unknown>;
const { ociManifest, ociIndex, dockerManifest, dockerList } = MEDIA_TYPES;
const TEXT = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'";

describe('What is no manifest', () => {
  let registry: TestRegistry;
  let repository: string;
  let image: PushedImage;
  let child: PushedImage;
  let good: Document;
  let index: Document;
  beforeAll(async () => {
    registry = await startRegistry({ store: 'filesystem' });
    repository = await createRepository(registry.ecr);
    image = await pushLayersOfImage(registry.ecr, repository, 'good');
    child = await pushImage(registry.ecr, repository, 'child');
    good = JSON.parse(image.manifest.text) as Document;
    const { digest, size, mediaType } = child.manifest;
    index = { schemaVersion: 2, mediaType: ociIndex, manifests: [{ mediaType, digest, size }] };
  });
  afterAll(() => registry?.close());

  const putOci = (body: string | Buffer, contentType?: string): Promise<Response> =>
    registry.fetchOci(`/v2/${repository}/manifests/bad`, {
      method: 'PUT',
      body: new Uint8Array(Buffer.from(body)),
      ...(contentType !== undefined && { headers: { 'content-type': contentType } }),
    });
  const putEcr = (imageManifest: string, imageManifestMediaType?: string): Promise<unknown> =>
    registry.ecr.send(
      new PutImageCommand({ repositoryName: repository, imageManifest, imageManifestMediaType }),
    );
  const imageCount = (): Promise<number> => registry.prisma.image.count();

  const refusedAtOci = async (body: string | Buffer, contentType?: string): Promise<void> => {
    const response = await putOci(body, contentType);
    expect([response.status, await response.json()]).toEqual([
      400,
      { errors: [expect.objectContaining({ code: 'MANIFEST_INVALID', message: TEXT })] },
    ]);
  };
  const refusedAtEcr = async (text: string, mediaType?: string): Promise<void> => {
    const error = await putEcr(text, mediaType).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InvalidParameterException);
    expect((error as Error).message).toBe(TEXT);
  };

  const NOT_JSON = [' ', 'null', 'true', '2', '{}', '{"schemaVersion":2', 'NaN', "{'schemaVersion':2}"];
  it.each(NOT_JSON)('%j is refused at both doors', async (text) => {
    const before = await imageCount();
    for (const mediaType of [undefined, ociManifest, ociIndex]) {
      await refusedAtEcr(text, mediaType);
      await refusedAtOci(text, mediaType);
    }
    expect(await imageCount()).toBe(before);
  });

  const descriptor = (members: Document): Document => ({
    mediaType: MEDIA_TYPES.ociLayer,
    digest: image.layers[0]!.digest,
    size: image.layers[0]!.size,
    ...members,
  });
  const WRONG_IMAGES: [name: string, members: () => Document][] = [
    ['no schema version', () => ({ schemaVersion: undefined })],
    ['schema version 1', () => ({ schemaVersion: 1 })],
    ['schema version "2"', () => ({ schemaVersion: '2' })],
    ['a config that is null', () => ({ config: null })],
    ['no config', () => ({ config: undefined })],
    ['no layers', () => ({ layers: undefined })],
    ['layers that are an object', () => ({ layers: {} })],
    ['a layer that is null', () => ({ layers: [null] })],
    ['a layer without a digest', () => ({ layers: [descriptor({ digest: undefined })] })],
    ['a digest in capitals', () => ({ layers: [descriptor({ digest: layer(1).digest.toUpperCase() })] })],
    ['an unknown algorithm', () => ({ layers: [descriptor({ digest: `md5:${'0'.repeat(32)}` })] })],
    ['a digest with a line end', () => ({ layers: [descriptor({ digest: `${layer(1).digest}\n` })] })],
    ['a digest that is a list', () => ({ layers: [descriptor({ digest: [layer(1).digest] })] })],
    ['a negative size', () => ({ layers: [descriptor({ size: -1 })] })],
    ['half a byte', () => ({ layers: [descriptor({ size: 0.5 })] })],
    ['a size in words', () => ({ layers: [descriptor({ size: '1000' })] })],
    ['no size', () => ({ layers: [descriptor({ size: undefined })] })],
    ['a size beyond what counts exactly', () => ({ layers: [descriptor({ size: 2 ** 53 })] })],
    ['a size beyond every number', () => ({ layers: [descriptor({ size: 1e308 })] })],
    ['no media type of a layer', () => ({ layers: [descriptor({ mediaType: '' })] })],
    ['a NUL in the media type of a layer', () => ({ layers: [descriptor({ mediaType: 'a/\0' })] })],
    [
      'half a character in the media type of a layer',
      () => ({ layers: [descriptor({ mediaType: '\ud800' })] }),
    ],
    ['annotations that are a list', () => ({ annotations: ['a'] })],
    ['an annotation that is a number', () => ({ annotations: { a: 1 } })],
    ['a NUL in an annotation', () => ({ annotations: { a: '\0' } })],
    ['a NUL in the key of an annotation', () => ({ annotations: { '\0': '' } })],
    ['half a character in an annotation', () => ({ annotations: { a: '\udc00' } })],
    ['an artifact type that is a number', () => ({ artifactType: 1 })],
    ['a NUL in the artifact type', () => ({ artifactType: '\0' })],
    ['a subject without a digest', () => ({ subject: { mediaType: ociManifest, size: 1 } })],
    ['a subject that is a text', () => ({ subject: layer(1).digest })],
    ['manifests beside its layers', () => ({ manifests: [] })],
    ['a media type that is a number', () => ({ mediaType: 2 })],
    ['a media type nobody knows', () => ({ mediaType: 'application/json' })],
    ['the media type of an index', () => ({ mediaType: ociIndex })],
    ['its own media type with a blank', () => ({ mediaType: `${ociManifest} ` })],
  ];
  it.each(WRONG_IMAGES)('such as an image with %s is refused at both doors', async (_name, members) => {
    const before = await imageCount();
    const text = JSON.stringify({ ...good, ...members() });
    await refusedAtEcr(text);
    await refusedAtOci(text);
    await refusedAtOci(text, ociManifest);
    expect(await imageCount()).toBe(before);
  });

  const WRONG_INDEXES: [name: string, members: () => Document][] = [
    ['a config', () => ({ config: good['config'] })],
    ['layers', () => ({ layers: [] })],
    ['manifests that are an object', () => ({ manifests: {} })],
    ['a manifest that is a text', () => ({ manifests: [child.manifest.digest] })],
    ['a manifest without a digest', () => ({ manifests: [{ mediaType: ociManifest, size: 1 }] })],
  ];
  it.each(WRONG_INDEXES)('such as an index with %s is refused at both doors', async (_name, members) => {
    const text = JSON.stringify({ ...index, ...members() });
    await refusedAtEcr(text);
    await refusedAtOci(text, ociIndex);
  });

  it('such as an image that passes for an index, or says so beside itself, is refused (CVE-2021-41190)', async () => {
    const untyped: Document = { ...good, mediaType: undefined };
    const both = { ...untyped, manifests: index['manifests'] };
    const refused: [document: Document, mediaType: string][] = [
      [good, ociIndex],
      [good, dockerManifest],
      [good, dockerList],
      [untyped, ociIndex],
      [untyped, dockerList],
      [index, ociManifest],
      [index, dockerList],
      [{ ...index, mediaType: undefined }, ociManifest],
      [both, ociManifest],
      [both, ociIndex],
      [{ ...both, layers: undefined }, ociIndex],
      [{ ...both, config: undefined, layers: undefined }, ociManifest],
    ];
    for (const [document, mediaType] of refused) {
      const text = JSON.stringify(document);
      await refusedAtEcr(text, mediaType);
      await refusedAtOci(text, mediaType);
    }
  });

  it('such as bytes that are no UTF-8 is refused at the OCI door', async () => {
    const text = Buffer.from(JSON.stringify({ ...good, annotations: { a: 'MARK' } }));
    const at = text.indexOf('MARK');
    for (const wrong of ['ff', 'c0af', 'eda080', 'f4908080', 'e282']) {
      const bytes = Buffer.concat([text.subarray(0, at), Buffer.from(wrong, 'hex'), text.subarray(at + 4)]);
      await refusedAtOci(bytes, ociManifest);
    }
    for (const encoding of ['utf16le', 'latin1'] as const)
      await refusedAtOci(Buffer.from(`${text.toString()}ä`, encoding), ociManifest);
  });

  it('such as NUL or half a character as such is refused at the ECR door before it is read', async () => {
    const text = JSON.stringify({ ...good, annotations: { a: 'MARK' } });
    for (const wrong of ['\0', text.replace('MARK', '\ud800'), text.replace('MARK', '\udc00x')])
      await refusalNamed(putEcr(wrong), 'SerializationException');
    for (const type of [undefined, ociManifest]) await refusedAtOci('\0', type);
  });

  it('such as a legacy schema 1 manifest is refused', async () => {
    const legacy = {
      schemaVersion: 1,
      name: repository,
      tag: 'x',
      fsLayers: [],
      history: [],
      signatures: [],
    };
    for (const type of ['v1+json', 'v1+prettyjws']) {
      const mediaType = `application/vnd.docker.distribution.manifest.${type}`;
      await refusedAtEcr(JSON.stringify(legacy), mediaType);
      await refusedAtOci(JSON.stringify(legacy), mediaType);
    }
  });

  it('such as brackets without an end is refused too', async () => {
    for (const text of ['['.repeat(4_000_000), '{"a":'.repeat(800_000), `[${'[],'.repeat(1_000_000)}[]]`])
      await refusedAtOci(text, ociManifest);
  });

  it('in any form is refused or stored, and never a fault of the registry', async () => {
    const member = fc.constantFrom(
      ...Object.keys(good),
      'subject',
      'annotations',
      'artifactType',
      'manifests',
    );
    const value = fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.string({ unit: 'binary' }), fc.double());
    const body = fc.oneof(
      fc
        .tuple(member, value)
        .map(([name, changed]) => Buffer.from(JSON.stringify({ ...good, [name]: changed }))),
      fc
        .tuple(member, value)
        .map(([name, changed]) => Buffer.from(JSON.stringify({ ...index, [name]: changed }))),
      fc.nat(image.manifest.size).map((size) => image.manifest.bytes.subarray(0, size)),
      fc.tuple(fc.nat(image.manifest.size - 1), fc.nat(255)).map(([at, byte]) => {
        const bytes = Buffer.from(image.manifest.bytes);
        bytes[at] = byte;
        return bytes;
      }),
      fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    );
    const type = fc.constantFrom(undefined, ociManifest, ociIndex, dockerManifest, dockerList);
    await fc.assert(
      fc.asyncProperty(body, type, async (bytes, contentType) => {
        const response = await putOci(bytes, contentType);
        expect([201, 400, 404]).toContain(response.status);
        if (response.status !== 201) return;
        const stored = await registry.fetchOci(
          `/v2/${repository}/manifests/${response.headers.get('docker-content-digest')}`,
        );
        expect(Buffer.from(await stored.arrayBuffer())).toEqual(bytes);
      }),
      { numRuns: 400 },
    );
  });
});
