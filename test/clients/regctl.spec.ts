import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { builtTool } from '../support/programs.js';
import { describeClient, manifestStatus, storedLayers } from './client.js';
import { expectInFolder, expectInRegistry, multiArchImage, multiLayerImage, writeLayout } from './layout.js';

describeClient(
  'regctl',
  builtTool('regctl'),
  (client) => {
    it.each([
      ['of several layers', multiLayerImage('regctl')],
      ['for several architectures', multiArchImage('regctl')],
    ])('carries an image %s there and back', async (_, content) => {
      const repository = await client.repository();
      const name = `${client.host}/${repository}:v1`;
      const layout = await writeLayout(await client.folder(), content, 'v1');
      await client.run('image', 'copy', `ocidir://${layout}:v1`, name);
      await expectInRegistry(client.registry, repository, 'v1', content);
      expect(await client.run('image', 'digest', name)).toBe(content.top.digest);
      expect(await client.run('manifest', 'get', '--format', 'raw-body', name)).toBe(content.top.text);
      const pulled = await client.folder();
      await client.run('image', 'copy', name, `ocidir://${pulled}:v1`);
      await expectInFolder(pulled, content);
    });

    it('copies between repositories by mounting the layers', async () => {
      const [from, to] = [await client.repository(), await client.repository()];
      const content = multiArchImage('regctl copy');
      const layout = await writeLayout(await client.folder(), content, 'v1');
      await client.run('image', 'copy', `ocidir://${layout}:v1`, `${client.host}/${from}:v1`);
      const before = await storedLayers(client);
      await client.run('image', 'copy', `${client.host}/${from}:v1`, `${client.host}/${to}:v2`);
      await expectInRegistry(client.registry, to, 'v2', content);
      expect(await storedLayers(client)).toBe(before);
    });

    it('sends a layer in chunks', async () => {
      const repository = await client.repository();
      const content = multiLayerImage('regctl chunks');
      const layout = await writeLayout(await client.folder(), content, 'v1');
      await client.run(
        'registry',
        'set',
        client.host,
        '--blob-chunk',
        '5242880',
        '--blob-max',
        '1048576',
        '--skip-check',
      );
      await client.run('image', 'copy', `ocidir://${layout}:v1`, `${client.host}/${repository}:v1`);
      await client.run(
        'registry',
        'set',
        client.host,
        '--blob-chunk',
        '0',
        '--blob-max',
        '0',
        '--skip-check',
      );
      await expectInRegistry(client.registry, repository, 'v1', content);
    });

    it('attaches an artifact and finds it again', async () => {
      const repository = await client.repository();
      const content = multiLayerImage('regctl referrers');
      const name = `${client.host}/${repository}:v1`;
      await client.run(
        'image',
        'copy',
        `ocidir://${await writeLayout(await client.folder(), content, 'v1')}:v1`,
        name,
      );
      await client.runWith(
        'a bill of materials',
        'artifact',
        'put',
        '--artifact-type',
        'text/sbom',
        '--subject',
        name,
      );
      const list = JSON.parse(await client.run('artifact', 'list', '--format', '{{jsonPretty .}}', name)) as {
        descriptors: { artifactType: string; digest: string }[];
      };
      expect(list.descriptors.map(({ artifactType }) => artifactType)).toEqual(['text/sbom']);
      const artifact = `${client.host}/${repository}@${list.descriptors[0]?.digest}`;
      expect(await client.run('artifact', 'get', artifact)).toBe('a bill of materials');
    });

    it('lists and deletes', async () => {
      const repository = await client.repository();
      const content = multiLayerImage('regctl tags');
      const name = `${client.host}/${repository}`;
      const layout = await writeLayout(await client.folder(), content, 'v1');
      for (const tag of ['v1', 'v2'])
        await client.run('image', 'copy', `ocidir://${layout}:v1`, `${name}:${tag}`);
      expect((await client.run('tag', 'ls', name)).split('\n').toSorted()).toEqual(['v1', 'v2']);
      await client.run('tag', 'delete', `${name}:v1`);
      expect(await client.run('tag', 'ls', name)).toBe('v2');
      await client.run('manifest', 'delete', `${name}@${content.top.digest}`);
      expect(await manifestStatus(client, repository, content.top.digest)).toBe(404);
    });
  },
  {
    environment: (home) => ({ REGCTL_CONFIG: join(home, 'regctl.json') }),
    async prepare(client) {
      await client.run('registry', 'set', client.host, '--tls', 'disabled', '--skip-check');
      await client.runWith(client.password, 'registry', 'login', client.host, '-u', 'AWS', '--pass-stdin');
    },
  },
);
