import { BadRequestException, NotFoundException } from '@nestjs/common';
import { describe, expect, it } from '@jest/globals';
import { RegistryError } from '../domain/registry-error.js';
import { UnsatisfiableRange } from './oci/byte-range-header.js';
import { asRegistryError, renderError, type WireRequest } from './wire-error.js';

const PREFIX = 'AmazonEC2ContainerRegistry_V20150921.';
const ecr: WireRequest = {
  method: 'POST',
  url: '/',
  host: 'localhost:5160',
  target: `${PREFIX}CreateRepository`,
};
const oci: WireRequest = {
  method: 'GET',
  url: '/v2/a/b/tags/list',
  host: 'localhost:5160',
  target: undefined,
};

function answer(thrown: unknown, request: WireRequest) {
  const { status, headers, body } = renderError(asRegistryError(thrown, request), request);
  return { status, headers, body: JSON.parse(body.toString()) as unknown };
}

describe('An error at the ECR door', () => {
  it('is an awsJson document with type and message', () => {
    expect(answer(RegistryError.repositoryNotFound('a', '000000000000'), ecr)).toEqual({
      status: 400,
      headers: { 'content-type': 'application/x-amz-json-1.1' },
      body: {
        __type: 'RepositoryNotFoundException',
        message: "The repository with name 'a' does not exist in the registry with id '000000000000'",
      },
    });
  });

  it('tells a client where its upload stands, in members beside the message', () => {
    const position = {
      registryId: '000000000000',
      repositoryName: 'a',
      uploadId: 'u',
      lastValidByteReceived: 9,
    };
    expect(answer(RegistryError.notTheNextByte(4, position), ecr).body).toEqual({
      __type: 'InvalidLayerPartException',
      message: 'First byte of the layer part is 4 instead of 10',
      ...position,
    });
  });

  it('says which operations exist but are not offered, and which do not exist', () => {
    const message = (target?: string) =>
      (answer(new NotFoundException(), { ...ecr, target }).body as { message: string }).message;
    expect(message(`${PREFIX}PutReplicationConfiguration`)).toBe(
      'PutReplicationConfiguration is not implemented by this registry yet.',
    );
    expect(message(`${PREFIX}MakeCoffee`)).toBe('MakeCoffee is not an operation of Amazon ECR.');
    expect(message(undefined)).toMatch(/names no operation/);
    expect(answer(new NotFoundException(), ecr)).toMatchObject({
      status: 400,
      body: { __type: 'UnknownOperationException' },
    });
  });

  it('names the one method there is to every other', () => {
    expect(answer(new NotFoundException(), { ...ecr, method: 'GET' })).toMatchObject({
      status: 405,
      headers: { allow: 'POST' },
    });
  });

  it('tells nothing of a fault of ours', () => {
    const { status, body } = answer(new Error('password=hunter2 at /srv'), ecr);
    expect(status).toBe(500);
    expect(body).toEqual({
      __type: 'ServerException',
      message: 'The service could not complete the request.',
    });
  });
});

describe('An error at the OCI door', () => {
  it('is an error list of the distribution specification', () => {
    expect(answer(RegistryError.repositoryNotFound('a/b', '000000000000'), oci)).toEqual({
      status: 404,
      headers: {
        'content-type': 'application/json; charset=utf-8',
        'docker-distribution-api-version': 'registry/2.0',
      },
      body: {
        errors: [
          {
            code: 'NAME_UNKNOWN',
            message: "The repository with name 'a/b' does not exist in the registry with id '000000000000'",
          },
        ],
      },
    });
  });

  it('asks for Basic credentials when there are none', () => {
    const error = new RegistryError('MissingAuthenticationToken', 'Missing Authentication Token');
    const challenged = answer(error, oci);
    expect(challenged.status).toBe(401);
    expect(challenged.headers['www-authenticate']).toBe(
      'Basic realm="https://localhost:5160/",service="ecr.amazonaws.com"',
    );
    const forged = answer(error, { ...oci, host: 'x"\r\nset-cookie: a' });
    expect(forged.headers['www-authenticate']).toBe(
      'Basic realm="https://registry/",service="ecr.amazonaws.com"',
    );
  });

  it('tells a client where its upload stands, in headers', () => {
    const position = {
      registryId: '000000000000',
      repositoryName: 'a/b',
      uploadId: 'u',
      lastValidByteReceived: 9,
    };
    const { status, headers } = answer(RegistryError.notTheNextByte(4, position), oci);
    expect(status).toBe(416);
    expect(headers).toMatchObject({
      range: '0-9',
      'docker-upload-uuid': 'u',
      location: '/v2/a/b/blobs/uploads/u',
    });
    const { lastValidByteReceived: _, ...nothing } = position;
    expect(answer(RegistryError.notTheNextByte(4, nothing), oci).headers).not.toHaveProperty('range');
  });

  it('tells the size of a blob to whom asked for bytes beyond it', () => {
    const { status, headers } = answer(new UnsatisfiableRange(10), oci);
    expect(status).toBe(416);
    expect(headers['content-range']).toBe('bytes */10');
  });

  it('tells apart a wrong method and a wrong address', () => {
    expect(answer(new NotFoundException(), { ...oci, method: 'PUT' })).toMatchObject({
      status: 405,
      headers: { allow: 'GET, HEAD' },
    });
    expect(
      answer(new NotFoundException(), { ...oci, url: '/v2/a/b/blobs/uploads/', method: 'PUT' }).headers[
        'allow'
      ],
    ).toBe('POST');
    expect(answer(new NotFoundException(), { ...oci, url: '/v2/a/b/nothing' }).status).toBe(404);
  });

  it('invites to a retry when the fault is ours', () => {
    expect(answer(new Error('secret'), oci)).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1' },
      body: { errors: [{ code: 'UNKNOWN', message: 'The service could not complete the request.' }] },
    });
  });
});

describe('An error at neither door', () => {
  it('is plain JSON', () => {
    expect(answer(new NotFoundException(), { ...oci, url: '/favicon.ico' })).toMatchObject({
      status: 404,
      body: { message: expect.any(String) },
    });
    expect(answer(new BadRequestException('detail'), { ...oci, url: '/x' })).toMatchObject({
      status: 400,
      body: { message: 'The request is not well-formed HTTP.' },
    });
  });
});
