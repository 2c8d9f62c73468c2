import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { BatchDeleteImageCommand } from '@aws-sdk/client-ecr';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import {
  type Backup,
  type BackupOptions,
  BackupService,
} from '../../src/registry/recovery/backup/backup.service.js';
import { DUMPED_TABLES } from '../../src/registry/recovery/backup/dump.repository.js';
import { age, collectFully, impatientCollector, objectsOf } from '../support/collecting.js';
import { fsck } from '../support/fsck.js';
import { layer } from '../support/images.js';
import {
  beginUpload,
  createRepository,
  MEBIBYTE,
  type PushedImage,
  pushImage,
  uploadOf,
} from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { refusalNamed } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';
import { pull } from '../support/upload-doors.js';
import { restore } from './contexts.js';
import { type EmptyMachine, emptyMachineFor } from './machines.js';
import { viewOf } from './registry-view.js';
import { fillRegistry, OTHER_REGION } from './varied-registry.js';

describeEachStore('A backup', (store) => {
  let registry: TestRegistry;
  let machine: EmptyMachine;
  let folder: string;
  beforeEach(async () => {
    registry = await startRegistry({ store, config: { STOWAGE_ROLE: 'api' } });
    machine = await emptyMachineFor(registry, store);
    folder = join(await mkdtemp(join(tmpdir(), 'stowage-backup-')), 'backup');
  });
  afterEach(async () => {
    await registry?.close();
    await machine?.remove();
    await rm(join(folder, '..'), { recursive: true, force: true });
  });

  const backup = (options: Partial<BackupOptions> = {}): Promise<Backup> =>
    registry.app
      .get(BackupService, { strict: false })
      .backup({ folder, layers: true, signal: new AbortController().signal, ...options });

  it('brings everything back to an empty machine, where fsck finds nothing', async () => {
    await fillRegistry(registry);
    const open = await beginUpload(registry.ecr, 'team/empty');
    await open.part(layer(6 * MEBIBYTE, 'in the middle').bytes, 0);
    const before = [await viewOf(registry), await viewOf(registry, OTHER_REGION)];
    const { manifest, copies } = await backup();
    expect(manifest.layers.missing).toEqual([]);
    expect(copies).toMatchObject({ copied: await registry.prisma.blob.count(), kept: 0 });

    const restored = await restore(machine.settings, { folder });
    expect(restored).toMatchObject({ missing: [], unknownObjects: 0, bytes: manifest.layers.bytes });
    await machine.serving(async (again) => {
      expect([await viewOf(again), await viewOf(again, OTHER_REGION)]).toEqual(before);
      await expectExactCounters(again.prisma);
      expect(await again.prisma.deletedImage.count()).toBe(await registry.prisma.deletedImage.count());
      expect((await fsck(again, { impatient: true })).kinds).toEqual([]);
      // An upload in the middle begins again.
      const continued = uploadOf(again.ecr, 'team/empty', open.id);
      await refusalNamed(continued.part(layer(1_000).bytes, 6 * MEBIBYTE), 'UploadNotFoundException');
      await pushImage(again.ecr, 'team/rich', 'afterwards', ['latest']);
      await collectFully(again, impatientCollector(again));
      expect((await fsck(again, { impatient: true })).kinds).toEqual([]);
    });
  }, 120_000);

  it('holds every image acknowledged before it, and nothing half, however much is pushed meanwhile', async () => {
    const repository = await createRepository(registry.ecr);
    const acknowledged: PushedImage[] = [];
    const ended = new AbortController();
    const pushing = async (pusher: number): Promise<void> => {
      for (let n = 0; !ended.signal.aborted; n += 1)
        acknowledged.push(await pushImage(registry.ecr, repository, `${pusher} ${n}`, [`v${pusher}-${n}`]));
    };
    const pushers = [1, 2, 3].map(pushing);
    while (acknowledged.length < 20) await turn();
    const promised = [...acknowledged];
    const { manifest } = await backup();
    ended.abort();
    await Promise.all(pushers);
    expect(manifest.layers.missing).toEqual([]);

    await restore(machine.settings, { folder });
    await machine.serving(async (again) => {
      for (const { manifest: image, config, layers } of promised) {
        const answer = await again.fetchOci(`/v2/${repository}/manifests/${image.digest}`);
        expect(await answer.text()).toBe(image.text);
        for (const blob of [config, ...layers])
          expect((await pull(again, repository, blob)).equals(blob.bytes)).toBe(true);
      }
      expect((await fsck(again, { impatient: true })).kinds).toEqual([]);
      await expectExactCounters(again.prisma);
    });
  }, 120_000);

  it('loses nothing to a collection that runs at the same time', async () => {
    const repository = await createRepository(registry.ecr);
    for (let n = 0; n < 10; n += 1) await pushImage(registry.ecr, repository, `image ${n}`, [`v${n}`]);
    const before = await viewOf(registry);
    let collecting: Promise<void> | undefined;
    const collect = async (): Promise<void> => {
      const imageIds = Array.from({ length: 10 }, (_, n) => ({ imageTag: `v${n}` }));
      await registry.ecr.send(new BatchDeleteImageCommand({ repositoryName: repository, imageIds }));
      for (let round = 0; round < 3; round += 1) {
        await age(registry, 100);
        await collectFully(registry);
      }
    };
    const { manifest } = await backup({ told: () => void (collecting ??= collect()) });
    await collecting;
    expect(manifest.layers.missing).toEqual([]);
    await restore(machine.settings, { folder });
    await machine.serving(async (again) => expect(await viewOf(again)).toEqual(before));
    // The collection itself is not held up for good.
    await collectFully(registry);
    expect(await objectsOf(registry)).toEqual([]);
  }, 120_000);

  it('of the same folder copies what is new alone, and drops what is gone', async () => {
    const repository = await createRepository(registry.ecr);
    for (const seed of ['one', 'two']) await pushImage(registry.ecr, repository, seed, [seed]);
    expect((await backup()).copies).toMatchObject({ copied: 4, kept: 0 });
    await pushImage(registry.ecr, repository, 'three', ['three']);
    expect(await backup()).toMatchObject({ copies: { copied: 2, kept: 4 }, removed: 0 });
    await registry.ecr.send(
      new BatchDeleteImageCommand({ repositoryName: repository, imageIds: [{ imageTag: 'one' }] }),
    );
    for (let round = 0; round < 3; round += 1) {
      await age(registry, 100);
      await collectFully(registry);
    }
    const before = await viewOf(registry);
    expect(await backup()).toMatchObject({ copies: { copied: 0, kept: 4 }, removed: 2 });
    expect((await readdir(folder)).filter((name) => name.startsWith('database-'))).toHaveLength(1);
    await restore(machine.settings, { folder });
    await machine.serving(async (again) => expect(await viewOf(again)).toEqual(before));
  });

  it('that was interrupted is known as none, and an earlier one in the folder stays whole', async () => {
    const repository = await createRepository(registry.ecr);
    for (let n = 0; n < 5; n += 1) await pushImage(registry.ecr, repository, `image ${n}`, [`v${n}`]);
    const interrupted = (): Promise<unknown> => {
      const stopping = new AbortController();
      return backup({ signal: stopping.signal, told: () => stopping.abort() });
    };
    await expect(interrupted()).rejects.toThrow('The folder holds no new backup');
    await expect(restore(machine.settings, { folder })).rejects.toThrow('was never finished');
    const before = await viewOf(registry);
    await backup();
    await pushImage(registry.ecr, repository, 'later', ['later']);
    await expect(interrupted()).rejects.toThrow('an earlier one is whole');
    await restore(machine.settings, { folder });
    await machine.serving(async (again) => expect(await viewOf(again)).toEqual(before));
  });

  it('is not taken into a folder of something else, nor of another registry, nor twice at once', async () => {
    await expect(backup({ folder: process.cwd() })).rejects.toThrow('is not a folder of backups');
    await backup();
    await machine.serving(async (other) => {
      const taken = other.app
        .get(BackupService, { strict: false })
        .backup({ folder, layers: true, signal: new AbortController().signal });
      await expect(taken).rejects.toThrow('a backup of another registry');
    });
    await pushImage(registry.ecr, await createRepository(registry.ecr), 'image');
    let second: Promise<unknown> | undefined;
    await backup({ told: () => void (second ??= backup().catch((error: unknown) => error)) });
    // Whichever was first to ask has it; the other one is told so, or came when it was over.
    const outcome = await second;
    if (outcome instanceof Error) expect(outcome.message).toContain('Another backup');
  });

  it('without layers restores the database beside a store that still has them', async () => {
    const repository = await createRepository(registry.ecr);
    await pushImage(registry.ecr, repository, 'image', ['latest']);
    const before = await viewOf(registry);
    const { copies } = await backup({ layers: false });
    expect(copies).toBeNull();
    expect(await readdir(folder)).not.toContain('layers');
    await pushImage(registry.ecr, repository, 'after the backup', ['late']);
    await expect(restore(machine.settings, { folder })).rejects.toThrow('is not the one that holds them');
    const { STOWAGE_DATA_DIR, STOWAGE_S3_BUCKET } = registry.environment.settings;
    const beside = await emptyMachineFor(registry, store, {
      STOWAGE_DATA_DIR: STOWAGE_DATA_DIR!,
      ...(STOWAGE_S3_BUCKET !== undefined && { STOWAGE_S3_BUCKET }),
    });
    try {
      expect(await restore(beside.settings, { folder })).toMatchObject({ missing: [], unknownObjects: 2 });
      await beside.serving(async (again) => expect(await viewOf(again)).toEqual(before));
    } finally {
      await beside.remove();
    }
  });

  it('leaves no table out by oversight', async () => {
    const tables = await registry.prisma.$queryRaw<{ name: string }[]>`
      SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_prisma_migrations'`;
    expect(Object.keys(DUMPED_TABLES).sort()).toEqual(tables.map(({ name }) => name).sort());
  });

  it('tells in its manifest what is in it', async () => {
    await pushImage(registry.ecr, await createRepository(registry.ecr), 'image', ['latest']);
    const { manifest } = await backup();
    expect(JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'))).toEqual(manifest);
    const rowsOf = (table: string): number | undefined =>
      manifest.tables.find(({ name }) => name === table)?.rows;
    expect([rowsOf('repository'), rowsOf('image'), rowsOf('image_tag'), rowsOf('blob')]).toEqual([
      1, 1, 1, 2,
    ]);
    expect(manifest).toMatchObject({
      application: 'stowage',
      store: { kind: store },
      layers: { included: true },
    });
  });
});
