import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { type Ran, run } from '../support/commands.js';
import { layer } from '../support/images.js';
import { createRepository, MEBIBYTE, type PushedImage, pushImage, pushLayer } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';
import { storedObjects } from '../support/stored-objects.js';
import { describeEachStore } from '../support/stores.js';
import type { TestEnvironment } from '../support/test-environment.js';
import { pull } from '../support/upload-doors.js';
import { emptyMachineFor } from './machines.js';

const LAG_PATIENCE_MS = 180_000;

/** As a user types it. */
async function npmRun(settings: Record<string, string>, command: string, ...args: string[]): Promise<Ran> {
  const child = spawn('npm', ['run', '--silent', command, '--', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...settings },
  });
  const ran: Ran = { code: null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (ran.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (ran.stderr += chunk.toString()));
  [ran.code] = (await once(child, 'close')) as [number | null];
  return ran;
}

describeEachStore('An operator', (store) => {
  let service: RegistryProcess;
  let folder: string;
  let repository: string;
  let image: PushedImage;
  const long = layer(11 * MEBIBYTE, 'several parts');

  beforeEach(async () => {
    folder = join(await mkdtemp(join(tmpdir(), 'stowage-backup-')), 'backup');
    service = await startRegistryProcess({ store, embeddedDatabase: true });
    repository = await createRepository(service.ecr);
    image = await pushImage(service.ecr, repository, 'image', ['latest']);
    await pushLayer(service.ecr, repository, long);
  });
  afterEach(async () => {
    await service?.close();
    await rm(join(folder, '..'), { recursive: true, force: true });
  });

  const expectImage = async (): Promise<void> => {
    const answer = await service.fetchOci(`/v2/${repository}/manifests/latest`);
    expect(await answer.text()).toBe(image.manifest.text);
    for (const blob of [image.config, ...image.layers])
      expect((await pull(service, repository, blob)).equals(blob.bytes)).toBe(true);
  };

  it('backs up beside the service, loses the machine, and restores to another one', async () => {
    const { settings, dataDir } = service.environment;
    const backup = await npmRun(settings, 'backup', folder, '--layers');
    expect(backup).toMatchObject({ code: 0, stderr: '' });
    expect(backup.stdout).toMatch(
      /^Backup of .* rows\nLayers: 3 copied \(11\.0 MiB\), 0 there already, 0 removed\n$/,
    );
    expect(await service.kill('SIGKILL')).toBeNull();
    await rm(dataDir, { recursive: true });
    if (store === 's3') settings['STOWAGE_S3_BUCKET'] = `test-${randomUUID()}`;

    const restore = await npmRun(settings, 'restore', folder);
    expect(restore).toMatchObject({ code: 0, stderr: '' });
    expect(restore.stdout).toContain('Layers: 3 written and verified (11.0 MiB)');
    expect(await npmRun(settings, 'fsck', '--all')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Nothing was found.'),
    });
    await service.restart();
    await expectImage();
    expect((await pull(service, repository, long)).equals(long.bytes)).toBe(true);
    await pushImage(service.ecr, repository, 'afterwards', ['latest']);
  }, 120_000);

  it('loses the database alone, without a backup, and rebuilds it from the store', async () => {
    const { settings, dataDir, operatorUrl } = service.environment;
    // The copy of the records is made by the service itself.
    for (const deadline = Date.now() + LAG_PATIENCE_MS; ; await sleep(500)) {
      const metrics = await (await fetch(`${operatorUrl}/metrics`)).text();
      if (/^stowage_pending_records 0$/m.test(metrics)) break;
      if (Date.now() > deadline) throw new Error('The records are not copied');
    }
    expect(await service.kill('SIGKILL')).toBeNull();
    await rm(join(dataDir, 'postgres'), { recursive: true });
    await expect(service.restart()).rejects.toThrow('npm run rebuild');

    const rebuild = await npmRun(settings, 'rebuild');
    expect(rebuild).toMatchObject({ code: 0, stderr: '' });
    expect(rebuild.stdout).toContain('Rebuilt 1 repositories, 1 images, 1 tags');
    expect(rebuild.stdout).toContain('Layers: 3 hashed (11.0 MiB), 0 hashed before, 0 spare');
    expect(rebuild.stdout).toContain(long.digest);
    expect(await npmRun(settings, 'fsck', '--all')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Nothing was found.'),
    });
    await service.restart();
    await expectImage();
    await pushImage(service.ecr, repository, 'afterwards', ['latest']);
  }, 240_000);
});

