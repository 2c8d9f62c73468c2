import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { layer, MEDIA_TYPES } from '../support/images.js';
import { onPath, succeeds } from '../support/programs.js';
import { MEBIBYTE } from '../support/pushes.js';
import { type Client, describeClient } from './client.js';

const program = onPath('podman');
const works = program !== undefined && succeeds(program, 'info');
const PLAIN = '--tls-verify=false';

describeClient(
  'podman',
  works ? program : undefined,
  (client) => {
    it('builds, pushes and pulls an image of several layers', async () => {
      const repository = await client.repository();
      const name = `${client.host}/${repository}:v1`;
      const image = await build(client, name);
      await client.run('push', PLAIN, '--digestfile', join(client.home, 'digest'), name);
      await client.run('rmi', '--force', name);
      await client.run('pull', PLAIN, name);
      expect(await inspect(client, name)).toEqual(image);
      const response = await client.registry.fetchOci(`/v2/${repository}/manifests/v1`, {
        headers: { accept: Object.values(MEDIA_TYPES).join() },
      });
      const manifest = (await response.json()) as { config: { digest: string }; layers: unknown[] };
      expect(manifest.config.digest).toBe(`sha256:${image.Id}`);
      expect(manifest.layers).toHaveLength(3);
    });

    it('pushes and pulls an image for several architectures', async () => {
      const repository = await client.repository();
      const name = `${client.host}/${repository}:v1`;
      for (const arch of ['amd64', 'arm64']) await build(client, `localhost/part:${arch}`, arch);
      await client.run('manifest', 'create', 'localhost/list');
      for (const arch of ['amd64', 'arm64'])
        await client.run(
          'manifest',
          'add',
          '--arch',
          arch,
          'localhost/list',
          `containers-storage:localhost/part:${arch}`,
        );
      await client.run('manifest', 'push', '--all', PLAIN, 'localhost/list', `docker://${name}`);
      const expected = await inspect(client, 'localhost/part:arm64');
      await client.run('rmi', '--force', 'localhost/part:arm64');
      await client.run('pull', PLAIN, '--arch', 'arm64', name);
      expect(await inspect(client, name)).toEqual(expected);
    });
  },
  {
    want: 'podman that works',
    // Stores, settings and logins of the test's own: nothing of the machine's is touched.
    environment: (home) => ({
      CONTAINERS_STORAGE_CONF: join(home, 'storage.conf'),
      REGISTRY_AUTH_FILE: join(home, 'auth.json'),
      XDG_RUNTIME_DIR: home,
    }),
    async prepare(client) {
      const roots = ['graphroot', 'runroot'].map((root) => `${root} = "${join(client.home, root)}"`);
      await writeFile(join(client.home, 'storage.conf'), `[storage]\ndriver = "vfs"\n${roots.join('\n')}\n`);
      await client.runWith(client.password, 'login', PLAIN, '-u', 'AWS', '--password-stdin', client.host);
    },
  },
);

/** From nothing, with three layers. */
async function build(client: Client, name: string, arch = 'amd64') {
  const context = await client.folder();
  for (const [index, size] of [6 * MEBIBYTE, MEBIBYTE, 1000].entries())
    await writeFile(join(context, `file-${index}`), layer(size, `${name} ${index}`).bytes);
  const copies = [0, 1, 2].map((index) => `COPY file-${index} /`);
  await writeFile(join(context, 'Containerfile'), ['FROM scratch', ...copies].join('\n'));
  await client.run('build', '--layers', '--arch', arch, '--isolation', 'chroot', '-t', name, context);
  return inspect(client, name);
}

/** What an image is made of: the id is the digest of its config, which names the digests of the unpacked layers. */
async function inspect(client: Client, name: string) {
  const [image] = JSON.parse(await client.run('image', 'inspect', name)) as {
    Id: string;
    RootFS: { Layers: string[] };
    Architecture: string;
  }[];
  return { Id: image?.Id, Layers: image?.RootFS.Layers, Architecture: image?.Architecture };
}
