import { afterEach, describe, expect, it } from '@jest/globals';
import { beginUpload, createRepository, MEBIBYTE } from '../support/pushes.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';
import { describeEachStore, type StoreName } from '../support/stores.js';
import { type Attacker, attack, attackMany, CHUNKED, dribble, ecrHead, leave, ociHead } from './attackers.js';
import { expectBounded, memory, pushAndPull } from './witness.js';

/** Milliseconds between two bytes. */
const BREATH = 100;

let registry: RegistryProcess;
let attackers: Attacker[] = [];
let stop = (): void => undefined;

afterEach(async () => {
  stop();
  leave(attackers);
  attackers = [];
  await registry?.close();
});

/** Where bytes can be sent, and how a request for it begins. */
const WAYS: Record<string, (repository: string) => Promise<string>> = {
  'UploadLayerPart of 20 MiB': async () =>
    `${await ecrHead(registry, 'UploadLayerPart', { 'content-length': 28 * MEBIBYTE })}{"layerPartBlob":"`,
  'UploadLayerPart of unknown length': async () =>
    `${await ecrHead(registry, 'UploadLayerPart', CHUNKED)}12\r\n{"layerPartBlob":"\r\n`,
  'a document of unknown length': async () =>
    `${await ecrHead(registry, 'PutImage', CHUNKED)}12\r\n{"imageManifest":"\r\n`,
  'PUT of a manifest of 4 MiB': async (repository) =>
    ociHead(registry, 'PUT', `/v2/${repository}/manifests/latest`, { 'content-length': 4 * MEBIBYTE }),
  'PATCH of 1 GiB': async (repository) => {
    const { id } = await beginUpload(registry.ecr, repository);
    const path = `/v2/${repository}/blobs/uploads/${id}`;
    return ociHead(registry, 'PATCH', path, { 'content-length': 1024 * MEBIBYTE });
  },
};

type Case = [way: string, bytes: number, count: number];

async function expectOthersServed(store: StoreName, [way, bytes, count]: Case): Promise<void> {
  registry = await startRegistryProcess({ store });
  const repository = await createRepository(registry.ecr);
  await pushAndPull(registry, 'before');
  const before = memory(registry.pid, 'VmRSS');
  const chunked = way.includes('unknown length');
  const first = Buffer.alloc(bytes, 'A');
  attackers = await attackMany(count, async () => {
    const attacker = await attack(registry.url, await WAYS[way]!(repository));
    if (chunked) void attacker.send(`${bytes.toString(16)}\r\n`);
    // Nobody waits for a service that does not read on.
    void attacker.send(chunked ? Buffer.concat([first, Buffer.from('\r\n')]) : first);
    return attacker;
  });
  stop = dribble(attackers, chunked ? '1\r\nA\r\n' : 'A', BREATH);
  await pushAndPull(registry, 'meanwhile');
  expectBounded(registry.pid, before, `${way}, ${bytes} bytes from ${count} clients (${store})`);
  expect((await fetch(`${registry.environment.operatorUrl}/readyz`)).status).toBe(200);
}

// What each of them sends at once, and how many there are. Some ask together for more memory than there is, some fill it.
describe('clients that send a little and then next to nothing', () => {
  it.each<Case>([
    ['UploadLayerPart of 20 MiB', 0, 300],
    ['UploadLayerPart of 20 MiB', 256 * 1024, 100],
    ['UploadLayerPart of 20 MiB', 6 * MEBIBYTE, 40],
    ['UploadLayerPart of unknown length', 256 * 1024, 40],
    ['a document of unknown length', 256 * 1024, 40],
    ['PUT of a manifest of 4 MiB', 3 * MEBIBYTE, 70],
  ])(
    'leave memory for others to push and to pull: %s, %i bytes at first, from %i at once',
    (...given) => expectOthersServed('filesystem', given),
    120_000,
  );
});

describeEachStore('streams that bring a little and then next to nothing', (store) => {
  it.each<Case>([
    ['PATCH of 1 GiB', 0, 300],
    ['PATCH of 1 GiB', 256 * 1024, 100],
    ['PATCH of 1 GiB', 4.5 * MEBIBYTE, 50],
  ])(
    'leave memory for others to push and to pull: %s, %i bytes at first, from %i at once',
    (...given) => expectOthersServed(store, given),
    120_000,
  );
});
