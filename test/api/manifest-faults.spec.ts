import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  BatchGetImageCommand,
  InvalidParameterException,
  PutImageCommand,
  type PutImageCommandInput,
} from '@aws-sdk/client-ecr';
import { imageManifest, layer, type Manifest, MEDIA_TYPES } from '../support/images.js';
import { createRepository, pushLayersOfImage, putImage } from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

describe('Pushing a manifest', () => {
  let registry: TestRegistry;
  let repository: string;
  beforeAll(async () => {
    registry = await startRegistry({ store: 'filesystem' });
    repository = await createRepository(registry.ecr);
  });
  afterAll(() => registry?.close());

  const put = (input: Partial<PutImageCommandInput>) =>
    registry.ecr.send(new PutImageCommand({ repositoryName: repository, ...input } as PutImageCommandInput));
  const refusedManifest = async (manifest: string, mediaType?: string): Promise<string> =>
    (
      await refusal(
        put({ imageManifest: manifest, imageManifestMediaType: mediaType }),
        InvalidParameterException,
      )
    ).message;

  it('is refused with one and the same text for everything that is no manifest', async () => {
    const good = JSON.parse(
      (await pushLayersOfImage(registry.ecr, repository, 'bad')).manifest.text,
    ) as Record<string, unknown>;
    const bad: [manifest: string, mediaType?: string][] = [
      ['{'],
      ['[]'],
      ['"text"'],
      [JSON.stringify({ ...good, mediaType: 'application/json' })],
      [JSON.stringify({ ...good, mediaType: MEDIA_TYPES.dockerManifest }), MEDIA_TYPES.ociManifest],
      [JSON.stringify(good), `${MEDIA_TYPES.ociManifest}; charset=utf-8`],
      [JSON.stringify({ ...good, schemaVersion: 1 })],
      [JSON.stringify({ ...good, layers: 'none' })],
      [JSON.stringify({ ...good, config: { mediaType: 'x', digest: 'sha256:short', size: 1 } })],
      [JSON.stringify({ ...good, config: { mediaType: 'x', digest: layer(1).digest, size: -1 } })],
      [JSON.stringify({ ...good, manifests: [] })],
    ];
    for (const [manifest, mediaType] of bad)
      expect(await refusedManifest(manifest, mediaType)).toBe(
        "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'",
      );
  });

  it('is refused for a tag that is none, and for a manifest beyond 4 MiB', async () => {
    const { manifest } = await pushLayersOfImage(registry.ecr, repository, 'constraints');
    const refused = async (input: Partial<PutImageCommandInput>): Promise<string> =>
      (await refusal(put({ imageManifest: manifest.text, ...input }), InvalidParameterException)).message;
    const grammar = "must satisfy regular expression '[a-zA-Z0-9-_.]+'";
    const faults: [input: Partial<PutImageCommandInput>, member: string, constraint: string][] = [
      [{ imageTag: 'a b' }, 'imageTag', grammar],
      [{ imageTag: 'a:b' }, 'imageTag', grammar],
      [{ imageTag: '-a' }, 'imageTag', grammar],
      [{ imageTag: '' }, 'imageTag', 'must have length greater than or equal to 1'],
      [{ imageTag: 'a'.repeat(301) }, 'imageTag', 'must have length less than or equal to 300'],
      [{ imageManifest: '' }, 'imageManifest', 'must have length greater than or equal to 1'],
      [
        { imageManifest: ' '.repeat(4_194_305) },
        'imageManifest',
        'must have length less than or equal to 4194304',
      ],
    ];
    for (const [input, member, constraint] of faults)
      expect(await refused(input)).toBe(
        `Invalid parameter at '${member}' failed to satisfy constraint: '${constraint}'`,
      );
    await putImage(registry.ecr, repository, manifest, 'a'.repeat(300));
  });

  it('of the greatest size, with every character in the way of JSON, is stored', async () => {
    const { config, layers } = await pushLayersOfImage(registry.ecr, repository, 'great');
    const annotations = { note: '"\\'.repeat(1_000_000) };
    const manifest: Manifest = imageManifest(config, layers, { annotations });
    expect(manifest.size).toBeGreaterThan(4_000_000);
    await putImage(registry.ecr, repository, manifest, 'great');
    const { images } = await registry.ecr.send(
      new BatchGetImageCommand({ repositoryName: repository, imageIds: [{ imageTag: 'great' }] }),
    );
    expect(images![0]!.imageManifest === manifest.text).toBe(true);
  });
});
