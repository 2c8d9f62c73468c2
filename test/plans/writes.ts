import {
  BatchDeleteImageCommand,
  DeleteRepositoryCommand,
  PutImageTagMutabilityCommand,
  TagResourceCommand,
  UntagResourceCommand,
} from '@aws-sdk/client-ecr';
import { imageConfig, imageIndex, imageManifest, layer } from '../support/images.js';
import {
  beginUpload,
  createRepository,
  pushImage,
  pushLayer,
  pushLayersOfImage,
  putImage,
} from '../support/pushes.js';
import { arnOf, LARGE, oci, type Operation, plain, type Stage } from './operation.js';
import { seededDigest, seededLayer, seededRepository, seededTag } from './seed.js';

/** Numbers of seeded images of the large repository that no index names, others for every n. */
function free(n: number, count: number, from = 40_000): number[] {
  const first = from + n * count * 2;
  return Array.from({ length: count * 2 }, (_, index) => first + index)
    .filter((number) => number % 100 > 0 && number % 100 < 98)
    .slice(0, count);
}

export const UPLOADS: Operation[] = [
  plain('InitiateLayerUpload', 1, ({ registry }) => beginUpload(registry.ecr, LARGE)),
  {
    name: 'UploadLayerPart',
    rows: 1,
    async prepare({ registry }) {
      const upload = await beginUpload(registry.ecr, LARGE);
      return () => upload.part(Buffer.alloc(1_000, 1), 0);
    },
  },
  {
    name: 'CompleteLayerUpload',
    rows: 1,
    async prepare({ registry }, n) {
      const upload = await beginUpload(registry.ecr, LARGE);
      const { bytes, digest } = layer(1_000, `completed ${n}`);
      await upload.part(bytes, 0);
      return () => upload.complete(digest);
    },
  },
  {
    name: 'CompleteLayerUpload of a layer that is there',
    rows: 1,
    async prepare({ registry }, n) {
      const blob = layer(1_000, `twice ${n}`);
      await pushLayer(registry.ecr, LARGE, blob);
      const upload = await beginUpload(registry.ecr, LARGE);
      await upload.part(blob.bytes, 0);
      return () => upload.complete(blob.digest).catch(() => undefined);
    },
  },
  plain('POST, PATCH, GET and PUT of a blob', 4, async (stage, n) => {
    const { bytes, digest } = layer(1_000, `streamed ${n}`);
    const begun = await oci(stage, 'POST', `/v2/${LARGE}/blobs/uploads/`);
    const location = begun.headers.get('location')!;
    await oci(stage, 'PATCH', location, { body: new Uint8Array(bytes) });
    await oci(stage, 'GET', location);
    await oci(stage, 'PUT', `${location}?digest=${digest}`);
  }),
  {
    name: 'DELETE of an upload',
    rows: 1,
    async prepare(stage) {
      const begun = await oci(stage, 'POST', `/v2/${LARGE}/blobs/uploads/`);
      const location = begun.headers.get('location')!;
      await oci(stage, 'PATCH', location, { body: new Uint8Array(100) });
      return () => oci(stage, 'DELETE', location);
    },
  },
  plain('mount of a layer', 1, (stage, n) =>
    oci(
      stage,
      'POST',
      `/v2/${LARGE}/blobs/uploads/?mount=${seededLayer(100 + n)}&from=${seededRepository(100 + n)}`,
    ),
  ),
  plain('mount of a layer from anywhere', 1, (stage, n) =>
    oci(stage, 'POST', `/v2/${LARGE}/blobs/uploads/?mount=${seededLayer(200 + n)}`),
  ),
  {
    name: 'DELETE of a blob',
    rows: 1,
    async prepare(stage, n) {
      const blob = layer(100, `unlinked ${n}`);
      await pushLayer(stage.registry.ecr, LARGE, blob);
      return () => oci(stage, 'DELETE', `/v2/${LARGE}/blobs/${blob.digest}`);
    },
  },
];

