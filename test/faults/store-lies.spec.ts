import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { type Blob, layer } from '../support/images.js';
import { createRepository, MEBIBYTE } from '../support/pushes.js';
import { startReplica, type TestRegistry } from '../support/registry.js';
import { s3Error } from '../support/s3-operations.js';
import type { S3Answer, S3Fault } from '../support/s3-proxy.js';
import { acknowledged, DOORS, type Door, stepsAt } from './push.js';
import { describeSickStore, expectTrue, type SickStore, startOnSickStore } from './sick-store.js';

const withEtag = ({ headers }: S3Answer): Partial<S3Answer> => ({
  headers: { ...headers, etag: '"00000000000000000000000000000000"' },
});
const withError = (code: string): S3Fault => ({
  answer: { ...s3Error(200, code), headers: { 'content-type': 'application/xml' } },
});
/** One bit of the object, and the checksums of nothing. */
const flipped = ({ body }: S3Answer): Partial<S3Answer> => {
  const damaged = Buffer.from(body);
  damaged[damaged.length >> 1]! ^= 1;
  return { body: damaged };
};
const shortened = ({ body }: S3Answer): Partial<S3Answer> => ({ body: body.subarray(0, body.length - 1) });

let sick: SickStore;
let replica: TestRegistry;
let repository: string;

