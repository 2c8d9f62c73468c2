import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  BatchGetImageCommand,
  DescribeImagesCommand,
  ImageAlreadyExistsException,
  ImageDigestDoesNotMatchException,
  InvalidParameterException,
  LayersNotFoundException,
  PutImageCommand,
  type PutImageCommandInput,
  ReferencedImagesNotFoundException,
  RepositoryNotFoundException,
} from '@aws-sdk/client-ecr';
import { createHash } from 'node:crypto';
import {
  blobOf,
  imageConfig,
  imageIndex,
  imageManifest,
  layer,
  manifestOf,
  MEDIA_TYPES,
} from '../support/images.js';
import { createRepository, pushImage, pushLayer, pushLayersOfImage, putImage } from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

const ACCOUNT = '000000000000';

describe('Pushing an image', () => {
  let registry: TestRegistry;
  let repository: string;
  beforeAll(async () => {
    registry = await startRegistry({ store: 'filesystem' });
    repository = await createRepository(registry.ecr);
  });
  afterAll(() => registry?.close());

  const put = (input: Partial<PutImageCommandInput>) =>
    registry.ecr.send(new PutImageCommand({ repositoryName: repository, ...input } as PutImageCommandInput));
  const tagsOf = async (imageDigest: string, repositoryName = repository): Promise<string[] | undefined> => {
    const command = new DescribeImagesCommand({ repositoryName, imageIds: [{ imageDigest }] });
    return (await registry.ecr.send(command)).imageDetails![0]!.imageTags;
  };
  const refusedManifest = async (manifest: string, mediaType?: string): Promise<string> =>
    (
      await refusal(
        put({ imageManifest: manifest, imageManifestMediaType: mediaType }),
        InvalidParameterException,
      )
    ).message;

  it('stores it under the digest of its exact bytes and answers what it stored', async () => {
    const { manifest } = await pushLayersOfImage(registry.ecr, repository, 'exact');
    const text = `${manifest.text}\n \t`;
    const { digest } = blobOf(Buffer.from(text));
    const { image } = await put({
      imageManifest: text,
      imageTag: 'exact',
      imageDigest: digest,
      registryId: ACCOUNT,
    });
    expect(image).toEqual({
      registryId: ACCOUNT,
      repositoryName: repository,
      imageId: { imageDigest: digest, imageTag: 'exact' },
      imageManifest: text,
      imageManifestMediaType: MEDIA_TYPES.ociManifest,
    });
    const { images } = await registry.ecr.send(
      new BatchGetImageCommand({ repositoryName: repository, imageIds: [{ imageTag: 'exact' }] }),
    );
    expect(images![0]!.imageManifest).toBe(text);
    const pulled = await registry.fetchOci(`/v2/${repository}/manifests/${digest}`);
    expect(await pulled.text()).toBe(text);
    expect(pulled.headers.get('content-type')).toBe(MEDIA_TYPES.ociManifest);
  });

  it('without a tag stores it untagged', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'untagged');
    expect(await tagsOf(manifest.digest)).toBeUndefined();
  });

  it('with a tag of another image moves the tag and keeps the image that had it', async () => {
    const first = await pushImage(registry.ecr, repository, 'moves 1', ['moving', 'staying']);
    const second = await pushImage(registry.ecr, repository, 'moves 2', ['moving']);
    expect(await tagsOf(first.manifest.digest)).toEqual(['staying']);
    expect(await tagsOf(second.manifest.digest)).toEqual(['moving']);
    const third = await pushImage(registry.ecr, repository, 'moves 3', ['staying']);
    expect(await tagsOf(first.manifest.digest)).toBeUndefined();
    expect(await tagsOf(third.manifest.digest)).toEqual(['staying']);
  });

  it('that is there already is refused, with the same tag and without one', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'twice', ['twice']);
    const text = (tag: string): string =>
      `Image with digest '${manifest.digest}' and tag '${tag}' already exists in the repository with name '${repository}' in registry with id '${ACCOUNT}'`;
    const same = put({ imageManifest: manifest.text, imageTag: 'twice' });
    expect((await refusal(same, ImageAlreadyExistsException)).message).toBe(text('twice'));
    await refusal(put({ imageManifest: manifest.text }), ImageAlreadyExistsException);
  });

  it('that is there already with another tag adds the tag and keeps the time of the push', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'more tags', ['z']);
    const pushedAt = async () =>
      (
        await registry.ecr.send(
          new DescribeImagesCommand({
            repositoryName: repository,
            imageIds: [{ imageDigest: manifest.digest }],
          }),
        )
      ).imageDetails![0]!.imagePushedAt;
    const before = await pushedAt();
    for (const tag of ['y', 'x']) await putImage(registry.ecr, repository, manifest, tag);
    expect(await tagsOf(manifest.digest)).toEqual(['z', 'y', 'x']);
    expect(await pushedAt()).toEqual(before);
  });

  it('of every kind of manifest keeps its media type', async () => {
    const name = await createRepository(registry.ecr);
    const oci = await pushImage(registry.ecr, name, 'oci');
    const docker = await pushImage(registry.ecr, name, 'docker', [], { flavour: 'docker' });
    const index = imageIndex([oci.manifest, docker.manifest]);
    const list = imageIndex([docker.manifest], { flavour: 'docker' });
    const artifact = imageManifest(oci.config, oci.layers, { artifactType: 'application/vnd.example.sbom' });
    for (const manifest of [index, list, artifact]) await putImage(registry.ecr, name, manifest);
    const all = [oci.manifest, docker.manifest, index, list, artifact];
    const { images } = await registry.ecr.send(
      new BatchGetImageCommand({
        repositoryName: name,
        imageIds: all.map(({ digest }) => ({ imageDigest: digest })),
      }),
    );
    expect(images!.map(({ imageManifestMediaType }) => imageManifestMediaType)).toEqual(
      all.map(({ mediaType }) => mediaType),
    );
    expect(images!.map(({ imageManifest }) => imageManifest)).toEqual(all.map(({ text }) => text));
  });

  it('takes the media type from beside the manifest when it has none inside', async () => {
    const { config, layers } = await pushLayersOfImage(registry.ecr, repository, 'typeless');
    const { mediaType: _, ...rest } = JSON.parse(imageManifest(config, layers).text) as Record<
      string,
      unknown
    >;
    const manifest = manifestOf(MEDIA_TYPES.ociManifest, rest);
    expect(await refusedManifest(manifest.text)).toMatch(/Invalid JSON syntax/);
    const { image } = await put({
      imageManifest: manifest.text,
      imageManifestMediaType: MEDIA_TYPES.ociManifest,
    });
    expect(image!.imageManifestMediaType).toBe(MEDIA_TYPES.ociManifest);
  });

  it('is refused when its digest is not the expected one', async () => {
    const { manifest } = await pushLayersOfImage(registry.ecr, repository, 'digest');
    const wrong = `sha256:${'0'.repeat(64)}`;
    const error = await refusal(
      put({ imageManifest: manifest.text, imageDigest: wrong }),
      ImageDigestDoesNotMatchException,
    );
    expect(error.message).toBe(
      `The image with digest '${wrong}' in repository '${repository}' and registry ID '${ACCOUNT}' does not match the image digest that Amazon ECR has calculated.`,
    );
    await refusal(
      put({ imageManifest: manifest.text, imageDigest: 'nonsense' }),
      ImageDigestDoesNotMatchException,
    );
  });

  it('under its SHA-512 and its SHA-256 is one image', async () => {
    const { manifest } = await pushLayersOfImage(registry.ecr, repository, 'both digests');
    const sha512 = `sha512:${createHash('sha512').update(manifest.text).digest('hex')}`;
    await put({ imageManifest: manifest.text, imageDigest: sha512, imageTag: 'both-1' });
    await put({ imageManifest: manifest.text, imageTag: 'both-2' });
    expect(await tagsOf(sha512)).toEqual(['both-1', 'both-2']);
  });

  it('is refused while layers or the config are missing, and names them all', async () => {
    const config = imageConfig('missing');
    const [there, missing] = [layer(10, 'there'), layer(10, 'missing')];
    await pushLayer(registry.ecr, repository, there);
    const manifest = imageManifest(config, [there, missing, missing]);
    const error = await refusal(put({ imageManifest: manifest.text }), LayersNotFoundException);
    expect(error.message).toBe(
      `Layers with digests '[${config.digest}, ${missing.digest}]' required for pushing image into repository with name '${repository}' in the registry with id '${ACCOUNT}' do not exist`,
    );
    await refusal(tagsOf(manifest.digest), Error);
    for (const blob of [config, missing]) await pushLayer(registry.ecr, repository, blob);
    await putImage(registry.ecr, repository, manifest);
  });

  it('is refused when only another repository has its layers', async () => {
    const { manifest } = await pushImage(registry.ecr, repository, 'layers elsewhere');
    const other = await createRepository(registry.ecr);
    await refusal(putImage(registry.ecr, other, manifest), LayersNotFoundException);
  });

  it('does not need layers that live elsewhere by their kind', async () => {
    const config = imageConfig('foreign');
    await pushLayer(registry.ecr, repository, config);
    const { digest, size } = layer(10, 'never pushed');
    const manifest = manifestOf(MEDIA_TYPES.dockerManifest, {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.dockerManifest,
      config: { mediaType: MEDIA_TYPES.dockerConfig, digest: config.digest, size: config.size },
      layers: [
        {
          mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
          digest,
          size,
          urls: ['https://example.com/layer'],
        },
      ],
    });
    await putImage(registry.ecr, repository, manifest);
  });

  it('is refused while images an index names are missing, and names them all', async () => {
    const { manifest: child } = await pushImage(registry.ecr, repository, 'child');
    const missing = ['a', 'b'].map((seed) => imageManifest(imageConfig(seed), []));
    const index = imageIndex([child, ...missing]);
    const error = await refusal(put({ imageManifest: index.text }), ReferencedImagesNotFoundException);
    expect(error.message).toBe(
      `Images with digests '[${missing.map(({ digest }) => digest).join(', ')}]' required for pushing image into repository with name '${repository}' in the registry with id '${ACCOUNT}' do not exist`,
    );
  });

  it('into a repository that does not exist is refused', async () => {
    const { manifest } = await pushLayersOfImage(registry.ecr, repository, 'nowhere');
    await refusal(putImage(registry.ecr, 'no/such', manifest), RepositoryNotFoundException);
  });

  it('by many clients at once stores it once and gives the tag to one image', async () => {
    const images = await Promise.all(
      ['r1', 'r2', 'r3'].map((seed) => pushLayersOfImage(registry.ecr, repository, seed)),
    );
    const outcomes = await Promise.allSettled(
      [...images, ...images, ...images].map(({ manifest }) =>
        putImage(registry.ecr, repository, manifest, 'contested'),
      ),
    );
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(ImageAlreadyExistsException);
    const tags = await Promise.all(images.map(({ manifest }) => tagsOf(manifest.digest)));
    expect(tags.filter((list) => list?.includes('contested'))).toHaveLength(1);
  });
});
