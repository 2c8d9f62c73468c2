import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { BatchDeleteImageCommand, DeleteRepositoryCommand } from '@aws-sdk/client-ecr';
import { BLOB_STORE, type BlobStore } from '../../src/blob-store/blob-store.js';
import { RECORDS } from '../../src/blob-store/named-objects.js';
import { type Copied, RecordsService } from '../../src/registry/recovery/records/records.service.js';
import { describeSickStore, startOnSickStore } from '../faults/sick-store.js';
import { collectFully, impatientCollector } from '../support/collecting.js';
import { fsck } from '../support/fsck.js';
import { createRepository, pushImage, putImage } from '../support/pushes.js';
import { startRegistry, startReplica, type TestRegistry } from '../support/registry.js';
import { storedObjects } from '../support/stored-objects.js';
import { describeEachStore } from '../support/stores.js';
import { rebuild } from './contexts.js';
import { type EmptyMachine, emptyMachineFor } from './machines.js';
import { viewOf } from './registry-view.js';

const running = new AbortController().signal;
const copy = (registry: TestRegistry, signal = running): Promise<Copied> =>
  registry.app.get(RecordsService).copy(signal);
const named = (registry: TestRegistry) => registry.app.get<BlobStore>(BLOB_STORE, { strict: false }).named;

async function recordsOf(registry: TestRegistry): Promise<string[]> {
  const names = [];
  for await (const { name } of named(registry).list(RECORDS)) names.push(name);
  return names;
}

async function lagOf(registry: TestRegistry): Promise<number> {
  const metrics = await (await fetch(`${registry.environment.operatorUrl}/metrics`)).text();
  return Number(/^stowage_pending_records (\S+)$/m.exec(metrics)?.[1]);
}

