import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type Backup, BackupService } from '../../src/registry/recovery/backup/backup.service.js';
import { BackupIncomplete } from '../../src/registry/recovery/backup/restore.service.js';
import { objectsOf } from '../support/collecting.js';
import { fsck } from '../support/fsck.js';
import { createRepository, type PushedImage, pushImage, pushLayer } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { flipped, storedObjects } from '../support/stored-objects.js';
import { describeEachStore } from '../support/stores.js';
import { pull } from '../support/upload-doors.js';
import { restore } from './contexts.js';
import { type EmptyMachine, emptyMachineFor } from './machines.js';
import { viewOf } from './registry-view.js';

describeEachStore('A restore', (store) => {
  let registry: TestRegistry;
  let machine: EmptyMachine;
  let folder: string;
  let repository: string;
  let image: PushedImage;
  beforeEach(async () => {
    registry = await startRegistry({ store, config: { STOWAGE_ROLE: 'api' } });
    machine = await emptyMachineFor(registry, store);
    folder = join(await mkdtemp(join(tmpdir(), 'stowage-backup-')), 'backup');
    repository = await createRepository(registry.ecr);
    image = await pushImage(registry.ecr, repository, 'image', ['latest']);
  });
  afterEach(async () => {
    await registry?.close();
    await machine?.remove();
    await rm(join(folder, '..'), { recursive: true, force: true });
  });

  const backup = (): Promise<Backup> =>
    registry.app
      .get(BackupService, { strict: false })
      .backup({ folder, layers: true, signal: new AbortController().signal });
  /** Where the backup has the bytes of a layer. Written anew, since the file may be the store's own by a link. */
  const copyOf = async ({ digest }: { digest: string }): Promise<string> => {
    const { objectKey } = await registry.prisma.blob.findUniqueOrThrow({
      where: { sha256: digest.slice(7) },
    });
    const key = objectKey.slice(objectKey.lastIndexOf('/') + 1);
    return join(folder, 'layers/blobs', key.slice(0, 2), key);
  };
  const replace = async (path: string, change: (bytes: Buffer) => Buffer): Promise<void> => {
    const bytes = await readFile(path);
    await rm(path);
    await writeFile(path, change(bytes));
  };
  const changeManifest = async (change: (text: string) => string): Promise<void> => {
    const path = join(folder, 'manifest.json');
    await writeFile(path, change(await readFile(path, 'utf8')));
  };

  it('goes on where it was interrupted', async () => {
    for (let n = 0; n < 5; n += 1) await pushImage(registry.ecr, repository, `image ${n}`, [`v${n}`]);
    const before = await viewOf(registry);
    await backup();
    const stopping = new AbortController();
    const stopped = restore(machine.settings, {
      folder,
      signal: stopping.signal,
      told: ({ layers }) => void (layers >= 4 && stopping.abort()),
    });
    await expect(stopped).rejects.toThrow('The database is still empty; run it again to go on.');
    const { layers } = await restore(machine.settings, { folder });
    expect(layers).toBe(12);
    await machine.serving(async (again) => expect(await viewOf(again)).toEqual(before));
  });

  it('replaces what an interrupted one left broken', async () => {
    for (let n = 0; n < 5; n += 1) await pushImage(registry.ecr, repository, `image ${n}`, [`v${n}`]);
    await backup();
    const stopping = new AbortController();
    const told = ({ layers }: { layers: number }): void => void (layers >= 4 && stopping.abort());
    const stopped = restore(machine.settings, { folder, signal: stopping.signal, told });
    await expect(stopped).rejects.toThrow('run it again to go on');
    const stored = storedObjects(machine.environment);
    let broken = 0;
    for (const key of await objectsOf(registry)) {
      const found = await stored.change(key, flipped).then(
        () => 1,
        () => 0,
      );
      broken += found;
    }
    expect(broken).toBeGreaterThanOrEqual(4);
    expect(await restore(machine.settings, { folder })).toMatchObject({ layers: 12, missing: [] });
    await machine.serving(async (again) => expect((await fsck(again)).kinds).toEqual([]));
  });

  it('refuses a database that knows anything', async () => {
    await backup();
    const used = { ...machine.settings, DATABASE_URL: registry.environment.settings['DATABASE_URL']! };
    await expect(restore(used, { folder })).rejects.toThrow(
      'The database knows repositories or layers already. A backup is restored to an empty one only.',
    );
    await restore(machine.settings, { folder });
    await expect(restore(machine.settings, { folder })).rejects.toThrow('knows repositories or layers');
  });

  it('refuses a database with tables of something else', async () => {
    await backup();
    await inDatabase('DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE invoices (id int)');
    await expect(restore(machine.settings, { folder })).rejects.toThrow('it has a table invoices');
    // One without any structure is as good as an empty one of ours.
    await inDatabase('DROP TABLE invoices');
    await restore(machine.settings, { folder });
    await machine.serving(async (again) => expect(await objectsOf(again)).toHaveLength(2));
  });

  it('refuses a store that holds layers or records of another registry', async () => {
    await backup();
    await machine.serving(async (other) => {
      await pushImage(other.ecr, await createRepository(other.ecr), 'of another', ['latest']);
    });
    const elsewhere = await emptyMachineFor(registry, store);
    const settings = { ...machine.settings, DATABASE_URL: elsewhere.settings['DATABASE_URL']! };
    await expect(restore(settings, { folder })).rejects.toThrow('holds layers that are not of this backup');
    await elsewhere.remove();
  });

  it('refuses what is no backup, or one that is not as it was written', async () => {
    await expect(restore(machine.settings, { folder })).rejects.toThrow(`There is no backup in ${folder}.`);
    const { manifest } = await backup();
    const table = join(folder, manifest.tables.find(({ name }) => name === 'image')!.file);
    const whole = await readFile(table);
    await writeFile(table, flipped(whole));
    await expect(restore(machine.settings, { folder })).rejects.toThrow('The backup is damaged: ');
    await writeFile(table, whole.subarray(0, whole.length / 2));
    await expect(restore(machine.settings, { folder })).rejects.toThrow('The backup is damaged: ');
    await rm(table);
    await expect(restore(machine.settings, { folder })).rejects.toThrow('The backup is not whole: ');
    await writeFile(table, whole);
    await changeManifest((text) => text.slice(0, text.length / 2));
    await expect(restore(machine.settings, { folder })).rejects.toThrow('manifest.json is damaged');
    await machine.serving(async (again) => expect(await again.prisma.repository.count()).toBe(0));
  });

  it('refuses a backup of a newer release, or of another kind of store', async () => {
    await backup();
    const original = await readFile(join(folder, 'manifest.json'), 'utf8');
    await changeManifest((text) => text.replace('"format": 1', '"format": 2'));
    await expect(restore(machine.settings, { folder })).rejects.toThrow('written by a newer release');
    await changeManifest(() => original.replace('0002_durability', '0099_of_tomorrow'));
    await expect(restore(machine.settings, { folder })).rejects.toThrow('the structure of another release');
    await inDatabase('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    await expect(restore(machine.settings, { folder })).rejects.toThrow(
      'The migration 0099_of_tomorrow is not one this release knows',
    );
    const other = store === 's3' ? 'filesystem' : 's3';
    await changeManifest(() => original.replace(`"kind": "${store}"`, `"kind": "${other}"`));
    await expect(restore(machine.settings, { folder })).rejects.toThrow(
      `The backup is of a registry with ${other} storage; this one is configured for ${store}.`,
    );
    await changeManifest(() => original);
    await restore(machine.settings, { folder });
  });

  it('brings a backup of an earlier release to the structure of this one', async () => {
    await backup();
    await inDatabase('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    const migrationFolder = join(folder, '../migrations');
    await cp('prisma/migrations', migrationFolder, { recursive: true });
    await mkdir(join(migrationFolder, '9999_of_tomorrow'));
    await writeFile(
      join(migrationFolder, '9999_of_tomorrow/migration.sql'),
      'CREATE TABLE of_tomorrow AS SELECT name FROM repository',
    );
    await restore(machine.settings, { folder, migrationFolder });
    expect(await inDatabase('SELECT name FROM of_tomorrow')).toEqual([{ name: repository }]);
  });

  it('goes on without layers the backup lost only where that is accepted, and the next push heals them', async () => {
    const second = await pushImage(registry.ecr, repository, 'second', ['second']);
    await backup();
    const lost = [image.layers[0]!, second.layers[0]!];
    await replace(await copyOf(lost[0]!), flipped);
    await rm(await copyOf(lost[1]!));
    const refused = await restore(machine.settings, { folder }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(BackupIncomplete);
    const digests = lost.map(({ digest }) => digest).sort();
    expect((refused as BackupIncomplete).digests.sort()).toEqual(digests);
    expect(await inDatabase('SELECT id FROM repository')).toEqual([]);
    await expect(machine.serving(async () => undefined)).rejects.toThrow('restore a backup');

    const { missing } = await restore(machine.settings, { folder, acceptMissing: true });
    expect(missing.sort()).toEqual(digests);
    await machine.serving(async (again) => {
      for (const { digest } of lost)
        expect((await again.fetchOci(`/v2/${repository}/blobs/${digest}`)).status).toBe(404);
      for (const blob of lost) {
        await pushLayer(again.ecr, repository, blob);
        expect((await pull(again, repository, blob)).equals(blob.bytes)).toBe(true);
      }
      expect((await fsck(again)).kinds).toEqual([]);
    });
  });

  it('tells of layers the store had lost already when the backup was taken', async () => {
    const { objectKey } = await registry.prisma.blob.findUniqueOrThrow({
      where: { sha256: image.layers[0]!.digest.slice(7) },
    });
    await storedObjects(registry.environment).remove(objectKey);
    const { manifest } = await backup();
    expect(manifest.layers.missing).toEqual([objectKey]);
    const { missing } = await restore(machine.settings, { folder });
    expect(missing).toEqual([image.layers[0]!.digest]);
    await machine.serving(async (again) => {
      expect((await pull(again, repository, image.config)).equals(image.config.bytes)).toBe(true);
      await pushLayer(again.ecr, repository, image.layers[0]!);
      expect((await fsck(again)).kinds).toEqual([]);
    });
  });

  async function inDatabase(statements: string): Promise<unknown[]> {
    const client = new pg.Client({ connectionString: machine.settings['DATABASE_URL'] });
    await client.connect();
    try {
      return (await client.query(statements)).rows;
    } finally {
      await client.end();
    }
  }
});
