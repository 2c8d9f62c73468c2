import { afterAll, beforeAll, expect, it } from '@jest/globals';
import {
  CompleteLayerUploadCommand,
  DeleteRepositoryCommand,
  EmptyUploadException,
  InvalidLayerException,
  InvalidParameterException,
  LayerAlreadyExistsException,
  LayerPartTooSmallException,
  RepositoryNotFoundException,
  UploadNotFoundException,
} from '@aws-sdk/client-ecr';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { layer } from '../support/images.js';
import { beginUpload, createRepository, type LayerUpload, MEBIBYTE, pushLayer } from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';

const ACCOUNT = '000000000000';

describeEachStore('Completing a layer upload', (store) => {
  let registry: TestRegistry;
  let repository: string;
  beforeAll(async () => {
    registry = await startRegistry({ store });
    repository = await createRepository(registry.ecr);
  });
  afterAll(() => registry?.close());

  const begin = (): Promise<LayerUpload> => beginUpload(registry.ecr, repository);
  const download = async (digest: string, name = repository): Promise<Buffer> => {
    const response = await registry.fetchOci(`/v2/${name}/blobs/${digest}`);
    expect(response.status).toBe(200);
    return Buffer.from(await response.arrayBuffer());
  };

  it('answers the SHA-256 of all its bytes, whichever digest matched', async () => {
    const { bytes, digest } = layer(6 * MEBIBYTE + 1, 'answers');
    const upload = await begin();
    await upload.part(bytes.subarray(0, 5 * MEBIBYTE), 0);
    await upload.part(bytes.subarray(5 * MEBIBYTE), 5 * MEBIBYTE);
    const { $metadata, ...answer } = await upload.complete(layer(1).digest, 'tarsum.v1+x:00ff', digest);
    expect(answer).toEqual({
      registryId: ACCOUNT,
      repositoryName: repository,
      uploadId: upload.id,
      layerDigest: digest,
    });
    expect((await download(digest)).equals(bytes)).toBe(true);
  });

  it('accepts a SHA-512, and still answers the right SHA-256', async () => {
    const { bytes, digest } = layer(6 * MEBIBYTE, 'sha512');
    const sha512 = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
    const upload = await begin();
    await upload.part(bytes, 0);
    await refusal(upload.complete(`sha512:${'0'.repeat(128)}`), InvalidLayerException);
    expect((await upload.complete(sha512)).layerDigest).toBe(digest);
    expect((await download(sha512)).equals(bytes)).toBe(true);
  });

  it('accepts digests in upper-case hex', async () => {
    const { bytes, digest } = layer(100, 'upper');
    const upload = await begin();
    await upload.part(bytes, 0);
    const upper = digest.replace(/[a-f0-9]+$/, (hex) => hex.toUpperCase());
    expect((await upload.complete(upper)).layerDigest).toBe(digest);
  });

  it('is refused without any part', async () => {
    const upload = await begin();
    const error = await refusal(upload.complete(layer(0).digest), EmptyUploadException);
    expect(error.message).toBe(
      `The upload with id '${upload.id}' in the repository with name '${repository}' in registry with id '${ACCOUNT}' cannot be completed because it does not have any parts`,
    );
    await upload.part(Buffer.from('late'), 0);
    await upload.complete(`sha256:${createHash('sha256').update('late').digest('hex')}`);
  });

  it('is refused when a part before the last has less than 5 MiB', async () => {
    const { bytes, digest } = layer(15 * MEBIBYTE, 'small inside');
    const upload = await begin();
    const cuts = [0, 5 * MEBIBYTE, 10 * MEBIBYTE - 1, 15 * MEBIBYTE];
    for (const [index, first] of cuts.slice(0, -1).entries())
      await upload.part(bytes.subarray(first, cuts[index + 1]), first);
    const error = await refusal(upload.complete(digest), LayerPartTooSmallException);
    expect(error.message).toBe('All layer parts except the last part should be at least 5MB');
    await refusal(upload.complete(digest), LayerPartTooSmallException);
  });

  it('accepts a last part of one byte, and 5 MiB for all before it', async () => {
    const { bytes, digest } = layer(10 * MEBIBYTE + 1, 'small last');
    const upload = await begin();
    for (const first of [0, 5 * MEBIBYTE, 10 * MEBIBYTE])
      await upload.part(bytes.subarray(first, first + 5 * MEBIBYTE), first);
    expect((await upload.complete(digest)).layerDigest).toBe(digest);
    expect((await download(digest)).equals(bytes)).toBe(true);
  });

  it('is refused when no digest matches, and can be repeated with one that does', async () => {
    const { bytes, digest } = layer(6 * MEBIBYTE, 'corrected');
    const upload = await begin();
    await upload.part(bytes, 0);
    const wrong = [layer(1).digest, layer(2).digest];
    for (const attempt of [wrong, wrong, ['md5:00ff']]) {
      const error = await refusal(upload.complete(...attempt), InvalidLayerException);
      expect(error.message).toBe('None of the provided layer digests match the calculated layer digest');
    }
    expect((await registry.fetchOci(`/v2/${repository}/blobs/${digest}`, { method: 'HEAD' })).status).toBe(
      404,
    );
    expect((await upload.complete(digest)).layerDigest).toBe(digest);
  });

  it('says so when the repository has the layer already, but only after its bytes were verified', async () => {
    const blob = layer(6 * MEBIBYTE, 'there already');
    await pushLayer(registry.ecr, repository, blob);
    const upload = await begin();
    await upload.part(blob.bytes, 0);
    await refusal(upload.complete(layer(1).digest), InvalidLayerException);
    const error = await refusal(upload.complete(blob.digest), LayerAlreadyExistsException);
    expect(error.message).toBe(
      `The layer with digest '${blob.digest}' already exists in the repository with name '${repository}' in registry with id '${ACCOUNT}'`,
    );
    await refusal(upload.part(Buffer.from('x'), blob.size), UploadNotFoundException);
    expect((await download(blob.digest)).equals(blob.bytes)).toBe(true);
  });

  it('is a plain success for a layer that only another repository has', async () => {
    const blob = layer(1_000, 'elsewhere');
    const other = await createRepository(registry.ecr);
    await pushLayer(registry.ecr, other, blob);
    expect((await registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`)).status).toBe(404);
    const upload = await begin();
    await upload.part(blob.bytes, 0);
    expect((await upload.complete(blob.digest)).layerDigest).toBe(blob.digest);
    expect((await download(blob.digest)).equals(blob.bytes)).toBe(true);
  });

  it('can be repeated after a lost answer, with the same outcome', async () => {
    const { bytes, digest } = layer(6 * MEBIBYTE, 'lost answer');
    const upload = await begin();
    await upload.part(bytes, 0);
    const first = await upload.complete(digest);
    const again = await upload.complete(digest);
    expect(again.layerDigest).toBe(first.layerDigest);
    await refusal(upload.complete(layer(1).digest), UploadNotFoundException);
    await refusal(upload.part(Buffer.from('x'), bytes.length), UploadNotFoundException);
  });

  it('by several clients at the same moment gives all the same layer', async () => {
    const { bytes, digest } = layer(6 * MEBIBYTE, 'completed by many');
    const upload = await begin();
    await upload.part(bytes, 0);
    const answers = await Promise.all(Array.from({ length: 6 }, () => upload.complete(digest)));
    for (const { layerDigest } of answers) expect(layerDigest).toBe(digest);
    expect((await download(digest)).equals(bytes)).toBe(true);
  });

  it('of one layer through several uploads at once stores it once; the others hear that it is there', async () => {
    const { bytes, digest } = layer(6 * MEBIBYTE, 'many uploads');
    const uploads = await Promise.all(Array.from({ length: 4 }, begin));
    await Promise.all(uploads.map((upload) => upload.part(bytes, 0)));
    const outcomes = await Promise.allSettled(uploads.map((upload) => upload.complete(digest)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(LayerAlreadyExistsException);
    expect(await registry.prisma.blob.count({ where: { sha256: digest.slice(7) } })).toBe(1);
    expect((await download(digest)).equals(bytes)).toBe(true);
  });

  it('at the same moment as a part takes the part along or refuses it, never half of it', async () => {
    const whole = layer(12 * MEBIBYTE, 'racing part');
    const half = layer(6 * MEBIBYTE, 'racing part');
    expect(whole.bytes.subarray(0, half.size).equals(half.bytes)).toBe(true);
    const upload = await begin();
    await upload.part(half.bytes, 0);
    const [part, completion] = await Promise.allSettled([
      upload.part(whole.bytes.subarray(half.size), half.size),
      upload.complete(half.digest, whole.digest),
    ]);
    if (completion.status === 'rejected') throw completion.reason;
    const { layerDigest } = completion.value;
    if (part.status === 'fulfilled') expect(layerDigest).toBe(whole.digest);
    else {
      expect(part.reason).toBeInstanceOf(UploadNotFoundException);
      expect(layerDigest).toBe(half.digest);
    }
    const expected = layerDigest === whole.digest ? whole : half;
    expect((await download(layerDigest!)).equals(expected.bytes)).toBe(true);
  });

  it('in a repository deleted meanwhile leaves nothing behind, also when its name is taken again', async () => {
    const name = await createRepository(registry.ecr);
    const { bytes, digest } = layer(6 * MEBIBYTE, 'deleted meanwhile');
    const upload = await beginUpload(registry.ecr, name);
    await upload.part(bytes, 0);
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: name }));
    await refusal(upload.part(bytes, bytes.length), RepositoryNotFoundException);
    await refusal(upload.complete(digest), RepositoryNotFoundException);
    await createRepository(registry.ecr, { repositoryName: name });
    await refusal(upload.part(bytes, bytes.length), UploadNotFoundException);
    await refusal(upload.complete(digest), UploadNotFoundException);
    expect((await registry.fetchOci(`/v2/${name}/blobs/${digest}`)).status).toBe(404);
  });

  it('cannot happen to a piece whose repository was deleted while it arrived', async () => {
    const name = await createRepository(registry.ecr);
    const { id } = await beginUpload(registry.ecr, name);
    const { bytes } = layer(12 * MEBIBYTE, 'arriving');
    const arriving = request(new URL(`/v2/${name}/blobs/uploads/${id}`, registry.url), {
      method: 'PATCH',
      headers: { authorization: `Basic ${registry.token}`, 'content-length': bytes.length },
    });
    const answered = once(arriving, 'response') as Promise<[IncomingMessage]>;
    arriving.write(bytes.subarray(0, bytes.length / 2));
    const isArriving = async (): Promise<boolean> =>
      (await registry.prisma.upload.findUnique({ where: { id } }))?.leaseToken != null;
    while (!(await isArriving())) await setImmediate();
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: name }));
    arriving.end(bytes.subarray(bytes.length / 2));
    const [response] = await answered;
    response.resume();
    expect(response.statusCode).toBe(404);
  });

  it('racing with the deletion of its repository either makes the layer or finds no repository', async () => {
    for (let round = 0; round < 4; round += 1) {
      const name = await createRepository(registry.ecr);
      const { bytes, digest } = layer(1_000, `round ${round}`);
      const upload = await beginUpload(registry.ecr, name);
      await upload.part(bytes, 0);
      const [completion, deletion] = await Promise.allSettled([
        upload.complete(digest),
        registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: name })),
      ]);
      expect(deletion.status).toBe('fulfilled');
      if (completion.status === 'rejected')
        expect(['RepositoryNotFoundException', 'UploadNotFoundException']).toContain(
          (completion.reason as Error).name,
        );
    }
  });

  it('is refused for digests that are none', async () => {
    const upload = await begin();
    const constraint = async (layerDigests: string[] | undefined): Promise<string> => {
      const input = { repositoryName: repository, uploadId: upload.id, layerDigests };
      const call = registry.ecr.send(new CompleteLayerUploadCommand(input));
      return (await refusal(call, InvalidParameterException)).message;
    };
    const at = "Invalid parameter at 'layerDigests' failed to satisfy constraint: ";
    expect(await constraint(undefined)).toBe(`${at}'must not be null'`);
    expect(await constraint([])).toBe(`${at}'must have length greater than or equal to 1'`);
    expect(await constraint(Array.from({ length: 101 }, () => layer(1).digest))).toBe(
      `${at}'must have length less than or equal to 100'`,
    );
    expect(await constraint(['sha256'])).toBe(
      `${at}'must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+''`,
    );
  });
});
