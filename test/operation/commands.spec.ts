import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BatchDeleteImageCommand, DeleteRepositoryCommand } from '@aws-sdk/client-ecr';
import { BLOB_STORE, type BlobStore } from '../../src/blob-store/blob-store.js';
import { age, ageDoomed, objectOf, objectsOf } from '../support/collecting.js';
import { documents, type Ran, run } from '../support/commands.js';
import { imageManifest, layer } from '../support/images.js';
import {
  beginUpload,
  createRepository,
  MEBIBYTE,
  pushImage,
  pushLayer,
  putImage,
} from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { startRegistryProcess } from '../support/registry-process.js';
import { describeEachStore } from '../support/stores.js';
import { pull } from '../support/upload-doors.js';

const deleteTag = (registry: Pick<TestRegistry, 'ecr'>, repositoryName: string, imageTag: string) =>
  registry.ecr.send(new BatchDeleteImageCommand({ repositoryName, imageIds: [{ imageTag }] }));

describeEachStore('npm run collect', (store) => {
  let registry: TestRegistry;
  beforeAll(async () => (registry = await startRegistry({ store, config: { STOWAGE_ROLE: 'api' } })));
  afterAll(() => registry?.close());
  const collect = (...args: string[]): Promise<Ran> => run(registry.environment, 'collect', ...args);

  it('tells what would go and why, removes nothing with --dry-run, and exactly that without', async () => {
    const repository = await createRepository(registry.ecr, { repositoryName: 'team/app' });
    const [loose, kept] = [layer(3_000, `${store} loose`), layer(2_000, `${store} kept`)];
    for (const blob of [loose, kept]) await pushLayer(registry.ecr, repository, blob);
    await putImage(registry.ecr, repository, imageManifest(kept, []));
    const { manifest, config, layers } = await pushImage(registry.ecr, repository, `${store} gone`, ['v1']);
    await deleteTag(registry, repository, 'v1');
    const upload = await beginUpload(registry.ecr, repository);
    await upload.part(layer(6 * MEBIBYTE, store).bytes, 0);
    await age(registry, 25);
    const blobs = registry.app.get<BlobStore>(BLOB_STORE, { strict: false });
    const context = { signal: new AbortController().signal, takePartNumbers: async () => 1 };
    const { key } = await blobs.commit(null, [Buffer.from('doomed')], context);
    await registry.prisma.doomedObject.create({ data: { objectKey: key } });
    await deleteLater(repository);
    const before = await objectsOf(registry);

    const dry = await collect('--dry-run', '--json');
    expect(dry).toMatchObject({ code: 0, stderr: '' });
    const items = documents(dry);
    const totals = items.pop()!;
    const named = (what: string): unknown[] =>
      items
        .filter((item) => item['what'] === what)
        .map((item) => item['upload'] ?? item['digest'] ?? item['key']);
    const gone = [loose, config, ...layers].map(({ digest }) => digest);
    expect(named('upload')).toEqual([upload.id]);
    expect(named('deleted-image')).toEqual([manifest.digest]);
    expect(new Set(named('layer'))).toEqual(new Set(gone));
    expect(new Set(named('blob'))).toEqual(new Set(gone));
    expect(named('object')).toEqual([key]);
    for (const item of items)
      expect(item).toMatchObject({ since: expect.any(String), reason: expect.any(String) });
    const bytes = loose.size + config.size + layers[0]!.size;
    expect(totals).toMatchObject({ totals: { blob: { count: 3, bytes }, layer: { count: 3, bytes } } });
    expect(await objectsOf(registry)).toEqual(before);

    const text = (await collect('--dry-run')).stdout;
    expect(text).toMatch(
      new RegExp(`^layer 000000000000/us-east-1 team/app ${loose.digest} .* since .*: no image`, 'm'),
    );
    expect(text).toMatch(/^total blob: 3 \(/m);

    const wet = await collect('--json');
    expect(wet).toMatchObject({ code: 0, stderr: '' });
    expect(documents(wet)).toMatchObject([
      {
        totals: {
          expiredUploads: 1,
          forgottenImages: 1,
          unlinkedLayers: 3,
          unseenBlobs: 3,
          freedBytes: bytes,
          objectsKept: false,
        },
      },
    ]);
    await ageDoomed(registry.prisma, 1);
    expect((await collect()).stdout).toContain('Objects removed from the store: 3');
    expect((await collect('--dry-run')).stdout).toBe('Nothing would be removed.\n');
    expect(await objectsOf(registry)).toEqual([await objectOf(registry, kept)]);
  });

  /** An image that may still be brought back is none of the collector's business. */
  const deleteLater = async (repository: string): Promise<void> => {
    const manifest = imageManifest(layer(2_000, `${store} kept`), [], { annotations: { later: 'yes' } });
    await putImage(registry.ecr, repository, manifest, 'later');
    await deleteTag(registry, repository, 'later');
  };

  it('says when a backup keeps it from removing objects', async () => {
    await registry.prisma.$transaction(
      async (backup) => {
        await backup.$executeRaw`SELECT pg_advisory_xact_lock_shared(hashtextextended('stowage-objects-kept', 0))`;
        const ran = await collect('--skip-sweep');
        expect(ran.stdout).toContain('Objects were kept, since a backup or another collection runs.');
      },
      { timeout: 120_000 },
    );
  });

  it('explains itself, and refuses what it does not know', async () => {
    expect(await collect('--help')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Usage: npm run collect/),
    });
    const wrong = await collect('--dry');
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toMatch(/--dry\b[^]*Usage: npm run collect/);
  });
});

