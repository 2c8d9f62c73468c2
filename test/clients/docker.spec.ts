import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { layer } from '../support/images.js';
import { onPath, succeeds } from '../support/programs.js';
import { MEBIBYTE } from '../support/pushes.js';
import { describeClient } from './client.js';

const program = onPath('docker');
// A daemon that is elsewhere does not reach the registry of the test.
const works = program !== undefined && succeeds(program, 'version', '--format', '{{.Server.Version}}');

describeClient(
  'docker',
  works ? program : undefined,
  (client) => {
    it('builds, pushes and pulls an image of several layers', async () => {
      const repository = await client.repository();
      const name = `${client.host}/${repository}:v1`;
      const context = await client.folder();
      for (const [index, size] of [6 * MEBIBYTE, MEBIBYTE, 1000].entries())
        await writeFile(join(context, `file-${index}`), layer(size, `docker ${index} ${name}`).bytes);
      await writeFile(
        join(context, 'Dockerfile'),
        'FROM scratch\nCOPY file-0 /\nCOPY file-1 /\nCOPY file-2 /\n',
      );
      await client.run('build', '-t', name, context);
      const inspect = () =>
        client.run('image', 'inspect', '--format', '{{.Id}} {{json .RootFS.Layers}}', name);
      const image = await inspect();
      await client.run('push', name);
      await client.run('rmi', '--force', name);
      await client.run('pull', name);
      expect(await inspect()).toBe(image);
      await client.run('rmi', '--force', name);
    });
  },
  {
    want: 'a Docker daemon',
    environment: () => ({
      DOCKER_BUILDKIT: '0',
      ...(process.env['DOCKER_HOST'] && { DOCKER_HOST: process.env['DOCKER_HOST'] }),
    }),
    prepare: (client) =>
      client.runWith(client.password, 'login', '-u', 'AWS', '--password-stdin', client.host),
  },
);
