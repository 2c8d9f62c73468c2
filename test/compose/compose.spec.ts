import { afterAll, beforeAll, expect, it, jest } from '@jest/globals';
import {
  BatchGetImageCommand,
  DescribeImagesCommand,
  GetAuthorizationTokenCommand,
} from '@aws-sdk/client-ecr';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { layer } from '../support/images.js';
import { builtTool, describeWhere, runProgram } from '../support/programs.js';
import { createRepository, MEBIBYTE, pushImage, type PushedImage } from '../support/pushes.js';
import { connectTo, type RegistryClient } from '../support/registry-client.js';
import { freePort } from '../support/test-environment.js';
import { pull } from '../support/upload-doors.js';
import { type Engine, startEngine } from './engine.js';
import { makeStandIns, publicImages } from './stand-ins.js';

jest.setTimeout(180_000);
const BUILD_MS = 600_000;
const UP = ['up', '--detach', '--wait', '--wait-timeout', '120'];

const started = await startEngine();
const missing = 'missing' in started ? started.missing : undefined;
if (missing !== undefined) process.stderr.write(`SKIP: no engine: ${missing}\n`);

const plugin = builtTool('docker-compose');
describeWhere(plugin !== undefined, 'the compose file', 'the compose plugin', () => {
  const check = (envFile: string) =>
    runProgram(plugin!, ['--env-file', envFile, 'config', '--quiet'], { cwd: process.cwd() });

  it('is a valid one with the example settings', async () => {
    expect(await check('.env.example')).toBe('');
  });

  it('is refused without settings', async () => {
    await expect(check('/dev/null')).rejects.toThrow('set it in .env');
  });
});

