import { resolve } from 'node:path';
import { expect, it } from '@jest/globals';
import { onPath, succeeds } from '../support/programs.js';
import { awsEnvironment } from './aws-environment.js';
import { describeClient } from './client.js';
import { expectInRegistry, multiArchImage, multiLayerImage, writeLayout } from './layout.js';

const python = onPath('python3');

describeClient(
  'boto3',
  python && succeeds(python, '-c', 'import boto3') ? python : undefined,
  (client) => {
    it.each([
      ['of several layers', 'boto/layers', multiLayerImage('boto3')],
      ['for several architectures', 'boto/archs', multiArchImage('boto3')],
    ])('pushes an image %s and reads it back', async (_, repository, content) => {
      const layout = await writeLayout(await client.folder(), content, 'v1');
      const saw = JSON.parse(
        await client.run(resolve('test/clients/boto3_client.py'), layout, repository),
      ) as unknown;
      const manifests = [content.top, ...content.children].map(({ digest }) => digest);
      expect(saw).toEqual({
        equal: [...manifests, ...content.blobs.map(({ digest }) => digest)].toSorted(),
        described: manifests.toSorted(),
        user: 'AWS',
        refused: 'RepositoryNotEmptyException',
      });
      await expectInRegistry(client.registry, repository, 'v1', content);
    });
  },
  { environment: (_, registry) => awsEnvironment(registry), want: 'python3 with boto3' },
);