describe('The commands of recovery', () => {
  let registry: TestRegistry;
  let folder: string;
  beforeEach(async () => {
    registry = await startRegistry({ store: 'filesystem', config: { STOWAGE_ROLE: 'api' } });
    folder = join(await mkdtemp(join(tmpdir(), 'stowage-backup-')), 'backup');
  });
  afterEach(async () => {
    await registry?.close();
    await rm(join(folder, '..'), { recursive: true, force: true });
  });

  it('explain themselves, and refuse what they do not know', async () => {
    for (const command of ['backup', 'restore', 'rebuild']) {
      const help = await run(registry.environment, command, '--help');
      expect(help).toMatchObject({ code: 0, stderr: '' });
      expect(help.stdout).toMatch(new RegExp(`^Usage: npm run ${command}`));
      const wrong = await run(registry.environment, command, '--everything');
      expect(wrong).toMatchObject({ code: 2, stdout: '' });
      expect(wrong.stderr).toContain(`Usage: npm run ${command}`);
    }
    for (const command of ['backup', 'restore'])
      for (const args of [[], [folder, folder]])
        expect(await run(registry.environment, command, ...args)).toMatchObject({ code: 2, stdout: '' });
  });

  it('say in one sentence why they do not', async () => {
    expect(await run(registry.environment, 'restore', folder)).toEqual({
      code: 1,
      stdout: '',
      stderr: `restore: There is no backup in ${folder}.\n`,
    });
    await createRepository(registry.ecr);
    expect(await run(registry.environment, 'rebuild')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'rebuild: The database knows repositories. A rebuild is for an empty database only.\n',
    });
    expect(await run(registry.environment, 'backup', process.cwd())).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^backup: .* is not a folder of backups: it contains .*\.\n$/),
    });
  });

  it('end with 3 after a backup that lacks what the store has lost', async () => {
    const { layers } = await pushImage(registry.ecr, await createRepository(registry.ecr), 'image');
    const { objectKey } = await registry.prisma.blob.findUniqueOrThrow({
      where: { sha256: layers[0]!.digest.slice(7) },
    });
    await storedObjects(registry.environment).remove(objectKey);
    const backup = await run(registry.environment, 'backup', folder);
    expect(backup).toMatchObject({ code: 3, stderr: '' });
    expect(backup.stdout).toContain(
      `1 layers are missing in the store, or have other bytes; run npm run fsck:\n  ${objectKey}\n`,
    );
  });

  it('may be killed at any moment, and run again', async () => {
    const repository = await createRepository(registry.ecr);
    const images: PushedImage[] = [];
    for (let n = 0; n < 30; n += 1) images.push(await pushImage(registry.ecr, repository, `image ${n}`));
    const machine = await emptyMachineFor(registry, 'filesystem');
    try {
      const { environment } = machine;
      await killedAt(registry.environment, join(folder, 'layers/blobs'), 'backup', folder);
      if (!existsSync(join(folder, 'manifest.json')))
        expect(await run(environment, 'restore', folder)).toMatchObject({ code: 1, stdout: '' });
      expect(await run(registry.environment, 'backup', folder)).toMatchObject({ code: 0 });
      await killedAt(environment, join(environment.dataDir, 'layers/blobs'), 'restore', folder);
      const again = await run(environment, 'restore', folder);
      // It may have been over a moment before it was killed.
      if (again.code !== 0) expect(again.stderr).toContain('knows repositories or layers already');
      expect(await run(environment, 'fsck', '--all')).toMatchObject({ code: 0 });
      await machine.serving(async (served) => {
        for (const { manifest } of images)
          expect((await served.fetchOci(`/v2/${repository}/manifests/${manifest.digest}`)).status).toBe(200);
      });
    } finally {
      await machine.remove();
    }
  }, 120_000);
});

/** Kills the command without warning as soon as the first layer stands in the folder. */
async function killedAt(environment: TestEnvironment, blobs: string, ...command: string[]): Promise<void> {
  const [name, ...args] = command;
  const child = spawn(resolve('node_modules/.bin/node'), [resolve('dist/commands', `${name}.js`), ...args], {
    stdio: 'ignore',
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...environment.settings },
  });
  const ended = once(child, 'exit');
  while (child.exitCode === null && (await readdir(blobs).catch(() => [])).length === 0) await turn();
  child.kill('SIGKILL');
  await ended;
}
