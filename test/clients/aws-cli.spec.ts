import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { onPath, succeeds } from '../support/programs.js';
import { type Client, describeClient } from './client.js';
import { awsEnvironment } from './aws-environment.js';
import { type Content, expectInRegistry, multiArchImage, multiLayerImage } from './layout.js';
import type { Blob, Manifest } from '../support/images.js';

const program = onPath('aws');

describeClient(
  'aws',
  program && succeeds(program, '--version') ? program : undefined,
  (client) => {
    it('logs in', async () => {
      const password = await client.run('ecr', 'get-login-password');
      const authorization = `Basic ${Buffer.from(`AWS:${password}`).toString('base64')}`;
      const response = await client.registry.fetchOci('/v2/', { headers: { authorization } });
      expect(response.status).toBe(200);
    });

    it.each([
      ['of several layers', multiLayerImage('aws')],
      ['for several architectures', multiArchImage('aws')],
    ])(
      'pushes an image %s from files and gets it back',
      async (_, content) => {
        const repository = `cli/${content.children.length}`;
        const created = await ecr(client, 'create-repository', '--repository-name', repository);
        expect(created).toMatchObject({
          repository: { repositoryUri: `${client.host}/${repository}`, registryId: '000000000000' },
        });
        await push(client, repository, content);
        await expectInRegistry(client.registry, repository, 'v1', content);

        const described = await ecr(client, 'describe-images', '--repository-name', repository);
        expect(described['imageDetails']).toHaveLength(1 + content.children.length);
        expect(described['imageDetails']).toContainEqual(
          expect.objectContaining({ imageDigest: content.top.digest, imageTags: ['v1'] }),
        );
        const listed = await ecr(
          client,
          'list-images',
          '--repository-name',
          repository,
          '--filter',
          'tagStatus=TAGGED',
        );
        expect(listed['imageIds']).toEqual([{ imageDigest: content.top.digest, imageTag: 'v1' }]);
        const got = await ecr(
          client,
          'batch-get-image',
          '--repository-name',
          repository,
          '--image-ids',
          'imageTag=v1',
          '--accepted-media-types',
          content.top.mediaType,
        );
        expect(got).toMatchObject({ images: [{ imageManifest: content.top.text }], failures: [] });
        const deleted = await ecr(
          client,
          'batch-delete-image',
          '--repository-name',
          repository,
          '--image-ids',
          `imageDigest=${content.top.digest}`,
        );
        expect(deleted).toMatchObject({ failures: [] });
        await client.run('ecr', 'delete-repository', '--repository-name', repository, '--force');
      },
      120_000,
    );
  },
  { environment: (_, registry) => awsEnvironment(registry) },
);

async function push(client: Client, repository: string, content: Content): Promise<void> {
  const name = ['--repository-name', repository];
  for (const blob of content.blobs) await pushLayer(client, name, blob);
  for (const child of content.children) await putImage(client, name, child, '--image-digest', child.digest);
  await putImage(client, name, content.top, '--image-tag', 'v1');
  const digests = content.blobs.map(({ digest }) => digest);
  const checked = await ecr(client, 'batch-check-layer-availability', ...name, '--layer-digests', ...digests);
  expect(checked['layers']).toEqual(
    content.blobs.map(({ digest, size }) =>
      expect.objectContaining({ layerDigest: digest, layerSize: size, layerAvailability: 'AVAILABLE' }),
    ),
  );
  const { downloadUrl } = await ecr(
    client,
    'get-download-url-for-layer',
    ...name,
    '--layer-digest',
    digests[0]!,
  );
  const bytes = Buffer.from(await (await fetch(String(downloadUrl))).arrayBuffer());
  expect(bytes.equals(content.blobs[0]!.bytes)).toBe(true);
}

/** The four commands, with each part in a file. */
async function pushLayer(client: Client, name: string[], { bytes, digest }: Blob): Promise<void> {
  const { uploadId, partSize } = await ecr(client, 'initiate-layer-upload', ...name);
  const file = join(client.home, 'part');
  const upload = [...name, '--upload-id', String(uploadId)];
  for (let first = 0; first < bytes.length; first += Number(partSize)) {
    const part = bytes.subarray(first, first + Number(partSize));
    await writeFile(file, part);
    const last = first + part.length - 1;
    const range = ['--part-first-byte', String(first), '--part-last-byte', String(last)];
    const answer = await ecr(
      client,
      'upload-layer-part',
      ...upload,
      ...range,
      '--layer-part-blob',
      `fileb://${file}`,
    );
    expect(answer).toMatchObject({ lastByteReceived: last, uploadId });
  }
  const completed = await ecr(client, 'complete-layer-upload', ...upload, '--layer-digests', digest);
  expect(completed['layerDigest']).toBe(digest);
}

async function putImage(client: Client, name: string[], { text, digest }: Manifest, ...more: string[]) {
  const file = join(client.home, 'manifest.json');
  await writeFile(file, text);
  const answer = await ecr(client, 'put-image', ...name, '--image-manifest', `file://${file}`, ...more);
  expect(answer).toMatchObject({ image: { imageId: { imageDigest: digest } } });
}

async function ecr(client: Client, ...args: string[]): Promise<Record<string, unknown>> {
  return JSON.parse(await client.run('ecr', ...args)) as Record<string, unknown>;
}
