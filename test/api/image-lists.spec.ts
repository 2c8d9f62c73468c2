import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  DescribeImagesCommand,
  type DescribeImagesCommandInput,
  type ImageDetail,
  type ImageIdentifier,
  ImageNotFoundException,
  InvalidParameterException,
  ListImageReferrersCommand,
  type ListImageReferrersCommandInput,
  ListImagesCommand,
  type ListImagesCommandInput,
  paginateDescribeImages,
  paginateListImages,
  type ImageReferrer,
  RepositoryNotFoundException,
} from '@aws-sdk/client-ecr';
import { imageIndex, imageManifest, layer, type Manifest, MEDIA_TYPES } from '../support/images.js';
import { createRepository, type PushedImage, pushImage, putImage } from '../support/pushes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

const ACCOUNT = '000000000000';
const SBOM = 'application/vnd.example.sbom';
const SIGNATURE = 'application/vnd.example.signature';

describe('The images of a repository', () => {
  let registry: TestRegistry;
  let repository: string;
  /** In push order. */
  let images: PushedImage[];
  let index: Manifest;
  let sbom: Manifest;
  beforeAll(async () => {
    registry = await startRegistry({ store: 'filesystem' });
    repository = await createRepository(registry.ecr);
    images = [
      await pushImage(registry.ecr, repository, 'c', ['z', 'a']),
      await pushImage(registry.ecr, repository, 'b'),
      await pushImage(registry.ecr, repository, 'a', ['m'], { flavour: 'docker' }),
    ];
    index = imageIndex(images.map(({ manifest }) => manifest));
    await putImage(registry.ecr, repository, index, 'multi');
    const { config, layers, manifest } = images[0]!;
    sbom = imageManifest(config, layers, { artifactType: SBOM, subject: manifest });
    await putImage(registry.ecr, repository, sbom);
  });
  afterAll(() => registry?.close());

  const digest = (position: number): string => images[position]!.manifest.digest;
  const list = async (input: Partial<ListImagesCommandInput> = {}): Promise<ImageIdentifier[]> => {
    const found = [];
    for await (const page of paginateListImages(
      { client: registry.ecr },
      { repositoryName: repository, ...input },
    ))
      found.push(...page.imageIds!);
    return found;
  };
  const details = async (input: Partial<DescribeImagesCommandInput> = {}): Promise<ImageDetail[]> => {
    const found = [];
    for await (const page of paginateDescribeImages(
      { client: registry.ecr },
      { repositoryName: repository, ...input },
    ))
      found.push(...page.imageDetails!);
    return found;
  };

  it('are listed once for each tag, or once without one', async () => {
    expect(await list()).toEqual([
      { imageDigest: digest(0), imageTag: 'z' },
      { imageDigest: digest(0), imageTag: 'a' },
      { imageDigest: digest(1) },
      { imageDigest: digest(2), imageTag: 'm' },
      { imageDigest: index.digest, imageTag: 'multi' },
      { imageDigest: sbom.digest },
    ]);
  });

  it('are described in push order, with all their tags in tagging order', async () => {
    const described = await details();
    expect(described.map(({ imageDigest }) => imageDigest)).toEqual([
      digest(0),
      digest(1),
      digest(2),
      index.digest,
      sbom.digest,
    ]);
    const { config, layers, manifest } = images[0]!;
    expect(described[0]).toEqual({
      registryId: ACCOUNT,
      repositoryName: repository,
      imageDigest: manifest.digest,
      imageTags: ['z', 'a'],
      imageSizeInBytes: config.size + layers[0]!.size,
      imagePushedAt: expect.any(Date),
      imageManifestMediaType: MEDIA_TYPES.ociManifest,
      artifactMediaType: MEDIA_TYPES.ociConfig,
      imageStatus: 'ACTIVE',
    });
    expect(described[1]).not.toHaveProperty('imageTags');
    expect(described[2]!.imageManifestMediaType).toBe(MEDIA_TYPES.dockerManifest);
    expect(described[3]!.imageSizeInBytes).toBe(
      Math.max(...images.map((image) => image.config.size + image.layers[0]!.size)),
    );
    expect(described[4]).toMatchObject({
      artifactMediaType: SBOM,
      subjectManifestDigest: manifest.digest,
    });
  });

  it.each([1, 2, 3, 5, 1000])('are the same in pages of %i', async (maxResults) => {
    expect(await list({ maxResults })).toEqual(await list());
    expect(await details({ maxResults })).toEqual(await details());
  });

  it('are filtered by whether they have tags, page by page too', async () => {
    const tagged = { filter: { tagStatus: 'TAGGED' as const } };
    const untagged = { filter: { tagStatus: 'UNTAGGED' as const } };
    expect((await list(tagged)).map(({ imageTag }) => imageTag)).toEqual(['z', 'a', 'm', 'multi']);
    expect((await list(untagged)).map(({ imageDigest }) => imageDigest)).toEqual([digest(1), sbom.digest]);
    expect(await list({ ...tagged, maxResults: 1 })).toEqual(await list(tagged));
    expect((await details(tagged)).map(({ imageDigest }) => imageDigest)).toEqual([
      digest(0),
      digest(2),
      index.digest,
    ]);
    expect(await details({ ...untagged, maxResults: 1 })).toEqual(await details(untagged));
    expect(await details({ ...tagged, maxResults: 1 })).toEqual(await details(tagged));
    expect(await list({ filter: { tagStatus: 'ANY', imageStatus: 'ACTIVE' } })).toEqual(await list());
    expect(await list({ filter: { imageStatus: 'ARCHIVED' } })).toEqual([]);
    expect(await details({ filter: { imageStatus: 'ARCHIVED' } })).toEqual([]);
  });

  it('are paged with tokens of the same question only', async () => {
    const { nextToken } = await registry.ecr.send(
      new ListImagesCommand({ repositoryName: repository, maxResults: 1 }),
    );
    const other = await createRepository(registry.ecr);
    const misuses = [
      new ListImagesCommand({ repositoryName: other, nextToken }),
      new ListImagesCommand({ repositoryName: repository, nextToken, filter: { tagStatus: 'TAGGED' } }),
      new ListImagesCommand({ repositoryName: repository, nextToken: `${nextToken}x` }),
    ];
    for (const misuse of misuses)
      expect((await refusal(registry.ecr.send(misuse), InvalidParameterException)).message).toMatch(
        /^Invalid parameter at 'nextToken'/,
      );
    const describing = new DescribeImagesCommand({ repositoryName: repository, nextToken });
    await refusal(registry.ecr.send(describing), InvalidParameterException);
    const mixed = new DescribeImagesCommand({
      repositoryName: repository,
      imageIds: [{ imageTag: 'z' }],
      maxResults: 1,
    });
    await refusal(registry.ecr.send(mixed), InvalidParameterException);
  });

  it('can be described by tag and by digest, once each', async () => {
    const command = new DescribeImagesCommand({
      repositoryName: repository,
      imageIds: [{ imageTag: 'm' }, { imageTag: 'a' }, { imageDigest: digest(0) }, { imageTag: 'z' }],
    });
    const { imageDetails } = await registry.ecr.send(command);
    expect(imageDetails!.map(({ imageDigest }) => imageDigest)).toEqual([digest(0), digest(2)]);
  });

  it('fail a description as a whole when one is missing, which is named', async () => {
    const missing = layer(1, 'missing').digest;
    const message = async (...imageIds: ImageIdentifier[]): Promise<string> => {
      const command = new DescribeImagesCommand({ repositoryName: repository, imageIds });
      return (await refusal(registry.ecr.send(command), ImageNotFoundException)).message;
    };
    const text = (imageDigest: string, imageTag: string): string =>
      `The image with imageId {imageDigest:'${imageDigest}', imageTag:'${imageTag}'} does not exist within the repository with name '${repository}' in the registry with id '${ACCOUNT}'`;
    expect(await message({ imageTag: 'z' }, { imageTag: 'never' })).toBe(text('null', 'never'));
    expect(await message({ imageDigest: missing })).toBe(text(missing, 'null'));
    expect(await message({ imageDigest: digest(0), imageTag: 'm' })).toBe(text(digest(0), 'm'));
    const nameless = new DescribeImagesCommand({ repositoryName: repository, imageIds: [{}] });
    await refusal(registry.ecr.send(nameless), InvalidParameterException);
  });

  it('are listed for repositories that exist, in pages of 1 to 1000', async () => {
    await refusal(list({ repositoryName: 'no/such' }), RepositoryNotFoundException);
    await refusal(details({ repositoryName: 'no/such' }), RepositoryNotFoundException);
    for (const maxResults of [0, 1001]) {
      await refusal(list({ maxResults }), InvalidParameterException);
      await refusal(details({ maxResults }), InvalidParameterException);
    }
  });

  describe('that refer to another one', () => {
    const referrers = async (
      input: Partial<ListImageReferrersCommandInput> = {},
    ): Promise<ImageReferrer[]> => {
      const found: ImageReferrer[] = [];
      let nextToken: string | undefined;
      do {
        const page = await registry.ecr.send(
          new ListImageReferrersCommand({
            repositoryName: repository,
            subjectId: { imageDigest: digest(0) },
            ...input,
            nextToken,
          }),
        );
        found.push(...page.referrers!);
        ({ nextToken } = page);
      } while (nextToken !== undefined);
      return found;
    };

    it('are listed in push order, filtered by type, page by page', async () => {
      const { config, layers, manifest } = images[0]!;
      const signatures = ['1', '2', '3'].map((note) =>
        imageManifest(config, layers, { artifactType: SIGNATURE, subject: manifest, annotations: { note } }),
      );
      for (const signature of signatures) await putImage(registry.ecr, repository, signature);
      const all = await referrers();
      expect(all[0]).toEqual({
        digest: sbom.digest,
        mediaType: MEDIA_TYPES.ociManifest,
        artifactType: SBOM,
        size: sbom.size,
        artifactStatus: 'ACTIVE',
      });
      expect(all.map((referrer) => referrer.digest)).toEqual([
        sbom.digest,
        ...signatures.map((signature) => signature.digest),
      ]);
      expect(all[2]!.annotations).toEqual({ note: '2' });
      for (const maxResults of [1, 2, 50]) expect(await referrers({ maxResults })).toEqual(all);
      const filter = { artifactTypes: [SIGNATURE] };
      expect(await referrers({ filter, maxResults: 2 })).toEqual(all.slice(1));
      expect(await referrers({ filter: { artifactTypes: [SIGNATURE, SBOM] } })).toEqual(all);
      expect(await referrers({ filter: { artifactTypes: ['other'] } })).toEqual([]);
      expect(await referrers({ filter: { artifactStatus: 'ARCHIVED' } })).toEqual([]);
    });

    it('are none for an image nobody pushed, and may come before the image', async () => {
      const { config, layers } = images[0]!;
      const later = imageManifest(config, [], { annotations: { pushed: 'later' } });
      const subjectId = { imageDigest: later.digest };
      expect(await referrers({ subjectId })).toEqual([]);
      const early = imageManifest(config, layers, { artifactType: SBOM, subject: later });
      await putImage(registry.ecr, repository, early);
      expect((await referrers({ subjectId })).map((referrer) => referrer.digest)).toEqual([early.digest]);
    });

    it('are listed in pages of 1 to 50, of repositories that exist', async () => {
      for (const maxResults of [0, 51]) await refusal(referrers({ maxResults }), InvalidParameterException);
      await refusal(referrers({ repositoryName: 'no/such' }), RepositoryNotFoundException);
    });
  });
});