export const PUSHES: Operation[] = [
  {
    name: 'push of a manifest with 10 layers and a tag',
    rows: 12,
    async prepare({ registry }, n) {
      const config = imageConfig(`pushed ${n}`);
      const layers = Array.from({ length: 10 }, (_, index) => layer(100, `pushed ${n} ${index}`));
      for (const blob of [config, ...layers]) await pushLayer(registry.ecr, LARGE, blob);
      return () => putImage(registry.ecr, LARGE, imageManifest(config, layers), `pushed-${n}`);
    },
  },
  {
    name: 'push of a manifest that is there',
    rows: 3,
    async prepare(stage, n) {
      const { manifest } = await pushImage(stage.registry.ecr, LARGE, `again ${n}`, [`again-${n}`]);
      return () => putManifest(stage, `again-${n}`, manifest);
    },
  },
  {
    name: 'push of an index of 2 images',
    rows: 4,
    async prepare({ registry }, n) {
      const children = [
        await pushImage(registry.ecr, LARGE, `child a ${n}`),
        await pushImage(registry.ecr, LARGE, `child b ${n}`),
      ];
      const index = imageIndex(children.map(({ manifest }) => manifest));
      return () => putImage(registry.ecr, LARGE, index, `index-${n}`);
    },
  },
  {
    name: 'move of a tag',
    rows: 4,
    async prepare(stage, n) {
      await pushImage(stage.registry.ecr, LARGE, `moved from ${n}`, ['moving']);
      const { manifest } = await pushLayersOfImage(stage.registry.ecr, LARGE, `moved to ${n}`);
      return () => putManifest(stage, 'moving', manifest);
    },
  },
  plain('BatchDeleteImage of 100', 100, ({ registry }, n) =>
    registry.ecr.send(
      new BatchDeleteImageCommand({
        repositoryName: LARGE,
        imageIds: free(n, 100).map((number, index) =>
          index % 2 === 0 ? { imageDigest: seededDigest(number) } : { imageTag: seededTag(number) },
        ),
      }),
    ),
  ),
  plain('DELETE of a manifest', 1, (stage, n) =>
    oci(stage, 'DELETE', `/v2/${LARGE}/manifests/${seededDigest(free(n, 1, 80_000)[0]!)}`),
  ),
  plain('DELETE of a tag', 1, (stage, n) =>
    oci(stage, 'DELETE', `/v2/${LARGE}/manifests/${seededTag(free(n, 1, 90_000)[0]!)}`),
  ),
];

export const REPOSITORIES: Operation[] = [
  plain('CreateRepository', 1, ({ registry }) => createRepository(registry.ecr)),
  plain('PutImageTagMutability', 1, ({ registry }) =>
    registry.ecr.send(
      new PutImageTagMutabilityCommand({ repositoryName: LARGE, imageTagMutability: 'MUTABLE' }),
    ),
  ),
  plain('TagResource and UntagResource', 2, async ({ registry }, n) => {
    const resourceArn = arnOf(LARGE);
    await registry.ecr.send(new TagResourceCommand({ resourceArn, tags: [{ Key: `k${n}`, Value: 'v' }] }));
    await registry.ecr.send(new UntagResourceCommand({ resourceArn, tagKeys: [`k${n}`] }));
  }),
  {
    name: 'DeleteRepository of an empty one',
    rows: 1,
    async prepare({ registry }) {
      const repositoryName = await createRepository(registry.ecr);
      return () => registry.ecr.send(new DeleteRepositoryCommand({ repositoryName }));
    },
  },
  // With some 88 images, two layers each.
  plain('DeleteRepository with its images', 600, ({ registry }, n) =>
    registry.ecr.send(
      new DeleteRepositoryCommand({ repositoryName: seededRepository(1_000 + n), force: true }),
    ),
  ),
];

async function putManifest(
  stage: Stage,
  tag: string,
  manifest: { text: string; mediaType: string },
): Promise<void> {
  await oci(stage, 'PUT', `/v2/${LARGE}/manifests/${tag}`, {
    headers: { 'content-type': manifest.mediaType },
    body: manifest.text,
  });
}
