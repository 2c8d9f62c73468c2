import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { RegistryError } from '../../domain/registry-error.js';
import { parseManifest } from './image-manifest.js';
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from './media-types.js';

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;
const CONFIG = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest('a'), size: 2 };
const LAYER = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digest('b'), size: 10 };
const IMAGE = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: CONFIG, layers: [LAYER] };
const CHILD = { mediaType: OCI_MANIFEST, digest: digest('c'), size: 100 };
const INDEX = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [CHILD] };

const parse = (document: unknown, declared?: string) =>
  parseManifest(Buffer.from(JSON.stringify(document)), declared);
const REFUSAL = expect.objectContaining({
  code: 'ManifestInvalid',
  message: "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'",
});

describe('parseManifest', () => {
  it('tells what an image needs, its config first', () => {
    expect(parse(IMAGE)).toEqual({
      mediaType: OCI_MANIFEST,
      layers: [CONFIG, LAYER],
      layerCount: 1,
      children: [],
      subjectDigest: null,
      artifactType: CONFIG.mediaType,
      annotations: null,
    });
  });

  it('tells what an index needs', () => {
    const subject = { mediaType: OCI_MANIFEST, digest: digest('d'), size: 1 };
    expect(parse({ ...INDEX, subject, artifactType: 'a/b', annotations: { x: 'y' } })).toEqual({
      mediaType: OCI_INDEX,
      layers: [],
      layerCount: 0,
      children: [CHILD],
      subjectDigest: subject.digest,
      artifactType: 'a/b',
      annotations: { x: 'y' },
    });
  });

  it('takes the media type from beside the manifest or from inside, and wants both to agree', () => {
    for (const mediaType of [OCI_MANIFEST, DOCKER_MANIFEST]) {
      expect(parse({ ...IMAGE, mediaType }).mediaType).toBe(mediaType);
      expect(parse({ ...IMAGE, mediaType: undefined }, mediaType).mediaType).toBe(mediaType);
      expect(parse({ ...IMAGE, mediaType: null }, mediaType).mediaType).toBe(mediaType);
      expect(parse({ ...IMAGE, mediaType }, mediaType).mediaType).toBe(mediaType);
    }
    for (const mediaType of [OCI_INDEX, DOCKER_LIST])
      expect(parse({ ...INDEX, mediaType }).mediaType).toBe(mediaType);
    expect(() => parse({ ...IMAGE, mediaType: undefined })).toThrow(REFUSAL);
    expect(() => parse(IMAGE, DOCKER_MANIFEST)).toThrow(REFUSAL);
    expect(() => parse(IMAGE, OCI_INDEX)).toThrow(REFUSAL);
    expect(() => parse(INDEX, OCI_MANIFEST)).toThrow(REFUSAL);
    expect(() => parse({ ...IMAGE, mediaType: 'text/plain' }, OCI_MANIFEST)).toThrow(REFUSAL);
  });

  it('lets nothing be image and index at once (CVE-2021-41190)', () => {
    expect(() => parse({ ...IMAGE, manifests: [] })).toThrow(REFUSAL);
    expect(() => parse({ ...IMAGE, manifests: null })).toThrow(REFUSAL);
    expect(() => parse({ ...INDEX, layers: [] })).toThrow(REFUSAL);
    expect(() => parse({ ...INDEX, config: CONFIG })).toThrow(REFUSAL);
  });

  it('does not ask for foreign layers, yet counts them', () => {
    const foreign = {
      ...LAYER,
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      urls: ['https://example.com'],
    };
    const { layers, layerCount } = parse({ ...IMAGE, layers: [foreign, LAYER, LAYER] });
    expect(layers).toEqual([CONFIG, LAYER, LAYER]);
    expect(layerCount).toBe(3);
  });

  it('knows an artifact by its artifact type, else by its config', () => {
    expect(parse({ ...IMAGE, artifactType: 'a/b' }).artifactType).toBe('a/b');
    expect(parse({ ...IMAGE, artifactType: null }).artifactType).toBe(CONFIG.mediaType);
    expect(parse(INDEX).artifactType).toBeNull();
  });

  it('ignores what it does not know', () => {
    const platform = { os: 'linux', features: ['x'], nested: { deep: [1, null] } };
    expect(parse({ ...INDEX, manifests: [{ ...CHILD, platform }], other: 1 }).children).toEqual([CHILD]);
  });

  it('accepts a byte order mark and other white space around the document', () => {
    for (const around of ['\uFEFF', ' \t\r\n'])
      expect(parseManifest(Buffer.from(around + JSON.stringify(IMAGE)), undefined).layerCount).toBe(1);
  });

  it('refuses with one text, or understands, whatever it is given', () => {
    const member = fc.constantFrom(
      'schemaVersion',
      'mediaType',
      'config',
      'layers',
      'subject',
      'annotations',
    );
    const text = fc.oneof(
      fc.tuple(member, fc.jsonValue()).map(([name, value]) => JSON.stringify({ ...IMAGE, [name]: value })),
      fc
        .tuple(fc.constantFrom('manifests', 'subject', 'artifactType'), fc.jsonValue())
        .map(([name, value]) => JSON.stringify({ ...INDEX, [name]: value })),
      fc.json(),
      fc.string({ unit: 'binary' }),
    );
    const bytes = fc.oneof(
      text.map((some) => Buffer.from(some)),
      fc.uint8Array().map((some) => Buffer.from(some)),
    );
    const declared = fc.constantFrom(undefined, '', OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST);
    fc.assert(
      fc.property(bytes, declared, (some, mediaType) => {
        try {
          parseManifest(some, mediaType);
        } catch (error) {
          expect(error).toBeInstanceOf(RegistryError);
          expect(error).toEqual(REFUSAL);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
