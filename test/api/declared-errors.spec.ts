import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as sdk from '@aws-sdk/client-ecr';
import type { ECRClient } from '@aws-sdk/client-ecr';
import { AppModule } from '../../src/app.module.js';
import { controllersOf, coverageOf } from '../../src/protocols/coverage.js';
import { ERROR_TABLE, FRONT_END_TYPES } from '../../src/protocols/error-table.js';
import { declaredErrors, mayAnswer } from '../support/declared-errors.js';
import { layer } from '../support/images.js';
import { createDatabase, type TestDatabase } from '../support/postgres.js';
import { beginUpload, createRepository, MEBIBYTE, uploadOf } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { proxied, type TcpProxy } from '../support/tcp-proxy.js';

/** There are no keys to fail with: layers are not encrypted by the registry. */
const NEVER = 'KmsException';
const UNKNOWN_ID = '00000000-0000-4000-8000-000000000000';

type AnyCommand = new (input: object) => Parameters<ECRClient['send']>[0];

describe('An operation of the ECR API', () => {
  let registry: TestRegistry;
  let database: TestDatabase;
  let proxy: TcpProxy;
  beforeAll(async () => {
    database = await createDatabase();
    const through = await proxied(database.url);
    proxy = through.proxy;
    registry = await startRegistry({
      store: 'filesystem',
      embeddedDatabase: true,
      config: { DATABASE_URL: through.url, STOWAGE_QUOTA_PARTS_PER_LAYER: '2' },
    });
  });
  afterAll(async () => {
    await proxy?.restore();
    await registry?.close();
    await proxy?.close();
    await database?.drop();
  });

  const send = (operation: string, input: object): Promise<unknown> => {
    const Command = (sdk as unknown as Record<string, AnyCommand>)[`${operation}Command`]!;
    return registry.ecr.send(new Command(input));
  };
  /** Name of the error, after a look whether the SDK knew its class; null for a success. */
  const errorOf = async (call: Promise<unknown>): Promise<string | null> => {
    try {
      await call;
      return null;
    } catch (error) {
      const { name } = error as Error;
      const type = (sdk as unknown as Record<string, (new (...parameters: never[]) => Error) | undefined>)[
        name
      ];
      if (type ? !(error instanceof type) : !FRONT_END_TYPES.has(name)) throw error;
      return name;
    }
  };

  const answered = [...coverageOf(controllersOf(AppModule)).ecr.keys()];

  it.each(answered)('%s refuses whatever is wrong with an error it declares', async (operation) => {
    const input = {
      repositoryName: 'no/such',
      uploadId: UNKNOWN_ID,
      partFirstByte: 0,
      partLastByte: 0,
      layerPartBlob: Buffer.from('x'),
      layerDigests: [layer(1).digest],
      layerDigest: layer(1).digest,
      imageManifest: '{}',
      imageIds: [{ imageTag: 'latest' }],
      subjectId: { imageDigest: layer(1).digest },
      imageTagMutability: 'MUTABLE',
      resourceArn: 'arn:aws:ecr:us-east-1:000000000000:repository/no/such',
      tags: [{ Key: 'aws:x', Value: '' }],
      tagKeys: ['aws:x'],
      nextToken: 'made-up',
    };
    const variants = [
      {},
      input,
      { ...input, registryId: '111122223333' },
      { ...input, registryId: 'x' },
      { ...input, repositoryName: 'NOT/ONE' },
      { ...input, repositoryName: 'a' },
      { ...input, resourceArn: 'nothing' },
      { ...input, maxResults: 0 },
      { ...input, tags: Array.from({ length: 51 }, (_, index) => ({ Key: `k${index}`, Value: '' })) },
    ];
    for (const variant of variants) {
      const name = await errorOf(send(operation, variant));
      if (name !== null) expect([name, mayAnswer(operation, name)]).toEqual([name, true]);
    }
  });

  it('is never refused with a word that no operation declares', () => {
    const known = new Set([...declaredErrors().values()].flatMap((names) => [...names]));
    expect(declaredErrors().size).toBeGreaterThanOrEqual(62);
    for (const { ecr } of Object.values(ERROR_TABLE))
      expect([ecr.type, known.has(ecr.type) || FRONT_END_TYPES.has(ecr.type)]).toEqual([ecr.type, true]);
  });

  it('of the layer uploads has every error it declares, as the class of the SDK', async () => {
    const repository = await createRepository(registry.ecr);
    const seen: Record<string, Set<string | null>> = {
      InitiateLayerUpload: new Set(),
      UploadLayerPart: new Set(),
      CompleteLayerUpload: new Set(),
    };
    const note = async (operation: keyof typeof seen, call: Promise<unknown>): Promise<void> =>
      void seen[operation]!.add(await errorOf(call));
    const bytes = Buffer.alloc(5 * MEBIBYTE);
    const { digest } = layer(5);
    const upload = await beginUpload(registry.ecr, repository);
    const unknown = uploadOf(registry.ecr, repository, UNKNOWN_ID);
    const nowhere = uploadOf(registry.ecr, 'no/such', UNKNOWN_ID);
    const malformed = uploadOf(registry.ecr, repository, 'x');

    await note('InitiateLayerUpload', beginUpload(registry.ecr, 'no/such'));
    await note('InitiateLayerUpload', beginUpload(registry.ecr, 'NOT/ONE'));
    for (const faulty of [unknown, nowhere, malformed]) {
      await note('UploadLayerPart', faulty.part(Buffer.from('x'), 0));
      await note('CompleteLayerUpload', faulty.complete(digest));
    }
    await note('CompleteLayerUpload', upload.complete(digest));
    await note('UploadLayerPart', upload.part(Buffer.from('x'), 1));
    await upload.part(Buffer.from('small'), 0);
    await note('CompleteLayerUpload', upload.complete(digest));
    await upload.part(bytes, 5);
    await note('CompleteLayerUpload', upload.complete(digest));
    await note('UploadLayerPart', upload.part(bytes, 5 + bytes.length));
    const blob = layer(10);
    for (const call of ['first', 'again']) {
      const session = await beginUpload(registry.ecr, repository);
      await session.part(blob.bytes, 0);
      if (call === 'first') await session.complete(blob.digest);
      else await note('CompleteLayerUpload', session.complete(blob.digest));
    }
    await proxy.cut();
    await note('InitiateLayerUpload', beginUpload(registry.ecr, repository));
    await note('UploadLayerPart', upload.part(Buffer.from('x'), 0));
    await note('CompleteLayerUpload', upload.complete(digest));
    await proxy.restore();

    for (const [operation, names] of Object.entries(seen)) {
      const due = [...declaredErrors().get(operation)!].filter((name) => name !== NEVER);
      expect([operation, names]).toEqual([operation, new Set(due)]);
    }
  });
});
