import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  ECRClient,
  InitiateLayerUploadCommand,
  InvalidLayerPartException,
  UploadLayerPartCommand,
} from '@aws-sdk/client-ecr';
import { connect } from 'node:net';
import { crc32 } from 'node:zlib';
import { BareDoors, PREFIX, upload } from './bare-doors.js';

let sdk: ECRClient;
let doors: BareDoors;

beforeAll(async () => {
  doors = await BareDoors.open();
  const credentials = { accessKeyId: 'a', secretAccessKey: 'b' };
  sdk = new ECRClient({ region: 'us-east-1', endpoint: doors.url, credentials, maxAttempts: 1 });
});

afterAll(async () => {
  sdk.destroy();
  await doors.close();
});

describe('The ECR door', () => {
  it('answers the SDK', async () => {
    const answer = await sdk.send(new InitiateLayerUploadCommand({ repositoryName: 'a/b' }));
    expect(answer).toMatchObject({ uploadId: 'a/b', partSize: 10485760 });
  });

  it('answers with exactly the content type of awsJson', async () => {
    const response = await doors.ecr(`${PREFIX}InitiateLayerUpload`, '{"repositoryName":"ab"}', {
      'content-type': 'text/whatever',
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/x-amz-json-1.1');
    expect(await response.text()).toBe('{"uploadId":"ab","partSize":10485760}');
  });

  it('takes a part through the SDK and knows the digests of its bytes and of the whole body', async () => {
    const bytes = Buffer.alloc(10 * 1024 * 1024 + 1, 7);
    const part = { ...upload, partFirstByte: 0, partLastByte: bytes.length - 1, layerPartBlob: bytes };
    const answer = await sdk.send(new UploadLayerPartCommand(part));
    expect(answer.repositoryName).toBe(String(crc32(bytes)));
    expect(answer.uploadId).toMatch(/^[0-9a-f]{64}$/);
    expect(answer.lastByteReceived).toBe(bytes.length - 1);
    expect(await doors.budgetIsFree()).toBe(true);
  });

  it('raises the exceptions of the SDK, with their members', async () => {
    const part = { ...upload, partFirstByte: 4, partLastByte: 4, layerPartBlob: Buffer.from('x') };
    const refusal = await sdk.send(new UploadLayerPartCommand(part)).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(InvalidLayerPartException);
    expect(refusal).toMatchObject({
      ...upload,
      lastValidByteReceived: 9,
      message: 'First byte of the layer part is 4 instead of 10',
    });
  });

  it('takes the absence of a body for an input without members', async () => {
    const response = await doors.ecr(`${PREFIX}InitiateLayerUpload`, undefined);
    expect(await response.json()).toEqual({
      __type: 'InvalidParameterException',
      message: "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must not be null'",
    });
  });

  it.each(['{', 'null', '[]', '{"repositoryName":1}'])('cannot read %s', async (body) => {
    const response = await doors.ecr(`${PREFIX}InitiateLayerUpload`, body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ __type: 'SerializationException' });
  });

  it.each([
    [`${PREFIX}DescribeRegistry`, 'DescribeRegistry is not implemented by this registry yet.'],
    [`${PREFIX}Nonsense`, 'Nonsense is not an operation of Amazon ECR.'],
    [undefined, 'The request names no operation: the X-Amz-Target header is missing or not of Amazon ECR.'],
  ])('says what it thinks of %s', async (target, message) => {
    const response = await doors.ecr(target, '{}', { 'content-type': 'application/x-amz-json-1.1' });
    expect(response.status).toBe(400);
    expect(response.headers.get('x-amzn-requestid')).toMatch(/^[0-9a-f-]{36}$/);
    expect(await response.json()).toEqual({ __type: 'UnknownOperationException', message });
  });

  it('cannot be entered by the internal address of an operation', async () => {
    for (const path of ['/ecr/InitiateLayerUpload', '/%65cr/InitiateLayerUpload']) {
      expect(
        (await fetch(doors.url + path, { method: 'POST', body: '{"repositoryName":"ab"}' })).status,
      ).toBe(404);
    }
  });

  it('tells nothing of a fault of ours', async () => {
    const response = await doors.ecr(`${PREFIX}BatchGetImage`, '{"repositoryName":"ab","imageIds":[{}]}');
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('secret');
  });

  it('refuses a body that is too large before it is sent', async () => {
    const answer = await doors.raw(
      `POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: ${PREFIX}InitiateLayerUpload\r\ncontent-length: 16777217\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1.1 413 /);
    expect(answer).toContain('"__type":"RequestEntityTooLargeException"');
  });

  it('gives up on a client that stops in the middle of a part', async () => {
    const answer = await doors.raw(
      `POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: ${PREFIX}UploadLayerPart\r\ncontent-length: 1000000\r\n\r\n{"layerPartBlob":"AAAA`,
    );
    expect(answer).toMatch(/^HTTP\/1.1 408 /);
    expect(answer).toContain('"__type":"RequestTimeoutException"');
    expect(await doors.budgetIsFree()).toBe(true);
  });

  it('survives clients that go away in the middle of a part', async () => {
    for (const length of [1, 30_000, 300_000]) {
      await new Promise<void>((resolve) => {
        const socket = connect(doors.port, '127.0.0.1', () => {
          socket.write(
            `POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: ${PREFIX}UploadLayerPart\r\ncontent-length: 1000000\r\n\r\n`,
          );
          socket.write(Buffer.alloc(length, 0x41), () => setTimeout(() => socket.resetAndDestroy(), 20));
        });
        socket.on('close', () => resolve());
      });
    }
    expect(await doors.budgetIsFree()).toBe(true);
    expect((await fetch(`${doors.url}/livez`)).status).toBe(200);
  });
});
