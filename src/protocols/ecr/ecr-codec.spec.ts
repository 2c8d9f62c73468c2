import { describe, expect, it } from '@jest/globals';
import * as sdk from '@aws-sdk/client-ecr';
import { encodeOutput } from './ecr-codec.js';
import { OPERATION_NAMES } from './operation-names.js';

describe('encodeOutput', () => {
  it('has a schema for the output of every operation', () => {
    expect(OPERATION_NAMES).toHaveLength(62);
    for (const operation of OPERATION_NAMES) expect(sdk).toHaveProperty(`${operation}Response$`);
  });

  it('writes times as epoch seconds and leaves out what is absent', () => {
    const repository = {
      repositoryName: 'ä',
      createdAt: new Date(1448875853241),
      registryId: undefined,
      repositoryUri: null,
    };
    expect(
      encodeOutput('DescribeRepositories', { repositories: [repository], nextToken: undefined }).toString(),
    ).toBe('{"repositories":[{"repositoryName":"ä","createdAt":1448875853.241}]}');
  });

  it('keeps empty lists, falsy values and empty answers', () => {
    expect(encodeOutput('BatchGetImage', { images: [], failures: [] }).toString()).toBe(
      '{"images":[],"failures":[]}',
    );
    expect(encodeOutput('TagResource', {}).toString()).toBe('{}');
    expect(encodeOutput('TagResource', undefined).toString()).toBe('{}');
    expect(JSON.parse(encodeOutput('UploadLayerPart', { lastByteReceived: 0 }).toString())).toEqual({
      lastByteReceived: 0,
    });
  });

  it('writes no member the model lacks', () => {
    expect(
      encodeOutput('InitiateLayerUpload', { uploadId: 'u', partSize: 10485760, lease: 'secret' }).toString(),
    ).toBe('{"uploadId":"u","partSize":10485760}');
  });

  it('returns bytes that later calls do not touch', () => {
    const first = encodeOutput('InitiateLayerUpload', { uploadId: 'first', partSize: 1 });
    encodeOutput('InitiateLayerUpload', { uploadId: 'other', partSize: 2 });
    expect(first.toString()).toBe('{"uploadId":"first","partSize":1}');
  });

  it('keeps every character of a manifest', () => {
    const imageManifest = '{\n  "a": "\\u0041\u2028é😀\t"\n}';
    const written = JSON.parse(encodeOutput('PutImage', { image: { imageManifest } }).toString()) as {
      image: { imageManifest: string };
    };
    expect(written.image.imageManifest).toBe(imageManifest);
  });
});