describeEachStore('The copy of the records', (store) => {
  let registry: TestRegistry;
  let machine: EmptyMachine;
  beforeEach(async () => {
    registry = await startRegistry({ store, config: { STOWAGE_ROLE: 'api' } });
    const { STOWAGE_DATA_DIR, STOWAGE_S3_BUCKET } = registry.environment.settings;
    machine = await emptyMachineFor(registry, store, {
      STOWAGE_DATA_DIR: STOWAGE_DATA_DIR!,
      ...(STOWAGE_S3_BUCKET !== undefined && { STOWAGE_S3_BUCKET }),
    });
  });
  afterEach(async () => {
    await registry?.close();
    await machine?.remove();
  });

  /** What comes out of it is what a client sees now. */
  const expectComplete = async (): Promise<void> => {
    const before = await viewOf(registry);
    await rebuild(machine.settings);
    await machine.serving(async (again) => expect(await viewOf(again)).toEqual(before));
  };

  it('tells how far it is behind, and is behind by nothing after each run', async () => {
    expect(await lagOf(registry)).toBe(0);
    const repository = await createRepository(registry.ecr);
    await pushImage(registry.ecr, repository, 'image', ['latest']);
    expect(await lagOf(registry)).toBeGreaterThanOrEqual(2);
    expect(await copy(registry)).toEqual({ batches: 1, fullSet: false });
    expect(await lagOf(registry)).toBe(0);
    expect(await copy(registry)).toEqual({ batches: 0, fullSet: false });
    expect(await recordsOf(registry)).toHaveLength(1);
  });

  it('is no leftover for the collector and for fsck, and none of the layers', async () => {
    const repository = await createRepository(registry.ecr);
    await pushImage(registry.ecr, repository, 'image', ['latest']);
    await copy(registry);
    const records = await recordsOf(registry);
    const impatient = impatientCollector(registry);
    await collectFully(registry, impatient);
    expect(await impatient.sweep(running)).toMatchObject({ orphanedObjects: 0, unfinishedObjects: 0 });
    const { kinds } = await fsck(registry, { impatient: true, repair: true });
    expect(kinds).toEqual([]);
    expect(await recordsOf(registry)).toEqual(records);
    await expectComplete();
  });

  it('waits while the store is another one, and then catches up', async () => {
    const repository = await createRepository(registry.ecr);
    const stored = storedObjects(registry.environment);
    const name = await stored.rename('somebody else');
    for (const seed of ['one', 'two']) await pushImage(registry.ecr, repository, seed, [seed]);
    const lag = await lagOf(registry);
    await expect(copy(registry)).rejects.toThrow('is not the one of this database');
    expect(await recordsOf(registry)).toEqual([]);
    expect(await lagOf(registry)).toBe(lag);
    await stored.rename(name);
    await copy(registry);
    expect(await lagOf(registry)).toBe(0);
    await expectComplete();
  });

  it('is the same for changes told of twice, as after a crash in the middle', async () => {
    const repository = await createRepository(registry.ecr);
    const { manifest } = await pushImage(registry.ecr, repository, 'first', ['latest', 'first']);
    await pushImage(registry.ecr, repository, 'second', ['latest']);
    const again = (): Promise<number> => registry.prisma.$executeRaw`
      INSERT INTO pending_record (repository_id) SELECT id FROM repository`;
    await copy(registry);
    await again();
    await registry.prisma.$executeRaw`
      INSERT INTO pending_record (repository_id, digest) SELECT repository_id, digest FROM image ORDER BY id`;
    await copy(registry);
    await putImage(registry.ecr, repository, manifest, 'moved');
    await again();
    await copy(registry);
    await expectComplete();
  });

  it('holds the last state of everything, whoever copies while it changes', async () => {
    const replica = await startReplica(registry);
    const repository = await createRepository(registry.ecr);
    const ended = new AbortController();
    const copying = [registry, replica].map(async (one) => {
      while (!ended.signal.aborted) await copy(one);
    });
    const changing = [registry, replica].map(async ({ ecr }, side) => {
      for (let n = 0; n < 12; n += 1) {
        const image = await pushImage(ecr, repository, `${side} ${n}`, ['latest', `v${side}-${n}`]);
        if (n % 3 === 0)
          await ecr.send(
            new BatchDeleteImageCommand({
              repositoryName: repository,
              imageIds: [{ imageDigest: image.manifest.digest }],
            }),
          );
        const shortLived = await createRepository(ecr, { repositoryName: `short/lived-${side}` });
        await pushImage(ecr, shortLived, `${side} ${n}`, ['latest']);
        await ecr.send(new DeleteRepositoryCommand({ repositoryName: shortLived, force: true }));
      }
    });
    await Promise.all(changing);
    ended.abort();
    await Promise.all(copying);
    await replica.close();
    await copy(registry);
    expect(await lagOf(registry)).toBe(0);
    await expectComplete();
  }, 120_000);

  it('is written anew now and then, which replaces all batches before, and none after', async () => {
    const repository = await createRepository(registry.ecr);
    for (const seed of ['one', 'two']) {
      await pushImage(registry.ecr, repository, seed, [seed]);
      await copy(registry);
    }
    const records = registry.app.get(RecordsService);
    const before = await recordsOf(registry);
    expect(before).toHaveLength(2);
    const stopped = new AbortController();
    stopped.abort();
    expect(await records.writeFullSet(stopped.signal)).toBe(false);
    expect(await recordsOf(registry)).toEqual(expect.arrayContaining(before));
    expect(await records.writeFullSet(running)).toBe(true);
    const after = await recordsOf(registry);
    for (const name of before) expect(after).not.toContain(name);
    expect(after.at(-1)).toMatch(/\.full-end\.json$/);
    await pushImage(registry.ecr, repository, 'three', ['one']);
    await copy(registry);
    expect((await recordsOf(registry)).length).toBe(after.length + 1);
    await expectComplete();
  });

  it('that is damaged is not taken for a good one', async () => {
    const repository = await createRepository(registry.ecr);
    await pushImage(registry.ecr, repository, 'image', ['latest']);
    await copy(registry);
    const [name] = await recordsOf(registry);
    const whole = (await named(registry).read(name!))!;
    const broken = Buffer.from(whole);
    broken[broken.length >> 1]! ^= 1;
    for (const bytes of [broken, whole.subarray(0, whole.length - 9), Buffer.alloc(0)]) {
      await named(registry).write(name!, bytes);
      await expect(rebuild(machine.settings)).rejects.toThrow(
        `The object ${name} of the blob store is damaged`,
      );
    }
    await named(registry).write(name!, whole);
    await registry.app.get(RecordsService).writeFullSet(running);
    const part = (await recordsOf(registry)).find((one) => one.includes('.full-0'))!;
    await named(registry).remove([part]);
    await expect(rebuild(machine.settings)).rejects.toThrow(/has \d parts instead of \d/);
  });
});

describeSickStore('The copy of the records, while the S3 store is out of order', () => {
  it('loses nothing, holds up nobody, and catches up', async () => {
    const sick = await startOnSickStore();
    const { registry, store } = sick;
    const machine = await emptyMachineFor(registry, 's3', {
      STOWAGE_S3_BUCKET: registry.environment.settings['STOWAGE_S3_BUCKET']!,
    });
    try {
      const repository = await createRepository(registry.ecr);
      const { manifest } = await pushImage(registry.ecr, repository, 'image', ['latest']);
      store.on('*', { answer: { status: 503, body: Buffer.from('out of order') } }, { probability: 1 });
      await expect(copy(registry)).rejects.toThrow();
      // Tags and repositories need no store.
      await putImage(registry.ecr, repository, manifest, 'meanwhile');
      await createRepository(registry.ecr, { repositoryName: 'made/meanwhile' });
      expect(await lagOf(registry)).toBeGreaterThanOrEqual(4);
      store.heal();
      // The store has it all, and its answer is lost.
      store.on('PutObject', { reset: 'after' }, { probability: 1 });
      await expect(copy(registry)).rejects.toThrow();
      store.heal();
      await copy(registry);
      expect(await lagOf(registry)).toBe(0);
      const before = await viewOf(registry);
      await rebuild(machine.settings);
      await machine.serving(async (again) => expect(await viewOf(again)).toEqual(before));
    } finally {
      await sick.close();
      await machine.remove();
    }
  }, 60_000);
});
