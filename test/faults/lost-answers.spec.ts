import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  BatchDeleteImageCommand,
  CreateRepositoryCommand,
  DeleteRepositoryCommand,
  DescribeImagesCommand,
  DescribeRepositoriesCommand,
  ImageAlreadyExistsException,
  ImageNotFoundException,
  InitiateLayerUploadCommand,
  PutImageCommand,
  RepositoryAlreadyExistsException,
  RepositoryNotFoundException,
} from '@aws-sdk/client-ecr';
import { randomUUID } from 'node:crypto';
import { layer } from '../support/images.js';
import type { StatementFault } from '../support/postgres-proxy.js';
import { createRepository, MEBIBYTE, pushImage, pushLayer, pushLayersOfImage } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { ecrOutcome, ociOutcome } from './outcome.js';
import { acknowledged, DOORS, stepsAt } from './push.js';
import { type SickDatabase, startOnSickDatabase } from './sick-database.js';
import { expectNothingLeaked, expectTrue } from './sick-store.js';

/** The last word of a transaction, and the statement that is one by itself. */
const COMMIT = /^COMMIT/;
const MOVING = /SET offset_bytes/;
const FINISHING = /state = 'completed'/;
const BEGINNING = /INSERT INTO upload /;
const LINKING = /INSERT INTO repository_layer/;
const FAULTS: StatementFault[] = ['lost request', 'lost reply'];

let sick: SickDatabase;

beforeAll(async () => {
  sick = await startOnSickDatabase('filesystem');
});
afterAll(() => sick?.close());

/** The outcome of a call during which one statement meets the fault. */
async function during<Result>(
  text: RegExp,
  fault: StatementFault,
  call: () => Promise<Result>,
  after?: RegExp,
): Promise<Result> {
  const before = sick.database.faults;
  sick.database.on(text, fault, after ? { after } : {});
  const result = await call();
  expect(sick.database.faults).toBe(before + 1);
  await sick.database.restore();
  return result;
}

