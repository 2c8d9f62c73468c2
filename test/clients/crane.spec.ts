import { expect, it } from '@jest/globals';
import { builtTool } from '../support/programs.js';
import { describeClient, manifestStatus, storedLayers } from './client.js';
import { expectInFolder, expectInRegistry, multiArchImage, multiLayerImage, writeLayout } from './layout.js';

describeClient(
  'crane',
  builtTool('crane'),
  (client) => {
    it.each([
      ['of several layers', multiLayerImage('crane'), 'v1', []],
      ['for several architectures', multiArchImage('crane'), undefined, ['--index']],
    ])('carries an image %s there and back', async (_, content, layoutTag, flags) => {
      const repository = await client.repository();
      const name = `${client.host}/${repository}:v1`;
      const layout = await writeLayout(await client.folder(), content, layoutTag);
      await client.run('push', ...flags, layout, name);
      await expectInRegistry(client.registry, repository, 'v1', content);
      expect(await client.run('digest', name)).toBe(content.top.digest);
      expect(await client.run('manifest', name)).toBe(content.top.text);
      const pulled = await client.folder();
      await client.run('pull', '--format', 'oci', name, pulled);
      await expectInFolder(pulled, content);
    });

    it('copies between repositories by mounting the layers', async () => {
      const [from, to] = [await client.repository(), await client.repository()];
      const content = multiLayerImage('crane copy');
      const layout = await writeLayout(await client.folder(), content, 'v1');
      await client.run('push', layout, `${client.host}/${from}:v1`);
      const before = await storedLayers(client);
      await client.run('copy', `${client.host}/${from}:v1`, `${client.host}/${to}:v2`);
      await expectInRegistry(client.registry, to, 'v2', content);
      expect(await storedLayers(client)).toBe(before);
    });

    it('lists, tags and deletes', async () => {
      const repository = await client.repository();
      const content = multiLayerImage('crane tags');
      const name = `${client.host}/${repository}`;
      await client.run('push', await writeLayout(await client.folder(), content, 'v1'), `${name}:v1`);
      await client.run('tag', `${name}:v1`, 'v2');
      expect((await client.run('ls', name)).split('\n').toSorted()).toEqual(['v1', 'v2']);
      expect((await client.run('catalog', client.host)).split('\n')).toContain(repository);
      await client.run('delete', `${name}@${content.top.digest}`);
      expect(await client.run('ls', name)).toBe('');
      expect(await manifestStatus(client, repository, content.top.digest)).toBe(404);
    });
  },
  {
    prepare: (client) =>
      client.runWith(client.password, 'auth', 'login', '-u', 'AWS', '--password-stdin', client.host),
  },
);
