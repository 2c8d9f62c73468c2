import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Blob, layer } from '../support/images.js';
import { createRepository, MEBIBYTE } from '../support/pushes.js';
import { INTERNAL_ERROR, SLOW_DOWN, WEB_PAGE } from '../support/s3-operations.js';
import type { S3Fault } from '../support/s3-proxy.js';
import { pulled, pushPatiently } from './push.js';
import { describeSickStore, type SickStore, startOnSickStore } from './sick-store.js';

const SILENCE_SECONDS = 4;

describeSickStore('A pull streamed from a sick store', () => {
  let sick: SickStore;
  let repository: string;
  let blob: Blob;
  beforeAll(async () => {
    sick = await startOnSickStore({
      STOWAGE_BLOB_DELIVERY: 'stream',
      STOWAGE_S3_TIMEOUT_SECONDS: String(SILENCE_SECONDS),
    });
    repository = await createRepository(sick.registry.ecr);
    blob = layer(48 * MEBIBYTE, 'reads');
    await pushPatiently('OCI', sick.registry, repository, blob, blob.size);
  });
  afterEach(() => sick.store.heal());
  afterAll(() => sick?.close());

  const get = (headers: Record<string, string> = {}): Promise<Response> =>
    sick.registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`, { headers });

  const BEFORE: [string, S3Fault][] = [
    ['answers 500', INTERNAL_ERROR],
    ['answers 503 SlowDown', SLOW_DOWN],
    ['resets the connection', { reset: 'before' }],
    ['answers with a web page', { answer: WEB_PAGE }],
    ['is silent', { hold: true }],
  ];
  it.each(BEFORE)('comes whole when the store once %s', async (_what, fault) => {
    sick.store.on('GetObject', fault);
    expect((await pulled(sick.registry, repository, blob)).equals(blob.bytes)).toBe(true);
  });

  it.each([
    ...BEFORE,
    ['announces another length', { change: ({ body }) => ({ body: body.subarray(1) }) }],
  ] as [string, S3Fault][])('is refused for now while the store always %s', async (_what, fault) => {
    sick.store.on('GetObject', fault, { times: Infinity });
    const response = await get();
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await response.json()).toMatchObject({ errors: [{ code: 'UNKNOWN' }] });
    sick.store.heal();
    expect((await pulled(sick.registry, repository, blob)).equals(blob.bytes)).toBe(true);
  });

  it.each([
    ['breaks off', { truncateAt: 5 * MEBIBYTE }],
    ['falls silent', { stallAt: 5 * MEBIBYTE }],
  ] as [string, S3Fault][])(
    'never looks whole when the store %s in the middle, and is resumed by the client',
    async (_what, fault) => {
      sick.store.on('GetObject', fault);
      const received: Buffer[] = [];
      const broken = (async () => {
        const response = await get();
        for await (const chunk of response.body!) received.push(Buffer.from(chunk));
      })();
      await expect(broken).rejects.toThrow();
      const first = Buffer.concat(received);
      expect(first.equals(blob.bytes.subarray(0, first.length))).toBe(true);
      const rest = await get({ range: `bytes=${first.length}-` });
      expect(rest.status).toBe(206);
      const whole = Buffer.concat([first, Buffer.from(await rest.arrayBuffer())]);
      expect(whole.equals(blob.bytes)).toBe(true);
    },
  );

  it('is not ended because the client takes its time', async () => {
    const { url, token } = sick.registry;
    const asking = request(`${url}/v2/${repository}/blobs/${blob.digest}`, {
      headers: { authorization: `Basic ${token}` },
    }).end();
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    await sleep(3 * SILENCE_SECONDS * 1000);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).equals(blob.bytes)).toBe(true);
  });
});
