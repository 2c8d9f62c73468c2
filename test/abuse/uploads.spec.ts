import { afterEach, expect, it } from '@jest/globals';
import { beginUpload, createRepository, MEBIBYTE, pushLayer } from '../support/pushes.js';
import { layer } from '../support/images.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';
import { describeEachStore } from '../support/stores.js';
import { type Attacker, attack, attackMany, CHUNKED, ecrHead, leave, ociHead } from './attackers.js';
import { expectBounded, memory, pushAndPull } from './witness.js';

const HALF_OPEN = 1_500;

let registry: RegistryProcess;
let attackers: Attacker[] = [];

afterEach(async () => {
  leave(attackers);
  attackers = [];
  await registry?.close();
});

describeEachStore('clients with credentials', (store) => {
  it('may leave uploads half done by the thousand', async () => {
    registry = await startRegistryProcess({ store });
    const repository = await createRepository(registry.ecr);
    await pushAndPull(registry, 'before');
    const before = memory(registry.pid, 'VmRSS');
    const chunk = new Uint8Array(16 * 1024);
    const halfDone = async (): Promise<void> => {
      const begun = await registry.fetchOci(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
      const location = begun.headers.get('location')!;
      expect((await registry.fetchOci(location, { method: 'PATCH', body: chunk })).status).toBe(202);
    };
    const workers = Array.from({ length: 10 }, async () => {
      for (let n = 0; n < HALF_OPEN / 10; n += 1) await halfDone();
    });
    await Promise.all([...workers, pushAndPull(registry, 'meanwhile')]);
    await pushAndPull(registry, 'afterwards');
    expectBounded(registry.pid, before, `${HALF_OPEN} half-open uploads (${store})`);
  }, 120_000);

  it.each([
    ['UploadLayerPart', async () => ecrHead(registry, 'UploadLayerPart', CHUNKED)],
    ['PutImage', async () => ecrHead(registry, 'PutImage', CHUNKED)],
    [
      'PUT of a manifest',
      async (repository: string) =>
        ociHead(registry, 'PUT', `/v2/${repository}/manifests/latest`, { ...CHUNKED }),
    ],
    [
      'PATCH',
      async (repository: string) => {
        const { id } = await beginUpload(registry.ecr, repository);
        return ociHead(registry, 'PATCH', `/v2/${repository}/blobs/uploads/${id}`, { ...CHUNKED });
      },
    ],
  ])(
    'cannot blow a body up by cutting it into single bytes: %s',
    async (what, opening) => {
      registry = await startRegistryProcess({ store });
      const repository = await createRepository(registry.ecr);
      await pushAndPull(registry, 'before');
      const before = memory(registry.pid, 'VmRSS');
      const pieces = Buffer.from('1\r\n \r\n'.repeat(50_000));
      attackers = await attackMany(20, async () => {
        const attacker = await attack(registry.url, await opening(repository));
        for (let n = 0; n < 20; n += 1) void attacker.send(pieces);
        return attacker;
      });
      await pushAndPull(registry, 'meanwhile');
      await Promise.all(attackers.map(({ over }) => over));
      expectBounded(registry.pid, before, `20 bodies of single bytes, ${what} (${store})`);
    },
    60_000,
  );

  it('may ask for layers and not take them', async () => {
    registry = await startRegistryProcess({ store, config: { STOWAGE_BLOB_DELIVERY: 'stream' } });
    const repository = await createRepository(registry.ecr);
    const blob = layer(32 * MEBIBYTE, 'not taken');
    await pushLayer(registry.ecr, repository, blob);
    await pushAndPull(registry, 'before');
    const before = memory(registry.pid, 'VmRSS');
    const request = ociHead(registry, 'GET', `/v2/${repository}/blobs/${blob.digest}`);
    attackers = await attackMany(200, async () => {
      const attacker = await attack(registry.url, request);
      attacker.socket.pause();
      return attacker;
    });
    await pushAndPull(registry, 'meanwhile');
    expectBounded(registry.pid, before, `200 layers not taken (${store})`);
  }, 60_000);
});
