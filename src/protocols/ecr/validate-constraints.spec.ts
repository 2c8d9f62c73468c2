import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { INPUTS, SHAPES } from './ecr-constraints.generated.js';
import { OPERATION_NAMES, type OperationName } from './operation-names.js';
import { matches, validateInput } from './validate-constraints.js';

function refusal(operation: OperationName, document: unknown): string {
  try {
    validateInput(operation, document);
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return `${code}: ${message}`;
  }
  return 'accepted';
}

const invalid = (member: string, text: string) =>
  `InvalidParameter: Invalid parameter at '${member}' failed to satisfy constraint: '${text}'`;

describe('The constraints', () => {
  it('cover every operation of the SDK and every shape they mention', () => {
    expect(Object.keys(INPUTS).toSorted()).toEqual([...OPERATION_NAMES]);
    for (const shape of Object.values(SHAPES)) {
      const mentioned =
        shape.type === 'structure'
          ? Object.values(shape.members)
          : shape.type === 'list'
            ? [shape.member]
            : [];
      for (const name of mentioned) expect(SHAPES).toHaveProperty(name);
    }
  });
});

describe('validateInput', () => {
  it('drops what the model does not know and takes null for absence', () => {
    const document = JSON.parse(
      '{"repositoryName":"a/b","registryId":null,"extra":1,"__proto__":{"x":1}}',
    ) as unknown;
    expect(validateInput('DeleteRepository', document)).toEqual({ repositoryName: 'a/b' });
  });

  const refused: [OperationName, unknown, string][] = [
    ['CreateRepository', {}, invalid('repositoryName', 'must not be null')],
    ['CreateRepository', { repositoryName: null }, invalid('repositoryName', 'must not be null')],
    [
      'CreateRepository',
      { repositoryName: 'a' },
      invalid('repositoryName', 'must have length greater than or equal to 2'),
    ],
    [
      'CreateRepository',
      { repositoryName: 'a'.repeat(257) },
      invalid('repositoryName', 'must have length less than or equal to 256'),
    ],
    [
      'CreateRepository',
      { repositoryName: 'Foo' },
      invalid(
        'repositoryName',
        "must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'",
      ),
    ],
    [
      'DeleteRepository',
      { repositoryName: 'ab', registryId: '1' },
      invalid('registryId', 'must satisfy regular expression [0-9]{12}'),
    ],
    [
      'PutImageTagMutability',
      { repositoryName: 'ab', imageTagMutability: 'no' },
      invalid(
        'imageTagMutability',
        'Member must satisfy enum value set: [IMMUTABLE, MUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]',
      ),
    ],
    [
      'ListImages',
      { repositoryName: 'ab', maxResults: 1001 },
      invalid('maxResults', 'Member must have value less than or equal to 1000'),
    ],
    [
      'ListImages',
      { repositoryName: 'ab', maxResults: 0 },
      invalid('maxResults', 'Member must have value greater than or equal to 1'),
    ],
    [
      'PutImage',
      { repositoryName: 'ab', imageManifest: '{}', imageTag: 'a/b' },
      invalid('imageTag', "must satisfy regular expression '[a-zA-Z0-9-_.]+'"),
    ],
    [
      'PutImage',
      { repositoryName: 'ab', imageManifest: '{}', imageTag: '' },
      invalid('imageTag', 'must have length greater than or equal to 1'),
    ],
    [
      'CreatePullThroughCacheRule',
      { ecrRepositoryPrefix: 'A_', upstreamRegistryUrl: 'x' },
      invalid(
        'ecrRepositoryPrefix',
        'Member must satisfy regular expression pattern: (?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*',
      ),
    ],
    ['TagResource', { resourceArn: 'x', tags: [{ Key: 'a' }] }, invalid('tags.Value', 'must not be null')],
    ['TagResource', { resourceArn: 'x', tags: [null] }, invalid('tags', 'must not be null')],
    [
      'DescribeRepositories',
      { repositoryNames: [] },
      invalid('repositoryNames', 'Member must have length greater than or equal to 1'),
    ],
    [
      'BatchGetImage',
      { repositoryName: 'ab', imageIds: Array.from({ length: 101 }, () => ({})) },
      invalid('imageIds', 'Member must have length less than or equal to 100'),
    ],
    [
      'GetDownloadUrlForLayer',
      { repositoryName: 'ab', layerDigest: 'nope' },
      invalid('layerDigest', "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"),
    ],
    [
      'UploadLayerPart',
      {
        repositoryName: 'ab',
        uploadId: 'a'.repeat(36),
        partFirstByte: 0,
        partLastByte: 0,
        layerPartBlob: '',
      },
      invalid(
        'uploadId',
        `must satisfy regular expression '${(SHAPES['UploadId'] as { pattern: string }).pattern}'`,
      ),
    ],
    [
      'UploadLayerPart',
      {
        repositoryName: 'ab',
        uploadId: crypto.randomUUID(),
        partFirstByte: -1,
        partLastByte: 0,
        layerPartBlob: '',
      },
      invalid('partFirstByte', 'must have value greater than or equal to 0'),
    ],
    [
      'UploadLayerPart',
      {
        repositoryName: 'ab',
        uploadId: crypto.randomUUID(),
        partFirstByte: 0,
        partLastByte: 0,
        layerPartBlob: Buffer.alloc(20_971_521),
      },
      invalid('layerPartBlob', 'must have length less than or equal to 20971520'),
    ],
  ];

  // The documents stay out of the names: one of them has 20 MiB.
  it.each(refused.map(([operation, document, expected]) => [operation, expected, document] as const))(
    'refuses a %s: %s',
    (operation, expected, document) => {
      expect(refusal(operation, document)).toBe(expected);
    },
  );

  it.each<[OperationName, unknown]>([
    ['CreateRepository', null],
    ['CreateRepository', []],
    ['CreateRepository', 'text'],
    ['CreateRepository', { repositoryName: 1 }],
    ['CreateRepository', { repositoryName: ['ab'] }],
    ['CreateRepository', { repositoryName: {} }],
    ['CreateRepository', { repositoryName: 'ab', tags: {} }],
    ['DeleteRepository', { repositoryName: 'ab', force: 'true' }],
    ['ListImages', { repositoryName: 'ab', maxResults: '5' }],
    ['ListImages', { repositoryName: 'ab', maxResults: 1.5 }],
    ['ListImages', { repositoryName: 'ab', maxResults: 4294967296 }],
    ['UploadLayerPart', { layerPartBlob: 'AAA' }],
    ['UploadLayerPart', { layerPartBlob: 'AA-_' }],
    ['UploadLayerPart', { layerPartBlob: 'AA A' }],
    ['UploadLayerPart', { layerPartBlob: 'AA==AAAA' }],
    ['UploadLayerPart', { partFirstByte: 9007199254740992 }],
  ])('cannot read a %s of %j', (operation, document) => {
    expect(refusal(operation, document)).toMatch(/^Serialization: /);
  });

  it('looks at the types of the whole document before any constraint', () => {
    expect(refusal('ListImages', { repositoryName: 'a', maxResults: 'x' })).toMatch(/^Serialization: /);
  });

  it('leaves malformed identifiers of a batch to be reported one by one', () => {
    const imageIds = [{ imageTag: '' }, { imageTag: 'a'.repeat(400) }, { imageDigest: 'nope' }, {}];
    expect(refusal('BatchGetImage', { repositoryName: 'ab', imageIds })).toBe('accepted');
    expect(refusal('BatchDeleteImage', { repositoryName: 'ab', imageIds })).toBe('accepted');
    expect(refusal('BatchCheckLayerAvailability', { repositoryName: 'ab', layerDigests: ['', 'nope'] })).toBe(
      'accepted',
    );
    expect(refusal('DescribeImages', { repositoryName: 'ab', imageIds })).toBe(
      invalid('imageIds.imageTag', 'must have length greater than or equal to 1'),
    );
  });

  it('decodes bytes that come as text and keeps bytes that are decoded already', () => {
    const input = { repositoryName: 'ab', uploadId: crypto.randomUUID(), partFirstByte: 0, partLastByte: 2 };
    const bytes = Buffer.from([1, 2, 3]);
    const fromText = validateInput('UploadLayerPart', { ...input, layerPartBlob: 'AQID' }) as {
      layerPartBlob: Buffer;
    };
    expect(fromText.layerPartBlob.equals(bytes)).toBe(true);
    expect(
      (validateInput('UploadLayerPart', { ...input, layerPartBlob: bytes }) as { layerPartBlob: Buffer })
        .layerPartBlob,
    ).toBe(bytes);
  });
});

