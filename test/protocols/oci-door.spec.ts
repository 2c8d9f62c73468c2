import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { BareDoors } from './bare-doors.js';

let doors: BareDoors;

beforeAll(async () => {
  doors = await BareDoors.open();
});

afterAll(async () => {
  await doors.close();
});

describe('The OCI door', () => {
  it('reads a name with slashes as one parameter', async () => {
    const response = await fetch(`${doors.url}/v2/${'a'.repeat(120)}/b/blobs/sha256:${'0'.repeat(64)}`);
    expect(await response.json()).toEqual({
      name: `${'a'.repeat(120)}/b`,
      digest: `sha256:${'0'.repeat(64)}`,
    });
  });

  it.each([
    [`/v2/A/blobs/sha256:${'0'.repeat(64)}`, 400, 'NAME_INVALID'],
    ['/v2/a/b/blobs/sha256:00', 400, 'DIGEST_INVALID'],
    ['/v2/a/b/nothing', 404, 'UNSUPPORTED'],
    ['/v2/a/b/tags/list', 405, 'UNSUPPORTED'],
    ['/v2/%zz', 400, 'UNSUPPORTED'],
  ])('refuses GET %s with %i %s', async (path, status, code) => {
    const response = await fetch(doors.url + path);
    expect(response.status).toBe(status);
    expect(response.headers.get('x-amzn-requestid')).toMatch(/^[0-9a-f-]{36}$/);
    expect(response.headers.get('docker-distribution-api-version')).toBe('registry/2.0');
    expect(await response.json()).toMatchObject({ errors: [{ code }] });
  });

  it('answers the version check with and without its slash', async () => {
    expect((await fetch(`${doors.url}/v2/`)).status).toBe(200);
    expect((await fetch(`${doors.url}/v2`)).status).toBe(200);
  });

  it('answers HEAD without a body', async () => {
    const response = await fetch(`${doors.url}/v2/a/b/manifests/latest`, { method: 'HEAD' });
    expect(response.status).toBe(404);
    expect(await response.text()).toBe('');
  });

  it('keeps every byte of a manifest, whatever its content type', async () => {
    const manifest = Buffer.from('{"a":1}  \n');
    for (const type of [
      'application/vnd.oci.image.manifest.v1+json',
      'application/json',
      'text/plain; charset=utf-8',
    ]) {
      const response = await fetch(`${doors.url}/v2/a/b/manifests/v1`, {
        method: 'PUT',
        body: manifest,
        headers: { 'content-type': type },
      });
      expect(await response.json()).toMatchObject({
        name: 'a/b',
        image: { tag: 'v1' },
        bytes: manifest.length,
        sha256: createHash('sha256').update(manifest).digest('hex'),
      });
    }
  });

  it('takes manifests of four mebibytes and none larger', async () => {
    const put = (bytes: number, stream: boolean) =>
      fetch(`${doors.url}/v2/a/b/manifests/v1`, {
        method: 'PUT',
        body: stream
          ? (Readable.toWeb(Readable.from([Buffer.alloc(bytes)])) as ReadableStream)
          : Buffer.alloc(bytes),
        duplex: 'half',
      } as RequestInit);
    for (const stream of [false, true]) {
      expect((await put(4_194_304, stream)).status).toBe(200);
      const refused = await put(4_194_305, stream);
      expect(refused.status).toBe(413);
      expect(await refused.json()).toMatchObject({ errors: [{ code: 'SIZE_INVALID' }] });
    }
    expect(await doors.budgetIsFree()).toBe(true);
  });

  it.each(['application/octet-stream', 'nonsense', 'application/json', undefined])(
    'hands over the bytes of a blob sent as %s',
    async (type) => {
      const response = await fetch(`${doors.url}/v2/a/b/blobs/uploads/1`, {
        method: 'PATCH',
        body: Readable.toWeb(Readable.from([Buffer.alloc(3_000_000), Buffer.alloc(5)])) as ReadableStream,
        headers: type === undefined ? {} : { 'content-type': type },
        duplex: 'half',
      } as RequestInit);
      expect(response.status).toBe(202);
      expect(await response.json()).toEqual({ name: 'a/b', received: 3_000_005 });
    },
  );

  it('hands over an empty stream when there is no body', async () => {
    const response = await fetch(`${doors.url}/v2/a/b/blobs/uploads/1`, { method: 'PATCH' });
    expect(await response.json()).toEqual({ name: 'a/b', received: 0 });
  });

  it('closes the connection of a client that falls silent in the middle of a blob', async () => {
    await doors
      .raw(`PATCH /v2/a/b/blobs/uploads/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc`)
      .catch(() => '');
    expect((await fetch(`${doors.url}/livez`)).status).toBe(200);
  });
});

describe('The server', () => {
  it('answers what is not HTTP in the dialect of the door it was meant for', async () => {
    expect(await doors.raw('POST / HTTP/1.1\r\nbad header\r\n\r\n')).toMatch(
      /^HTTP\/1.1 400 [^]*"__type":"MalformedHttpRequestException"/,
    );
    expect(await doors.raw('GET /v2/ HTTP/1.1\r\nbad header\r\n\r\n')).toMatch(
      /^HTTP\/1.1 400 [^]*\{"errors":\[/,
    );
  });

  it('refuses headers beyond all measure', async () => {
    const answer = await doors.raw(`GET /v2/ HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(40_000)}\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1.1 431 /);
    expect(answer).toMatch(/x-amzn-RequestId: [0-9a-f-]{36}/);
  });

  it('answers addresses of neither door in plain JSON', async () => {
    const response = await fetch(`${doors.url}/favicon.ico`);
    expect(response.status).toBe(404);
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
  });
});