describeSickStore('A store that does not tell the truth', () => {
  beforeAll(async () => {
    sick = await startOnSickStore({ STOWAGE_BLOB_DELIVERY: 'stream' });
    replica = await startReplica(sick.registry);
    repository = await createRepository(sick.registry.ecr);
  });
  afterEach(() => sick.store.heal());
  afterAll(async () => {
    await replica?.close();
    await sick?.close();
  });

  const staged = async (blob: Blob, door: Door) => {
    const steps = stepsAt(door, sick.registry, repository);
    expect(await steps.begin()).toBe('done');
    const half = 6 * MEBIBYTE;
    expect(await steps.append(blob.bytes.subarray(0, half), 0)).toBe('done');
    expect(await steps.append(blob.bytes.subarray(half), half)).toBe('done');
    return steps;
  };
  /** The same upload finished by a process that never saw its bytes and must ask the store for them. */
  const elsewhere = (upload: string, digest: string): Promise<Response> =>
    replica.fetchOci(`/v2/${repository}/blobs/uploads/${upload}?digest=${digest}`, { method: 'PUT' });
  /** As that process would be after the part before last was sent to yet another one. */
  const forgetDigest = async (upload: string): Promise<void> => {
    await sick.registry.prisma.upload.update({ where: { id: upload }, data: { sha256SoFar: null } });
  };

  it.each(DOORS)('and gives wrong ETags for parts does not spoil the upload (%s door)', async (door) => {
    const blob = layer(13 * MEBIBYTE, `etag ${door}`);
    sick.store.on('UploadPart', { change: withEtag }, { times: Infinity });
    const steps = await staged(blob, door);
    expect(await steps.complete(blob.digest)).toBe('done');
    await expectTrue(sick.registry, repository, blob);
  });

  it.each(DOORS)('and acknowledges a part before it has it is not believed (%s door)', async (door) => {
    const blob = layer(20 * MEBIBYTE, `early ${door}`);
    const steps = stepsAt(door, sick.registry, repository);
    expect(await steps.begin()).toBe('done');
    sick.store.forget();
    sick.store.on('UploadPart', { early: { headers: { etag: '"00000000000000000000000000000000"' } } });
    expect(await steps.append(blob.bytes, 0)).toBe('done');
    expect(sick.store.requests.filter((operation) => operation === 'UploadPart')).toHaveLength(2);
    expect(await steps.complete(blob.digest)).toBe('done');
    await expectTrue(sick.registry, repository, blob);
  });

  it('and gives wrong ETags for parts it then lost has the client begin anew', async () => {
    const blob = layer(13 * MEBIBYTE, 'etag lost');
    sick.store.on('UploadPart', { change: withEtag }, { times: Infinity });
    const steps = await staged(blob, 'OCI');
    const withoutParts = ({ body }: S3Answer): Partial<S3Answer> => ({
      body: Buffer.from(body.toString().replace(/<Part>.*<\/Part>/s, '')),
    });
    sick.store.on('ListParts', { change: withoutParts }, { times: Infinity });
    const response = await elsewhere(steps.upload, blob.digest);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ errors: [{ code: 'BLOB_UPLOAD_UNKNOWN' }] });
    expect(await sick.registry.prisma.blob.count({ where: { sha256: blob.digest.slice(7) } })).toBe(0);
  });

  it.each(['InternalError', 'SlowDown'])(
    'and answers a completion with 200 and %s in the body is asked again',
    async (code) => {
      const blob = layer(7 * MEBIBYTE, `200 ${code}`);
      const steps = await staged(blob, 'ECR');
      sick.store.forget();
      sick.store.on('CompleteMultipartUpload', withError(code), { times: 2 });
      expect(await steps.complete(blob.digest)).toBe('done');
      expect(sick.store.requests.filter((name) => name === 'CompleteMultipartUpload')).toHaveLength(3);
      await expectTrue(sick.registry, repository, blob);
    },
  );

  it('and keeps answering so is not believed', async () => {
    const blob = layer(7 * MEBIBYTE, '200 always');
    const steps = await staged(blob, 'ECR');
    sick.store.on('CompleteMultipartUpload', withError('InternalError'), { times: Infinity });
    expect(await steps.complete(blob.digest)).toBe('retry later');
    expect(await acknowledged(sick.registry, repository, steps.upload)).toBe(blob.size);
    sick.store.heal();
    expect(await steps.complete(blob.digest)).toBe('done');
    await expectTrue(sick.registry, repository, blob);
  });

  it.each([
    ['wrong bytes once', { change: flipped }],
    ['one byte too few, and a length to match', { change: shortened }],
    ['less than it announced', { truncateAt: MEBIBYTE }],
  ] as [string, S3Fault][])(
    'and gives %s to the process that must hash the layer does not make the client wrong',
    async (what, fault) => {
      const blob = layer(7 * MEBIBYTE, `read ${what}`);
      const steps = await staged(blob, 'OCI');
      await forgetDigest(steps.upload);
      sick.store.on('GetObject', fault);
      let response = await elsewhere(steps.upload, blob.digest);
      if (response.status === 503) response = await elsewhere(steps.upload, blob.digest);
      expect([response.status, await response.text()]).toEqual([201, '']);
      await expectTrue(sick.registry, repository, blob);
    },
  );

  it('and gives other bytes each time is no judge of what the client sent', async () => {
    const blob = layer(7 * MEBIBYTE, 'read differently');
    const steps = await staged(blob, 'OCI');
    await forgetDigest(steps.upload);
    sick.store.on('GetObject', { change: flipped });
    sick.store.on('GetObject', { change: ({ body }) => ({ body: Buffer.from(body).fill(0) }) }, { nth: 2 });
    expect((await elsewhere(steps.upload, blob.digest)).status).toBe(503);
    expect((await elsewhere(steps.upload, blob.digest)).status).toBe(201);
    await expectTrue(sick.registry, repository, blob);
  });

  it('and calls its bucket gone makes no upload or layer unknown', async () => {
    const blob = layer(7 * MEBIBYTE, 'bucket');
    const steps = await staged(blob, 'OCI');
    expect(await steps.complete(blob.digest)).toBe('done');
    const other = layer(8 * MEBIBYTE, 'bucket too');
    const open = await staged(other, 'ECR');
    sick.store.on('*', { answer: s3Error(404, 'NoSuchBucket') }, { times: Infinity });
    expect((await sick.registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`)).status).toBe(503);
    expect(await open.complete(other.digest)).toBe('retry later');
    sick.store.heal();
    expect(await open.complete(other.digest)).toBe('done');
    await expectTrue(sick.registry, repository, blob, other);
  });
});