describe('The patterns of the model', () => {
  const patterns = Object.entries(SHAPES).flatMap(([name, shape]) =>
    shape.type === 'string' && shape.pattern !== undefined
      ? [[name, shape.pattern, shape.max ?? 300] as const]
      : [],
  );

  it.each(patterns)('of %s takes time in proportion to the length of the value', (_name, pattern, length) => {
    matches(pattern, 'a');
    const start = performance.now();
    for (const unit of ['a', 'a-', 'a/', '*', 'a.', '__', '0:']) matches(pattern, `${unit.repeat(length)}!`);
    expect(performance.now() - start).toBeLessThan(250);
  });

  it.each(patterns)("of %s means here what it means to JavaScript's engine", (_name, pattern) => {
    const javascript = new RegExp(`^(?:${pattern})$`);
    // Short enough for an engine that backtracks.
    const text = fc.string({
      unit: fc.constantFrom('a', 'b', '0', '9', 'Z', '*', '.', '_', '-', '/', ':', '+', ' ', '\n', 'é'),
      maxLength: 12,
    });
    fc.assert(fc.property(text, (value) => expect(matches(pattern, value)).toBe(javascript.test(value))));
  });

  it('of a scanning filter means: separators stand alone, between other characters', () => {
    const { pattern } = SHAPES['ScanningRepositoryFilterValue'] as { pattern: string };
    const text = fc.string({
      unit: fc.constantFrom('a', '7', '*', '.', '_', '-', '/', 'A'),
      minLength: 1,
      maxLength: 255,
    });
    fc.assert(
      fc.property(text, (value) => {
        expect(matches(pattern, value)).toBe(/^[a-z0-9*]+(?:[._\-/][a-z0-9*]+)*$/.test(value));
      }),
      { numRuns: 500 },
    );
  });
});
