import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  BatchDeleteImageCommand,
  DescribeImagesCommand,
  type ImageDetail,
  ImageAlreadyExistsException,
  ImageTagAlreadyExistsException,
} from '@aws-sdk/client-ecr';
import { imageManifest, type Manifest } from '../support/images.js';
import { createRepository, pushLayersOfImage, putImage } from '../support/pushes.js';
import { startRegistry, startReplica, type TestRegistry } from '../support/registry.js';
import { countedIn } from '../support/recount.js';

const CLIENTS = 32;

describe(`${CLIENTS} clients of two processes that push at once`, () => {
  let registry: TestRegistry;
  let replica: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ store: 'filesystem' });
    replica = await startReplica(registry);
  });
  afterAll(async () => {
    await replica?.close();
    await registry?.close();
  });

  /** One image for each client; they share their layers. */
  const rivals = async (name: string): Promise<Manifest[]> => {
    const { config, layers } = await pushLayersOfImage(registry.ecr, name, 'rivals');
    return Array.from({ length: CLIENTS }, (_, client) =>
      imageManifest(config, layers, { annotations: { client: String(client) } }),
    );
  };
  const at = (client: number): TestRegistry => (client % 2 === 0 ? registry : replica);
  const race = (push: (client: number) => Promise<unknown>): Promise<PromiseSettledResult<unknown>[]> =>
    Promise.allSettled(Array.from({ length: CLIENTS }, (_, client) => push(client)));
  const putAtOci = async (client: number, name: string, reference: string, text: string): Promise<number> =>
    (
      await at(client).fetchOci(`/v2/${name}/manifests/${reference}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
        body: text,
      })
    ).status;
  const imagesOf = async (name: string): Promise<ImageDetail[]> =>
    (await registry.ecr.send(new DescribeImagesCommand({ repositoryName: name }))).imageDetails!;
  const counted = (name: string): Promise<number> => countedIn(registry.prisma, name, 'images');

  it('different images with one new tag to an immutable repository: exactly one of them gets in', async () => {
    const name = await createRepository(registry.ecr, { imageTagMutability: 'IMMUTABLE' });
    const manifests = await rivals(name);
    const outcomes = await race((client) => putImage(at(client).ecr, name, manifests[client]!, 'only'));
    const winners = outcomes.flatMap(({ status }, client) => (status === 'fulfilled' ? [client] : []));
    expect(winners).toHaveLength(1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        expect(outcome.reason).toBeInstanceOf(ImageTagAlreadyExistsException);
    expect(await imagesOf(name)).toMatchObject([
      { imageDigest: manifests[winners[0]!]!.digest, imageTags: ['only'] },
    ]);
    expect(await counted(name)).toBe(1);
  });

  it('the same to the OCI door: exactly one of them gets in', async () => {
    const name = await createRepository(registry.ecr, { imageTagMutability: 'IMMUTABLE' });
    const manifests = await rivals(name);
    const statuses = await Promise.all(
      manifests.map(({ text }, client) => putAtOci(client, name, 'only', text)),
    );
    expect(statuses.filter((status) => status === 201)).toHaveLength(1);
    expect(statuses.filter((status) => status === 400)).toHaveLength(CLIENTS - 1);
    expect(await counted(name)).toBe(1);
  });

  it('different images with one tag to a mutable repository: all are stored, and the tag is on one', async () => {
    const name = await createRepository(registry.ecr);
    const manifests = await rivals(name);
    const outcomes = await race((client) => putImage(at(client).ecr, name, manifests[client]!, 'moving'));
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([]);
    const images = await imagesOf(name);
    expect(images).toHaveLength(CLIENTS);
    expect(images.filter(({ imageTags }) => imageTags?.includes('moving'))).toHaveLength(1);
    expect(await counted(name)).toBe(CLIENTS);
  });

  it('one image without a tag: one of them stores it, and the others hear that it is there', async () => {
    const name = await createRepository(registry.ecr);
    const [manifest] = await rivals(name);
    const outcomes = await race((client) => putImage(at(client).ecr, name, manifest!));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(ImageAlreadyExistsException);
    expect(await imagesOf(name)).toHaveLength(1);
    expect(await counted(name)).toBe(1);
  });

  it('one image with tags of their own: it is one image with all the tags', async () => {
    const name = await createRepository(registry.ecr, { imageTagMutability: 'IMMUTABLE' });
    const [manifest] = await rivals(name);
    const outcomes = await race((client) => putImage(at(client).ecr, name, manifest!, `tag-${client}`));
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([]);
    const [image, ...others] = await imagesOf(name);
    expect(others).toEqual([]);
    expect(new Set(image!.imageTags)).toEqual(
      new Set(Array.from({ length: CLIENTS }, (_, client) => `tag-${client}`)),
    );
  });

  it('tags in opposite orders: every push ends, and each tag is on one image', async () => {
    const name = await createRepository(registry.ecr);
    const manifests = await rivals(name);
    const statuses = await Promise.all(
      manifests.map(({ text, digest }, client) => {
        const tags = ['a', 'b', 'c', 'd'];
        const query = (client % 2 === 0 ? tags : tags.toReversed()).map((tag) => `tag=${tag}`).join('&');
        return putAtOci(client, name, `${digest}?${query}`, text);
      }),
    );
    expect(new Set(statuses)).toEqual(new Set([201]));
    const tags = (await imagesOf(name)).flatMap(({ imageTags }) => imageTags ?? []);
    expect(tags.toSorted()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('and delete what they push: images and their count agree in the end', async () => {
    const name = await createRepository(registry.ecr);
    const manifests = await rivals(name);
    const outcomes = await race(async (client) => {
      const manifest = manifests[client % 4]!;
      await putImage(at(client).ecr, name, manifest, `tag-${client % 3}`).catch((error: unknown) => {
        if (!(error instanceof ImageAlreadyExistsException)) throw error;
      });
      const { failures } = await at(client + 1).ecr.send(
        new BatchDeleteImageCommand({ repositoryName: name, imageIds: [{ imageDigest: manifest.digest }] }),
      );
      for (const { failureCode } of failures!) expect(failureCode).toBe('ImageNotFound');
    });
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([]);
    expect(await imagesOf(name)).toHaveLength(await counted(name));
  });
});
