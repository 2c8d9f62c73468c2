import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { onPath } from '../support/programs.js';
import { type Client, describeClient, manifestStatus } from './client.js';
import { expectInFolder, expectInRegistry, multiArchImage, multiLayerImage, writeLayout } from './layout.js';

const TO = '--dest-tls-verify=false';
const FROM = '--src-tls-verify=false';

describeClient(
  'skopeo',
  onPath('skopeo'),
  (client) => {
    it.each([
      ['of several layers', multiLayerImage('skopeo')],
      ['for several architectures', multiArchImage('skopeo')],
    ])('carries an image %s there and back', async (_, content) => {
      const repository = await client.repository();
      const name = `docker://${client.host}/${repository}:v1`;
      const layout = await writeLayout(await client.folder(), content, 'v1');
      await skopeo(client, 'copy', '--all', TO, `oci:${layout}:v1`, name);
      await expectInRegistry(client.registry, repository, 'v1', content);
      expect(await skopeo(client, 'inspect', '--raw', '--tls-verify=false', name)).toBe(content.top.text);
      const pulled = await client.folder();
      await skopeo(client, 'copy', '--all', FROM, name, `dir:${pulled}`);
      await expectInFolder(pulled, content);
    });

    it('turns an image into the form of docker on the way', async () => {
      const repository = await client.repository();
      const content = multiLayerImage('skopeo v2s2');
      const name = `docker://${client.host}/${repository}:v1`;
      const layout = await writeLayout(await client.folder(), content, 'v1');
      await skopeo(client, 'copy', '--format', 'v2s2', TO, `oci:${layout}:v1`, name);
      const { Layers } = JSON.parse(await skopeo(client, 'inspect', '--tls-verify=false', name)) as {
        Layers: string[];
      };
      const [, ...layers] = content.blobs;
      expect(Layers).toEqual(layers.map(({ digest }) => digest));
    });

    it('copies between repositories, lists tags and deletes', async () => {
      const [from, to] = [await client.repository(), await client.repository()];
      const content = multiArchImage('skopeo copy');
      const layout = await writeLayout(await client.folder(), content, 'v1');
      await skopeo(client, 'copy', '--all', TO, `oci:${layout}:v1`, `docker://${client.host}/${from}:v1`);
      const names = [`docker://${client.host}/${from}:v1`, `docker://${client.host}/${to}:v2`] as const;
      await skopeo(client, 'copy', '--all', FROM, TO, ...names);
      await expectInRegistry(client.registry, to, 'v2', content);
      const listed = await skopeo(client, 'list-tags', '--tls-verify=false', `docker://${client.host}/${to}`);
      expect(JSON.parse(listed)).toMatchObject({ Tags: ['v2'] });
      await skopeo(client, 'delete', '--tls-verify=false', names[1]);
      expect(await manifestStatus(client, to, content.top.digest)).toBe(404);
    });
  },
  {
    environment: (home) => ({ REGISTRY_AUTH_FILE: join(home, 'auth.json') }),
    prepare: (client) =>
      client.runWith(
        client.password,
        'login',
        '--tls-verify=false',
        '-u',
        'AWS',
        '--password-stdin',
        client.host,
      ),
  },
);

/** Debian's package brings the policy it needs, others may not. */
function skopeo(client: Client, ...args: string[]): Promise<string> {
  return client.run('--insecure-policy', ...args);
}
