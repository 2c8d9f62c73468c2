import { afterAll, beforeAll, expect, it } from '@jest/globals';
import {
  InitiateLayerUploadCommand,
  InvalidLayerPartException,
  InvalidParameterException,
  RepositoryNotFoundException,
  UploadLayerPartCommand,
  UploadNotFoundException,
} from '@aws-sdk/client-ecr';
import { randomUUID } from 'node:crypto';
import { layer } from '../support/images.js';
import { beginUpload, createRepository, type LayerUpload, MEBIBYTE, uploadOf } from '../support/pushes.js';
import { refusal, refusalNamed } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';

const ACCOUNT = '000000000000';

describeEachStore('A layer part', (store) => {
  let registry: TestRegistry;
  let repository: string;
  beforeAll(async () => {
    registry = await startRegistry({ store });
    repository = await createRepository(registry.ecr);
  });
  afterAll(() => registry?.close());

  const begin = (): Promise<LayerUpload> => beginUpload(registry.ecr, repository);

  it('can be sent to an upload with a UUID for id, in parts of 10 MiB', async () => {
    const { $metadata, ...answer } = await registry.ecr.send(
      new InitiateLayerUploadCommand({ repositoryName: repository }),
    );
    expect(answer).toEqual({
      uploadId: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
      partSize: 10 * MEBIBYTE,
    });
  });

  it('is acknowledged up to its last byte, at offsets from zero, both ends inclusive', async () => {
    const upload = await begin();
    const { $metadata, ...answer } = await upload.part(Buffer.alloc(6 * MEBIBYTE, 1), 0);
    expect(answer).toEqual({
      registryId: ACCOUNT,
      repositoryName: repository,
      uploadId: upload.id,
      lastByteReceived: 6 * MEBIBYTE - 1,
    });
    expect((await upload.part(Buffer.from('x'), 6 * MEBIBYTE)).lastByteReceived).toBe(6 * MEBIBYTE);
  });

  it('of 20 MiB is the largest that is accepted', async () => {
    const upload = await begin();
    const largest = 20 * MEBIBYTE;
    const tooLarge = upload.part(Buffer.alloc(largest + 1), 0);
    expect((await refusal(tooLarge, InvalidParameterException)).message).toBe(
      "Invalid parameter at 'layerPartBlob' failed to satisfy constraint: 'must have length less than or equal to 20971520'",
    );
    expect((await upload.part(Buffer.alloc(largest), 0)).lastByteReceived).toBe(largest - 1);
  });

  it('that does not start where the last one ended is refused, and the upload goes on', async () => {
    const upload = await begin();
    const { bytes, digest } = layer(6 * MEBIBYTE, 'gaps');
    const refusedAt = async (firstByte: number): Promise<InvalidLayerPartException> =>
      refusal(upload.part(Buffer.from('wrong'), firstByte), InvalidLayerPartException);
    const early = await refusedAt(7);
    expect(early.message).toBe('First byte of the layer part is 7 instead of 0');
    expect(early).toMatchObject({ registryId: ACCOUNT, repositoryName: repository, uploadId: upload.id });
    // There is no last valid byte yet, and the model knows no negative one.
    expect(early.lastValidByteReceived).toBeUndefined();

    const half = 5 * MEBIBYTE;
    await upload.part(bytes.subarray(0, half), 0);
    for (const firstByte of [half + 1, half - 1, 1]) {
      const error = await refusedAt(firstByte);
      expect(error.message).toBe(`First byte of the layer part is ${firstByte} instead of ${half}`);
      expect(error).toMatchObject({
        registryId: ACCOUNT,
        repositoryName: repository,
        uploadId: upload.id,
        lastValidByteReceived: half - 1,
      });
    }
    await upload.part(bytes.subarray(half), half);
    expect((await upload.complete(digest)).layerDigest).toBe(digest);
  });

  it('that is not as long as it says is refused, and so is an empty one', async () => {
    const upload = await begin();
    await upload.part(Buffer.from('abc'), 0);
    const lies: [bytes: string, firstByte: number, lastByte: number][] = [
      ['abc', 3, 6],
      ['abc', 3, 4],
      ['abc', 3, 2],
      ['', 3, 3],
      ['', 3, 2],
      ['abc', 3, 0],
    ];
    for (const [text, firstByte, lastByte] of lies) {
      const error = await refusal(
        upload.part(Buffer.from(text), firstByte, lastByte),
        InvalidLayerPartException,
      );
      expect(error).toMatchObject({ uploadId: upload.id, lastValidByteReceived: 2 });
    }
  });

  it('that is sent again, as SDKs do after a lost answer, is acknowledged again and stored once', async () => {
    const upload = await begin();
    const { bytes, digest } = layer(12 * MEBIBYTE, 'again');
    const first = bytes.subarray(0, 6 * MEBIBYTE);
    const second = bytes.subarray(6 * MEBIBYTE);
    await upload.part(first, 0);
    expect((await upload.part(first, 0)).lastByteReceived).toBe(6 * MEBIBYTE - 1);
    await upload.part(second, 6 * MEBIBYTE);
    expect((await upload.part(first, 0)).lastByteReceived).toBe(6 * MEBIBYTE - 1);
    expect((await upload.part(second, 6 * MEBIBYTE)).lastByteReceived).toBe(12 * MEBIBYTE - 1);
    expect((await upload.complete(digest)).layerDigest).toBe(digest);
  });

  it('that is sent again with other bytes is refused', async () => {
    const upload = await begin();
    await upload.part(Buffer.from('first'), 0);
    const error = await refusal(upload.part(Buffer.from('other'), 0), InvalidLayerPartException);
    expect(error.message).toBe('First byte of the layer part is 0 instead of 5');
    expect(error.lastValidByteReceived).toBe(4);
    await refusal(upload.part(Buffer.from('firs'), 0), InvalidLayerPartException);
  });

  it('sent by several clients at the same moment is stored once, and all are told so', async () => {
    const upload = await begin();
    const { bytes, digest } = layer(6 * MEBIBYTE, 'twins');
    const answers = await Promise.all(Array.from({ length: 4 }, () => upload.part(bytes, 0)));
    for (const { lastByteReceived } of answers) expect(lastByteReceived).toBe(6 * MEBIBYTE - 1);
    expect((await upload.complete(digest)).layerDigest).toBe(digest);
  });

  it('at an offset another client writes to at the same moment wins or loses as a whole', async () => {
    const upload = await begin();
    const rivals = ['a', 'b', 'c', 'd'].map((seed) => layer(6 * MEBIBYTE, `rival ${seed}`));
    const outcomes = await Promise.allSettled(rivals.map(({ bytes }) => upload.part(bytes, 0)));
    const winners = rivals.filter((_, index) => outcomes[index]!.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') continue;
      expect(outcome.reason).toBeInstanceOf(InvalidLayerPartException);
      expect(outcome.reason).toMatchObject({ lastValidByteReceived: 6 * MEBIBYTE - 1 });
    }
    expect((await upload.complete(winners[0]!.digest)).layerDigest).toBe(winners[0]!.digest);
  });

  it('of an upload that is unknown, finished, cancelled, expired or of elsewhere is refused in one and the same way', async () => {
    const other = await createRepository(registry.ecr);
    const frankfurt = registry.ecrWith({ region: 'eu-central-1' });
    await createRepository(frankfurt, { repositoryName: repository });
    const [unknown, foreign, abroad, cancelled, finished, expired] = [
      randomUUID(),
      (await beginUpload(registry.ecr, other)).id,
      (await beginUpload(frankfurt, repository)).id,
      (await begin()).id,
      (await begin()).id,
      (await begin()).id,
    ] as const;
    await registry.fetchOci(`/v2/${repository}/blobs/uploads/${cancelled}`, { method: 'DELETE' });
    const done = layer(10, 'finished');
    await uploadOf(registry.ecr, repository, finished).part(done.bytes, 0);
    await uploadOf(registry.ecr, repository, finished).complete(done.digest);
    await registry.prisma.upload.update({
      where: { id: expired },
      data: { touchedAt: new Date(Date.now() - 25 * 3_600_000) },
    });
    const strangers = await anUploadOfAnotherAccount(registry, repository);

    for (const id of [unknown, foreign, abroad, cancelled, finished, expired, strangers]) {
      const upload = uploadOf(registry.ecr, repository, id);
      for (const call of [upload.part(Buffer.from('x'), 0), upload.complete(layer(1).digest)]) {
        const { message, $metadata, name, ...members } = await refusal(call, UploadNotFoundException);
        expect(message.replace(id, '<id>')).toBe(
          `The upload with id '<id>' does not exist in the repository with name '${repository}' in the registry with id '${ACCOUNT}'`,
        );
        expect(members).not.toHaveProperty('lastValidByteReceived');
      }
    }
    expect((await uploadOf(registry.ecr, other, foreign).part(Buffer.from('x'), 0)).lastByteReceived).toBe(0);
  });

  it('for a repository that does not exist is refused for that, whatever the upload', async () => {
    const { id } = await begin();
    const stray = uploadOf(registry.ecr, 'no/such', id);
    const calls = [
      () => registry.ecr.send(new InitiateLayerUploadCommand({ repositoryName: 'no/such' })),
      () => stray.part(Buffer.from('x'), 0),
      () => stray.complete(layer(1).digest),
    ];
    for (const call of calls) {
      expect((await refusal(call(), RepositoryNotFoundException)).message).toBe(
        `The repository with name 'no/such' does not exist in the registry with id '${ACCOUNT}'`,
      );
    }
  });

  it('in the registry of another account is refused before anything is looked up', async () => {
    const call = registry.ecr.send(
      new InitiateLayerUploadCommand({ registryId: '111122223333', repositoryName: repository }),
    );
    await refusalNamed(call, 'AccessDeniedException');
  });

  it('that breaks a constraint of the API is refused for it', async () => {
    const { id } = await begin();
    const send = (input: object): Promise<InvalidParameterException> => {
      const whole = {
        repositoryName: repository,
        uploadId: id,
        partFirstByte: 0,
        partLastByte: 0,
        layerPartBlob: Buffer.from('x'),
        ...input,
      };
      return refusal(registry.ecr.send(new UploadLayerPartCommand(whole)), InvalidParameterException);
    };
    const uuid = '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}';
    const faults: [input: object, member: string, constraint: string][] = [
      [{ uploadId: 'mine' }, 'uploadId', `must satisfy regular expression '${uuid}'`],
      [{ partFirstByte: -1 }, 'partFirstByte', 'must have value greater than or equal to 0'],
      [{ partLastByte: -1 }, 'partLastByte', 'must have value greater than or equal to 0'],
      [{ partLastByte: undefined }, 'partLastByte', 'must not be null'],
      [{ layerPartBlob: undefined }, 'layerPartBlob', 'must not be null'],
      [{ registryId: '1' }, 'registryId', 'must satisfy regular expression [0-9]{12}'],
    ];
    for (const [input, member, constraint] of faults)
      expect((await send(input)).message).toBe(
        `Invalid parameter at '${member}' failed to satisfy constraint: '${constraint}'`,
      );
  });
});

/** Rows of an account that has no key here. */
async function anUploadOfAnotherAccount({ prisma }: TestRegistry, name: string): Promise<string> {
  const registry = await prisma.registry.create({ data: { accountId: '111122223333', region: 'us-east-1' } });
  const repository = await prisma.repository.create({ data: { registryId: registry.id, name } });
  const id = randomUUID();
  await prisma.upload.create({ data: { id, repositoryId: repository.id } });
  return id;
}