describe.each(FAULTS)('When the connection breaks with the %s of what makes it so,', (fault) => {
  it.each(DOORS)('an upload goes on from where it truly stands (%s door)', async (door) => {
    const repository = await createRepository(sick.registry.ecr);
    const blob = layer(11 * MEBIBYTE, `${fault} ${door}`);
    const steps = stepsAt(door, sick.registry, repository);
    expect(await during(BEGINNING, fault, () => steps.begin())).toBe('retry later');
    expect(await steps.begin()).toBe('done');
    for (const first of [0, 6 * MEBIBYTE]) {
      const piece = blob.bytes.subarray(first, first + 6 * MEBIBYTE);
      const sent = await during(MOVING, fault, () => steps.append(piece, first));
      const offset = await acknowledged(sick.registry, repository, steps.upload);
      expect([first, first + piece.length]).toContain(offset);
      // A reply that is lost does not hide what was recorded, as long as the database can be asked.
      expect(sent).toBe(fault === 'lost reply' ? 'done' : 'retry later');
      expect(offset).toBe(fault === 'lost reply' ? first + piece.length : first);
      // The ECR door's clients repeat the part; those of the OCI door ask first.
      if (door === 'ECR' || offset === first) expect(await steps.append(piece, first)).toBe('done');
      expect(await acknowledged(sick.registry, repository, steps.upload)).toBe(first + piece.length);
    }
    const completed = await during(FINISHING, fault, () => steps.complete(blob.digest));
    if (completed === 'done') await expectTrue(sick.registry, repository, blob);
    expect(await steps.complete(blob.digest)).toBe('done');
    expect(await steps.complete(blob.digest)).toBe('done');
    await expectTrue(sick.registry, repository, blob);
  });

  it('a piece sent without its offset counts once, though the client knows no better than to send it again', async () => {
    const repository = await createRepository(sick.registry.ecr);
    const blob = layer(2 * MEBIBYTE, `unranged ${fault}`);
    const steps = stepsAt('OCI', sick.registry, repository);
    await steps.begin();
    const patch = (bytes: Buffer) =>
      ociOutcome(
        sick.registry.fetchOci(`/v2/${repository}/blobs/uploads/${steps.upload}`, {
          method: 'PATCH',
          body: new Uint8Array(bytes),
        }),
      );
    for (const first of [0, MEBIBYTE]) {
      const piece = blob.bytes.subarray(first, first + MEBIBYTE);
      if ((await during(MOVING, fault, () => patch(piece))) !== 'done')
        expect(await patch(piece)).toBe('done');
    }
    expect(await steps.complete(blob.digest)).toBe('done');
    await expectTrue(sick.registry, repository, blob);
  });

  it('a small upload goes on from where it truly stands', async () => {
    const repository = await createRepository(sick.registry.ecr);
    const blob = layer(2000, `small ${fault}`);
    const steps = stepsAt('OCI', sick.registry, repository);
    await steps.begin();
    await during(MOVING, fault, () => steps.append(blob.bytes.subarray(0, 1000), 0));
    if ((await acknowledged(sick.registry, repository, steps.upload)) === 0)
      await steps.append(blob.bytes.subarray(0, 1000), 0);
    await steps.append(blob.bytes.subarray(1000), 1000);
    expect(await steps.complete(blob.digest)).toBe('done');
    await expectTrue(sick.registry, repository, blob);
  });

  it('a repository exists once, whoever creates it again', async () => {
    const repositoryName = `lost/${randomUUID()}`;
    const create = () => sick.registry.ecr.send(new CreateRepositoryCommand({ repositoryName }));
    const created = await during(COMMIT, fault, () => ecrOutcome(create()), /INSERT INTO repository /);
    expect(created).toBe('retry later');
    if (fault === 'lost request') await create();
    await expect(create()).rejects.toThrow(RepositoryAlreadyExistsException);
    const { repositories } = await sick.registry.ecr.send(
      new DescribeRepositoriesCommand({ repositoryNames: [repositoryName] }),
    );
    expect(repositories).toHaveLength(1);
    await expectExactCounters(sick.registry.prisma);
  });

  it('an image is there with its tag, whoever puts it again (ECR door)', async () => {
    const repositoryName = await createRepository(sick.registry.ecr);
    const { manifest } = await pushLayersOfImage(sick.registry.ecr, repositoryName, `put ${fault}`);
    const put = () =>
      sick.registry.ecr.send(
        new PutImageCommand({ repositoryName, imageManifest: manifest.text, imageTag: 'v1' }),
      );
    expect(await during(COMMIT, fault, () => ecrOutcome(put()))).toBe('retry later');
    if (fault === 'lost request') await put();
    await expect(put()).rejects.toThrow(ImageAlreadyExistsException);
    const { imageDetails } = await sick.registry.ecr.send(new DescribeImagesCommand({ repositoryName }));
    expect(imageDetails).toMatchObject([{ imageDigest: manifest.digest, imageTags: ['v1'] }]);
    await expectExactCounters(sick.registry.prisma);
  });

  it('a manifest is there with its tag, whoever puts it again (OCI door)', async () => {
    const repository = await createRepository(sick.registry.ecr);
    const { manifest } = await pushLayersOfImage(sick.registry.ecr, repository, `put oci ${fault}`);
    const put = () =>
      ociOutcome(
        sick.registry.fetchOci(`/v2/${repository}/manifests/v1`, {
          method: 'PUT',
          headers: { 'content-type': manifest.mediaType },
          body: manifest.text,
        }),
      );
    expect(await during(COMMIT, fault, put)).toBe('retry later');
    const seen = await sick.registry.fetchOci(`/v2/${repository}/manifests/v1`);
    expect(seen.status).toBe(fault === 'lost reply' ? 200 : 404);
    expect(await put()).toBe('done');
    const pulledAgain = await sick.registry.fetchOci(`/v2/${repository}/manifests/v1`);
    expect(await pulledAgain.text()).toBe(manifest.text);
    await expectExactCounters(sick.registry.prisma);
  });

  it('a layer is mounted once, whoever mounts it again', async () => {
    const [from, to] = [await createRepository(sick.registry.ecr), await createRepository(sick.registry.ecr)];
    const blob = layer(1000, `mount ${fault}`);
    await pushLayer(sick.registry.ecr, from, blob);
    const mount = () =>
      ociOutcome(
        sick.registry.fetchOci(`/v2/${to}/blobs/uploads/?mount=${blob.digest}&from=${from}`, {
          method: 'POST',
        }),
      );
    expect(await during(LINKING, fault, mount)).toBe('retry later');
    expect(await mount()).toBe('done');
    await expectTrue(sick.registry, to, blob);
  });

  it('what was deleted is gone, and says so when it is deleted again', async () => {
    const repositoryName = await createRepository(sick.registry.ecr);
    const { manifest } = await pushImage(sick.registry.ecr, repositoryName, `delete ${fault}`, ['v1']);
    const image = new BatchDeleteImageCommand({ repositoryName, imageIds: [{ imageTag: 'v1' }] });
    expect(await during(COMMIT, fault, () => ecrOutcome(sick.registry.ecr.send(image)))).toBe('retry later');
    const again = await sick.registry.ecr.send(
      new BatchDeleteImageCommand({ repositoryName, imageIds: [{ imageTag: 'v1' }] }),
    );
    expect(again.failures!.map(({ failureCode }) => failureCode)).toEqual(
      fault === 'lost reply' ? ['ImageNotFound'] : [],
    );
    const gone = new DescribeImagesCommand({ repositoryName, imageIds: [{ imageDigest: manifest.digest }] });
    await expect(sick.registry.ecr.send(gone)).rejects.toThrow(ImageNotFoundException);
    const remove = () => sick.registry.ecr.send(new DeleteRepositoryCommand({ repositoryName }));
    expect(await during(COMMIT, fault, () => ecrOutcome(remove()))).toBe('retry later');
    if (fault === 'lost request') await remove();
    await expect(remove()).rejects.toThrow(RepositoryNotFoundException);
    await expectExactCounters(sick.registry.prisma);
  });

  it('an upload nobody was told of is counted, and expires', async () => {
    const repositoryName = await createRepository(sick.registry.ecr);
    const begin = () => sick.registry.ecr.send(new InitiateLayerUploadCommand({ repositoryName }));
    expect(await during(BEGINNING, fault, () => ecrOutcome(begin()))).toBe('retry later');
    await expectExactCounters(sick.registry.prisma);
    await expectNothingLeaked(sick.registry);
    await expectExactCounters(sick.registry.prisma);
  });
});
