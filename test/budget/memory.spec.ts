import { afterEach, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { layer } from '../support/images.js';
import { beginUpload, createRepository, MEBIBYTE } from '../support/pushes.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';
import { describeEachStore } from '../support/stores.js';
import { streamed } from './stream.js';

const LAYER_MEBIBYTES = 1024;
const MOST_GROWTH = 256 * MEBIBYTE;

let registry: RegistryProcess;

afterEach(() => registry?.close());

describeEachStore('the memory of the service', (store) => {
  it('stays bounded while a layer of 1 GiB is streamed in and out by /v2', async () => {
    registry = await startRegistryProcess({ store, config: { STOWAGE_BLOB_DELIVERY: 'stream' } });
    const repository = await createRepository(registry.ecr);
    const { digest, chunks } = longLayer(`v2 ${store}`);
    const before = memory(registry.pid, 'VmRSS');

    const begun = await registry.fetchOci(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    const location = begun.headers.get('location')!;
    const body = streamed(chunks());
    expect((await registry.fetchOci(location, { method: 'PATCH', body })).status).toBe(202);
    expect((await registry.fetchOci(`${location}?digest=${digest}`, { method: 'PUT' })).status).toBe(201);
    const pulled = createHash('sha256');
    const { body: sent } = await registry.fetchOci(`/v2/${repository}/blobs/${digest}`);
    for await (const chunk of sent!) pulled.update(chunk as Uint8Array);
    expect(`sha256:${pulled.digest('hex')}`).toBe(digest);

    expectBounded('by /v2', before);
  }, 180_000);

  it('stays bounded while a layer of 1 GiB comes in parts', async () => {
    registry = await startRegistryProcess({ store });
    const repository = await createRepository(registry.ecr);
    const { digest, chunks } = longLayer(`parts ${store}`);
    const upload = await beginUpload(registry.ecr, repository);
    const before = memory(registry.pid, 'VmRSS');

    let first = 0;
    let pending: Buffer[] = [];
    const flush = async (): Promise<void> => {
      const part = Buffer.concat(pending);
      pending = [];
      await upload.part(part, first);
      first += part.length;
    };
    for (const chunk of chunks()) {
      pending.push(chunk);
      if (pending.length * MEBIBYTE === upload.partSize) await flush();
    }
    if (pending.length > 0) await flush();
    expect((await upload.complete(digest)).layerDigest).toBe(digest);

    expectBounded('in parts', before);
  }, 180_000);

  function expectBounded(how: string, before: number): void {
    const growth = memory(registry.pid, 'VmHWM') - before;
    process.stdout.write(
      `Memory, 1 GiB ${how} (${store}): ${(before / MEBIBYTE).toFixed(0)} MiB before, at most ${(growth / MEBIBYTE).toFixed(0)} MiB more\n`,
    );
    expect(growth).toBeLessThanOrEqual(MOST_GROWTH);
  }
});

/** The same MiB over and over, but for a number in front: long, without being held in memory. */
function longLayer(seed: string): { digest: string; chunks: () => Generator<Buffer> } {
  const { bytes } = layer(MEBIBYTE, seed);
  function* chunks(): Generator<Buffer> {
    for (let n = 0; n < LAYER_MEBIBYTES; n += 1) {
      const chunk = Buffer.from(bytes);
      chunk.writeUInt32BE(n);
      yield chunk;
    }
  }
  const hash = createHash('sha256');
  for (const chunk of chunks()) hash.update(chunk);
  return { digest: `sha256:${hash.digest('hex')}`, chunks };
}

/** Resident memory of a process, now (VmRSS) or at its highest (VmHWM). Bytes. */
function memory(pid: number, what: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${what}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
}