describeWhere(
  missing === undefined,
  'docker compose with the files as they are',
  `an engine: ${missing}`,
  () => {
    const engine = started as Engine;
    const secrets = {
      STOWAGE_ROOT_SECRET_ACCESS_KEY: randomBytes(20).toString('hex'),
      POSTGRES_PASSWORD: randomBytes(20).toString('hex'),
      MINIO_ROOT_PASSWORD: randomBytes(20).toString('hex'),
    };
    let port: number;
    let envFile: string;
    let registry: RegistryClient;
    /** In the repository at the ECR door's hands. */
    let repository: string;
    let pushed: PushedImage;
    /** What the engine itself pushed, at the OCI door. */
    let image: { name: string; id: string };

    const compose = (...args: string[]) => engine.compose(envFile, ...args);
    const inspect = async (service: string, format: string) =>
      (await engine.docker('inspect', '--format', format, `stowage-${service}-1`)).trim();
    const pidOf = async (service: string) => Number(await inspect(service, '{{.State.Pid}}'));
    const restartsOf = async (service: string) => Number(await inspect(service, '{{.RestartCount}}'));

    async function writeSettings(name: string, changes: Record<string, string | undefined>) {
      const file = join(engine.folder, name);
      const settings = {
        STOWAGE_ROOT_ACCESS_KEY_ID: 'AKIACOMPOSE',
        STOWAGE_PUBLISH: `127.0.0.1:${port}`,
        STOWAGE_PUBLIC_URL: `http://localhost:${port}`,
        ...secrets,
        ...changes,
      };
      const lines = Object.entries(settings).filter(([, value]) => value !== undefined);
      await writeFile(file, lines.map(([key, value]) => `${key}=${value}\n`).join(''));
      return file;
    }

    /** As by a fault of its own: for `docker kill` the engine would not start it again. */
    async function crash(service: string): Promise<void> {
      const pid = await pidOf(service);
      const restarts = await restartsOf(service);
      process.kill(pid, 'SIGKILL');
      await until(`${service} is started again`, async () => (await restartsOf(service)) > restarts);
    }

    /** Everything pushed so far is there to the last byte. */
    async function expectImages(): Promise<void> {
      const { images } = await registry.ecr.send(
        new BatchGetImageCommand({ repositoryName: repository, imageIds: [{ imageTag: 'v1' }] }),
      );
      expect(images?.[0]?.imageManifest).toBe(pushed.manifest.text);
      for (const blob of [pushed.config, ...pushed.layers])
        expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
      await engine.docker('pull', '--quiet', image.name);
      expect(await imageId(image.name)).toBe(image.id);
      await engine.docker('rmi', '--force', image.name);
    }

    const imageId = async (name: string) =>
      (await engine.docker('image', 'inspect', '--format', '{{.Id}}', name)).trim();

    /** Within a minute the service answers with what it stores. */
    const serves = () =>
      until('the service serves', async () => {
        await registry.ecr.send(new DescribeImagesCommand({ repositoryName: repository }));
        return true;
      });

    beforeAll(async () => {
      port = await freePort();
      envFile = await writeSettings('.env', {});
      await makeStandIns(engine, await publicImages(engine, envFile));
      if (engine.network === 'bridge') await compose('build');
      else await engine.docker('build', '--network=host', '--tag=stowage:local', '.');
    }, BUILD_MS);

    afterAll(() => engine.close(), 120_000);

    it.each([
      ['the example secrets', () => '.env.example', 'is an example value'],
      [
        'a root secret that is short',
        () => writeSettings('short', { STOWAGE_ROOT_SECRET_ACCESS_KEY: randomBytes(15).toString('hex') }),
        'STOWAGE_ROOT_SECRET_ACCESS_KEY must have at least 32 characters',
      ],
      [
        'a short password of the store',
        () => writeSettings('short', { MINIO_ROOT_PASSWORD: 'k3yk3y' }),
        'STOWAGE_S3_SECRET_ACCESS_KEY has fewer than 8 characters',
      ],
    ])('refuses to start with %s', async (_what, settings, complaint) => {
      const run = ['run', '--rm', '--no-deps', '-T', 'stowage'];
      await expect(engine.compose(await settings(), ...run)).rejects.toThrow(complaint);
    });

    it.each(Object.keys(secrets))('refuses to start without %s', async (name) => {
      const settings = await writeSettings('missing', { [name]: undefined });
      await expect(engine.compose(settings, ...UP)).rejects.toThrow(
        `required variable ${name} is missing a value: set it in .env`,
      );
      expect(await engine.docker('ps', '--all', '--quiet')).toBe('');
    });

    it('starts, healthy and under its public URL', async () => {
      await compose(...UP);
      for (const service of ['stowage', 'postgres', 'minio'])
        expect([service, await inspect(service, '{{.State.Health.Status}}')]).toEqual([service, 'healthy']);
      registry = await connectTo(`http://127.0.0.1:${port}`, {
        accessKeyId: 'AKIACOMPOSE',
        secretAccessKey: secrets.STOWAGE_ROOT_SECRET_ACCESS_KEY,
      });
      const { authorizationData } = await registry.ecr.send(new GetAuthorizationTokenCommand({}));
      expect(authorizationData?.[0]?.proxyEndpoint).toBe(`http://localhost:${port}`);
    });

    it('runs the service without rights and on a file system it cannot write', async () => {
      expect(await inspect('stowage', '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}')).toBe(
        'true [ALL]',
      );
      const inside = (command: string) => compose('exec', '-T', 'stowage', 'sh', '-c', command);
      expect(Number(await inside('id -u'))).toBeGreaterThan(0);
      expect(await inside('grep -E "^(CapEff|CapBnd|NoNewPrivs):" /proc/1/status | tr -s "\\t\\n" " "')).toBe(
        'CapEff: 0000000000000000 CapBnd: 0000000000000000 NoNewPrivs: 1 ',
      );
      for (const place of ['/app/dist', '/app', '/', '/home/node'])
        await expect(inside(`touch ${place}/written`)).rejects.toThrow('Read-only file system');
      await inside('touch /data/written /tmp/written && rm /data/written /tmp/written');
    });

    it('shows the machine its one port and nobody else anything', async () => {
      const bindings = '{{json .NetworkSettings.Ports}}';
      expect(JSON.parse(await inspect('stowage', bindings))).toEqual({
        '5160/tcp': [{ HostIp: '127.0.0.1', HostPort: String(port) }],
        '5161/tcp': null,
      });
      for (const service of ['postgres', 'minio'])
        expect(Object.values(JSON.parse(await inspect(service, bindings)) as object)).toEqual([null]);
    });

    it('takes an image at each door', async () => {
      repository = await createRepository(registry.ecr);
      pushed = await pushImage(registry.ecr, repository, 'compose', ['v1']);

      const name = `localhost:${port}/${await createRepository(registry.ecr)}:v1`;
      const context = join(engine.folder, 'pushed');
      await mkdir(context);
      for (const [index, size] of [12 * MEBIBYTE, 1_000].entries())
        await writeFile(join(context, `file-${index}`), layer(size, `compose ${index}`).bytes);
      await writeFile(join(context, 'Dockerfile'), 'FROM scratch\nCOPY file-0 /\nCOPY file-1 /\n');
      await engine.docker('build', '--quiet', '--tag', name, context);
      image = { name, id: await imageId(name) };
      const password = Buffer.from(registry.token, 'base64').toString().slice('AWS:'.length);
      const login = ['login', '--username', 'AWS', '--password-stdin', `localhost:${port}`];
      await engine.dockerWith(password, ...login);
      await engine.docker('push', name);
      await engine.docker('rmi', '--force', name);
      await expectImages();
    });

    it('comes back after a crash of the service', async () => {
      await crash('stowage');
      await serves();
      await expectImages();
    });

    it('goes on after a crash of the database, without being restarted itself', async () => {
      const pid = await pidOf('stowage');
      await crash('postgres');
      await serves();
      await expectImages();
      expect(await pidOf('stowage')).toBe(pid);
    });

    it('goes on after a crash of the store, without being restarted itself', async () => {
      const pid = await pidOf('stowage');
      await crash('minio');
      await until('the store serves', async () => {
        await expectImages();
        return true;
      });
      expect(await pidOf('stowage')).toBe(pid);
    });

    it('has everything again after down and up', async () => {
      await compose('down');
      expect(await engine.docker('ps', '--all', '--quiet')).toBe('');
      await compose(...UP);
      await expectImages();
    });

    it('writes no secret to its logs', async () => {
      const logs = await compose('logs', '--no-color');
      expect(logs).toContain('Stowage serves');
      for (const secret of [...Object.values(secrets), registry.token]) expect(logs).not.toContain(secret);
    });

    it('stops in order', async () => {
      await compose('stop');
      for (const service of ['stowage', 'postgres', 'minio'])
        expect([service, await inspect(service, '{{.State.Status}} {{.State.ExitCode}}')]).toEqual([
          service,
          'exited 0',
        ]);
    });

    it('leaves nothing after down -v', async () => {
      await compose('down', '--volumes');
      expect(await engine.docker('ps', '--all', '--quiet')).toBe('');
      for (const kind of ['volume', 'network'])
        expect(await engine.docker(kind, 'ls', '--quiet', '--filter', 'name=stowage')).toBe('');
    });
  },
  'REQUIRE_COMPOSE',
);

/** @throws when it is not so within a minute, with the last error on the way */
async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  let cause: unknown;
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(250)) {
    try {
      if (await holds()) return;
    } catch (error) {
      cause = error;
    }
  }
  throw new Error(`Not within a minute: ${what}`, { cause });
}