describe('npm run undelete', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ store: 'filesystem', config: { STOWAGE_ROLE: 'api' } });
  });
  afterAll(() => registry?.close());
  const undelete = (...args: string[]): Promise<Ran> => run(registry.environment, 'undelete', ...args);

  it('lists what can be brought back, and brings it back, also into a repository that is gone', async () => {
    const repository = await createRepository(registry.ecr);
    const image = await pushImage(registry.ecr, repository, 'command', ['v1', 'latest']);
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: repository, force: true }));
    const listed = (await undelete('--list')).stdout;
    expect(listed).toContain(`${repository} ${image.manifest.digest} [v1, latest]`);
    expect(documents(await undelete('--list', '--repository', repository, '--json'))).toMatchObject([
      { digest: image.manifest.digest, tags: ['v1', 'latest'], until: expect.any(String) },
    ]);
    const where = ['--repository', repository];
    const homeless = await undelete(...where, '--all');
    expect(homeless).toMatchObject({ code: 1, stdout: '' });
    expect(homeless.stderr).toMatch(/does not exist .*--create-repository/);
    const back = await undelete(...where, '--tag', 'latest', '--create-repository');
    expect(back).toMatchObject({ code: 0, stderr: '' });
    expect(back.stdout).toBe(
      `Created the repository ${repository} with default settings\n${image.manifest.digest} [v1, latest]: brought back\n1 of 1 came back\n`,
    );
    for (const blob of [image.config, ...image.layers])
      expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
    expect((await undelete(...where, '--all')).code).toBe(1);
    expect((await undelete('--list', ...where)).stdout).toBe('No deleted image can be brought back.\n');
  });

  it('says which tags are taken, and ends with 1 when an image stays away', async () => {
    const repository = await createRepository(registry.ecr);
    const first = await pushImage(registry.ecr, repository, 'first', ['latest']);
    await deleteTag(registry, repository, 'latest');
    const second = await pushImage(registry.ecr, repository, 'second', ['latest']);
    const where = ['--repository', repository, '--digest', first.manifest.digest];
    const dry = await undelete(...where, '--dry-run');
    expect(dry.stdout).toContain(
      `its tag latest is now that of ${second.manifest.digest} (--move-tags takes it back)`,
    );
    expect(dry.stdout).toContain('1 of 1 would come back');
    await registry.prisma.$executeRaw`INSERT INTO quota (registry_id, repository_id, name, value)
      SELECT registry_id, id, 'imagesPerRepository', 1 FROM repository WHERE name = ${repository}`;
    const full = await undelete(...where);
    expect(full).toMatchObject({ code: 1 });
    expect(full.stdout).toContain('not brought back: the limit of 1 images would be exceeded');
  });

  it('wants to know exactly what', async () => {
    for (const args of [
      [],
      ['--repository', 'a'],
      ['--repository', 'a', '--all', '--tag', 'x'],
      ['--since', 'never'],
    ])
      expect(await undelete(...args)).toMatchObject({ code: 2, stdout: '' });
  });
});

describe('A command on the embedded database', () => {
  it('works beside the service and without it', async () => {
    const service = await startRegistryProcess({ store: 'filesystem', embeddedDatabase: true });
    try {
      const repository = await createRepository(service.ecr);
      const { manifest } = await pushImage(service.ecr, repository, 'embedded', ['v1']);
      await deleteTag(service, repository, 'v1');
      const list = (): Promise<Ran> => run(service.environment, 'undelete', '--list');
      expect((await list()).stdout).toContain(manifest.digest);
      expect(await service.kill('SIGTERM')).toBe(0);
      expect((await list()).stdout).toContain(manifest.digest);
      await service.restart();
      const where = ['--repository', repository, '--all'];
      expect(await run(service.environment, 'undelete', ...where)).toMatchObject({ code: 0 });
      await putImage(service.ecr, repository, manifest, 'again');
    } finally {
      await service.close();
    }
  });
});
