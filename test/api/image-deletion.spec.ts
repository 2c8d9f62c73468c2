import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { BatchDeleteImageCommand, DescribeImagesCommand } from '@aws-sdk/client-ecr';
import { imageIndex, imageManifest, layer } from '../support/images.js';
import { createRepository, pushImage, pushLayersOfImage, putImage } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { countedIn } from '../support/recount.js';

describe('An image that is deleted', () => {
  let registry: TestRegistry;
  let repository: string;
  beforeAll(async () => (registry = await startRegistry({ store: 'filesystem' })));
  afterAll(() => registry?.close());
  beforeEach(async () => (repository = await createRepository(registry.ecr)));

  const deleteAtOci = async (reference: string, name = repository): Promise<[number, string?]> => {
    const response = await registry.fetchOci(`/v2/${name}/manifests/${reference}`, { method: 'DELETE' });
    const text = await response.text();
    if (response.ok) return [response.status];
    return [response.status, (JSON.parse(text) as { errors: { code: string }[] }).errors[0]!.code];
  };
  const remove = (...tags: string[]) =>
    registry.ecr.send(
      new BatchDeleteImageCommand({
        repositoryName: repository,
        imageIds: tags.map((imageTag) => ({ imageTag })),
      }),
    );
  /** Tags by digest. */
  const images = async (): Promise<Record<string, string[]>> => {
    const { imageDetails } = await registry.ecr.send(
      new DescribeImagesCommand({ repositoryName: repository }),
    );
    return Object.fromEntries(
      imageDetails!.map(({ imageDigest, imageTags = [] }) => [imageDigest!, imageTags]),
    );
  };
  const blobStatus = async (digest: string): Promise<number> =>
    (await registry.fetchOci(`/v2/${repository}/blobs/${digest}`, { method: 'HEAD' })).status;

  it('by its tags at the OCI door stays, untagged, until its digest is deleted', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'oci', ['a', 'b']);
    for (const [tag, rest] of [
      ['a', ['b']],
      ['b', []],
    ] as const) {
      expect(await deleteAtOci(tag)).toEqual([202]);
      expect(await deleteAtOci(tag)).toEqual([404, 'MANIFEST_UNKNOWN']);
      expect(await images()).toEqual({ [manifest.digest]: rest });
    }
    expect(await deleteAtOci(manifest.digest)).toEqual([202]);
    expect(await images()).toEqual({});
    expect(await deleteAtOci(manifest.digest)).toEqual([404, 'MANIFEST_UNKNOWN']);
  });

  it('by its digest at the OCI door takes all its tags along', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'digest', ['a', 'b']);
    const other = await pushImage(registry.ecr, repository, 'other', ['c']);
    expect(await deleteAtOci(manifest.digest)).toEqual([202]);
    expect(await images()).toEqual({ [other.manifest.digest]: ['c'] });
  });

  it('by its last tag at the ECR door goes, also when both tags are in one call', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'both', ['a', 'b']);
    const { imageIds, failures } = await remove('a', 'b', 'a');
    expect(imageIds).toEqual([
      { imageDigest: manifest.digest, imageTag: 'a' },
      { imageDigest: manifest.digest, imageTag: 'b' },
    ]);
    expect(failures).toMatchObject([{ imageId: { imageTag: 'a' }, failureCode: 'ImageNotFound' }]);
    expect(await images()).toEqual({});
  });

  it('answers 200 to a batch although every entry of it failed', async () => {
    const { $metadata, imageIds, failures } = await remove('never', 'no such');
    expect($metadata.httpStatusCode).toBe(200);
    expect(imageIds).toEqual([]);
    expect(failures!.map(({ failureCode }) => failureCode)).toEqual(['ImageNotFound', 'InvalidImageTag']);
  });

  it('while an index names it is refused at the OCI door, and its tags are not', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'child', ['child']);
    const index = imageIndex([manifest]);
    await putImage(registry.ecr, repository, index, 'index');
    expect(await deleteAtOci(manifest.digest)).toEqual([405, 'UNSUPPORTED']);
    expect(await deleteAtOci('child')).toEqual([202]);
    expect(await deleteAtOci(index.digest)).toEqual([202]);
    expect(await deleteAtOci(manifest.digest)).toEqual([202]);
    expect(await images()).toEqual({});
  });

  it('names every index that needs it', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'child of two', ['child']);
    const indexes = ['1', '2'].map((note) => imageIndex([manifest], { annotations: { note } }));
    for (const index of indexes) await putImage(registry.ecr, repository, index);
    const { failures } = await remove('child');
    expect(failures![0]!.failureReason).toBe(
      `Requested image referenced by manifest list: [${indexes.map(({ digest }) => digest).join(', ')}]`,
    );
  });

  it('leaves its layers in the repository, and those another image needs cannot be deleted', async () => {
    const { manifest, config, layers } = await pushImage(registry.ecr, repository, 'layers', ['a']);
    const sibling = imageManifest(config, []);
    await putImage(registry.ecr, repository, sibling, 'sibling');
    const deleteBlob = async (digest: string): Promise<number> =>
      (await registry.fetchOci(`/v2/${repository}/blobs/${digest}`, { method: 'DELETE' })).status;
    expect(await deleteBlob(layers[0]!.digest)).toBe(405);
    await remove('a');
    expect(await blobStatus(layers[0]!.digest)).toBe(200);
    expect(await deleteBlob(layers[0]!.digest)).toBe(202);
    expect(await deleteBlob(config.digest)).toBe(405);
    expect(await blobStatus(config.digest)).toBe(200);
    await expect(putImage(registry.ecr, repository, manifest)).rejects.toThrow(layers[0]!.digest);
  });

  it('can be pushed again, as a new image', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'again', ['a']);
    const first = await registry.prisma.image.findFirstOrThrow({ where: { digest: manifest.digest } });
    await remove('a');
    await putImage(registry.ecr, repository, manifest, 'a');
    const second = await registry.prisma.image.findFirstOrThrow({ where: { digest: manifest.digest } });
    expect(second.id).toBeGreaterThan(first.id);
    expect(await images()).toEqual({ [manifest.digest]: ['a'] });
  });

  it('by an identifier that is none, or in no repository, is refused at the OCI door', async () => {
    expect(await deleteAtOci('never')).toEqual([404, 'MANIFEST_UNKNOWN']);
    expect(await deleteAtOci(layer(1).digest)).toEqual([404, 'MANIFEST_UNKNOWN']);
    expect(await deleteAtOci('sha256:short')).toEqual([400, 'DIGEST_INVALID']);
    expect(await deleteAtOci('-')).toEqual([400, 'TAG_INVALID']);
    expect(await deleteAtOci('latest', 'no/such')).toEqual([404, 'NAME_UNKNOWN']);
  });

  it('while an index of it is pushed goes or stays with the index, never half', async () => {
    for (let round = 0; round < 15; round += 1) {
      const { manifest } = await pushImage(registry.ecr, repository, `round ${round}`, [`child-${round}`]);
      const index = imageIndex([manifest], { annotations: { round: String(round) } });
      const [pushed, removed] = await Promise.allSettled([
        putImage(registry.ecr, repository, index),
        remove(`child-${round}`),
      ]);
      const gone = removed.status === 'fulfilled' && removed.value.failures!.length === 0;
      if (pushed.status === 'rejected')
        expect(pushed.reason).toMatchObject({ name: 'ReferencedImagesNotFoundException' });
      expect(gone).toBe(pushed.status === 'rejected');
      const known = Object.keys(await images());
      expect([known.includes(manifest.digest), known.includes(index.digest)]).toEqual([!gone, !gone]);
    }
  });

  it('never loses a layer that is deleted while an image that needs it is pushed', async () => {
    for (let round = 0; round < 15; round += 1) {
      const { manifest, layers } = await pushLayersOfImage(registry.ecr, repository, `needed ${round}`);
      const { digest } = layers[0]!;
      const [pushed, deleted] = await Promise.allSettled([
        putImage(registry.ecr, repository, manifest),
        registry.fetchOci(`/v2/${repository}/blobs/${digest}`, { method: 'DELETE' }),
      ]);
      if (pushed.status === 'rejected')
        expect(pushed.reason).toMatchObject({ name: 'LayersNotFoundException' });
      const status = deleted.status === 'fulfilled' ? deleted.value.status : 0;
      expect(status).toBe(pushed.status === 'fulfilled' ? 405 : 202);
      expect(await blobStatus(digest)).toBe(pushed.status === 'fulfilled' ? 200 : 404);
    }
  });

  it('together with others, while the same layers are pushed again, keeps count', async () => {
    const { config, layers } = await pushLayersOfImage(registry.ecr, repository, 'counted');
    const manifests = Array.from({ length: 12 }, (_, index) =>
      imageManifest(config, layers, { annotations: { index: String(index) } }),
    );
    for (const [index, manifest] of manifests.entries())
      await putImage(registry.ecr, repository, manifest, `t${index}`);
    await Promise.allSettled([
      ...manifests.map((_, index) => remove(`t${index}`)),
      ...manifests.map((manifest, index) => putImage(registry.ecr, repository, manifest, `u${index}`)),
    ]);
    expect(Object.keys(await images())).toHaveLength(await countedIn(registry.prisma, repository, 'images'));
  });
});
