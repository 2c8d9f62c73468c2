import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { builtTool } from '../support/programs.js';
import { layer } from '../support/images.js';
import { describeClient, manifestStatus, storedLayers } from './client.js';
import { expectInFolder, expectInRegistry, multiArchImage, multiLayerImage, writeLayout } from './layout.js';

describeClient(
  'oras',
  builtTool('oras'),
  (client) => {
    it.each([
      ['of several layers', multiLayerImage('oras')],
      ['for several architectures', multiArchImage('oras')],
    ])('carries an image %s there and back', async (_, content) => {
      const repository = await client.repository();
      const name = `${client.host}/${repository}:v1`;
      const layout = await writeLayout(await client.folder(), content, 'v1');
      await client.run('copy', '--from-oci-layout', '--to-plain-http', `${layout}:v1`, name);
      await expectInRegistry(client.registry, repository, 'v1', content);
      expect(await client.run('resolve', '--plain-http', name)).toBe(content.top.digest);
      const pulled = await client.folder();
      await client.run('copy', '--from-plain-http', '--to-oci-layout', name, `${pulled}:v1`);
      await expectInFolder(pulled, content);
    });

    it('copies between repositories by mounting the layers', async () => {
      const [from, to] = [await client.repository(), await client.repository()];
      const content = multiArchImage('oras copy');
      const layout = await writeLayout(await client.folder(), content, 'v1');
      await client.run(
        'copy',
        '--from-oci-layout',
        '--to-plain-http',
        `${layout}:v1`,
        `${client.host}/${from}:v1`,
      );
      const before = await storedLayers(client);
      const names = [`${client.host}/${from}:v1`, `${client.host}/${to}:v2`];
      await client.run('copy', '--from-plain-http', '--to-plain-http', ...names);
      await expectInRegistry(client.registry, to, 'v2', content);
      expect(await storedLayers(client)).toBe(before);
    });

    it('attaches an artifact and discovers it', async () => {
      const repository = await client.repository();
      const content = multiLayerImage('oras attach');
      const name = `${client.host}/${repository}:v1`;
      const layout = await writeLayout(await client.folder(), content, 'v1');
      await client.run('copy', '--from-oci-layout', '--to-plain-http', `${layout}:v1`, name);
      await writeFile(join(client.home, 'sbom.json'), '{"packages":[]}');
      await client.run(
        'attach',
        '--plain-http',
        '--artifact-type',
        'example/sbom',
        name,
        'sbom.json:application/json',
      );
      const discovered = await client.run('discover', '--plain-http', '--format', 'json', name);
      const { referrers } = JSON.parse(discovered) as {
        referrers: { artifactType: string; digest: string }[];
      };
      expect(referrers.map(({ artifactType }) => artifactType)).toEqual(['example/sbom']);
      // The registry lists them itself: no tag was pushed in place of that.
      expect(await client.run('repo', 'tags', '--plain-http', `${client.host}/${repository}`)).toBe('v1');
      const pulled = await client.folder();
      await client.run(
        'pull',
        '--plain-http',
        '-o',
        pulled,
        `${client.host}/${repository}@${referrers[0]?.digest}`,
      );
      expect(await readFile(join(pulled, 'sbom.json'), 'utf8')).toBe('{"packages":[]}');
    });

    it('carries plain files', async () => {
      const repository = await client.repository();
      const name = `${client.host}/${repository}:files`;
      const file = layer(7_000_000, 'oras file');
      await writeFile(join(client.home, 'cargo.bin'), file.bytes);
      await client.run('push', '--plain-http', name, 'cargo.bin');
      const pulled = await client.folder();
      await client.run('pull', '--plain-http', '-o', pulled, name);
      await expectInFolder(pulled, { top: { ...file, mediaType: '', text: '' }, children: [], blobs: [] });
    });

    it('deletes', async () => {
      const repository = await client.repository();
      const content = multiLayerImage('oras delete');
      const layout = await writeLayout(await client.folder(), content, 'v1');
      const name = `${client.host}/${repository}`;
      await client.run('copy', '--from-oci-layout', '--to-plain-http', `${layout}:v1`, `${name}:v1`);
      await client.run('manifest', 'delete', '--plain-http', '--force', `${name}@${content.top.digest}`);
      expect(await manifestStatus(client, repository, 'v1')).toBe(404);
    });
  },
  {
    prepare: (client) =>
      client.runWith(client.password, 'login', '--plain-http', '-u', 'AWS', '--password-stdin', client.host),
  },
);
