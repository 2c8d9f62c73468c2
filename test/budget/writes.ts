import { BatchDeleteImageCommand } from '@aws-sdk/client-ecr';
import { randomUUID } from 'node:crypto';
import { type Blob, imageConfig, imageManifest } from '../support/images.js';
import { beginUpload, MEBIBYTE, pushImage, pushLayer, putImage } from '../support/pushes.js';
import { fresh, oci, type Operation, plain, type Stage } from './operation.js';

export const ECR_UPLOADS: Operation[] = [
  plain('InitiateLayerUpload', 2, ({ registry, repository }) => beginUpload(registry.ecr, repository)),
  {
    name: 'UploadLayerPart, the first one, of 10 MiB',
    statements: 4,
    store: ['CreateMultipartUpload', 'UploadPart'],
    async prepare({ registry, repository }) {
      const upload = await beginUpload(registry.ecr, repository);
      return () => upload.part(fresh(10 * MEBIBYTE).bytes, 0);
    },
  },
  {
    name: 'UploadLayerPart, a further one, of 10 MiB',
    statements: 4,
    store: ['UploadPart'],
    async prepare({ registry, repository }) {
      const upload = await beginUpload(registry.ecr, repository);
      await upload.part(fresh(10 * MEBIBYTE).bytes, 0);
      return () => upload.part(fresh(10 * MEBIBYTE).bytes, 10 * MEBIBYTE);
    },
  },
  {
    name: 'UploadLayerPart of a layer under 5 MiB',
    statements: 3,
    store: [],
    async prepare({ registry, repository }) {
      const upload = await beginUpload(registry.ecr, repository);
      return () => upload.part(fresh().bytes, 0);
    },
  },
  {
    name: 'CompleteLayerUpload of parts in the store',
    statements: 3,
    store: ['CompleteMultipartUpload'],
    async prepare({ registry, repository }) {
      const upload = await beginUpload(registry.ecr, repository);
      const { bytes, digest } = fresh(10 * MEBIBYTE);
      await upload.part(bytes, 0);
      return () => upload.complete(digest);
    },
  },
  {
    name: 'CompleteLayerUpload of a layer under 5 MiB',
    statements: 4,
    store: ['PutObject'],
    async prepare({ registry, repository }) {
      const upload = await beginUpload(registry.ecr, repository);
      const { bytes, digest } = fresh();
      await upload.part(bytes, 0);
      return () => upload.complete(digest);
    },
  },
];

export const OCI_UPLOADS: Operation[] = [
  plain('POST of an upload', 2, begin),
  {
    name: 'PATCH of 32 MiB',
    statements: 5,
    store: ['CreateMultipartUpload', 'UploadPart', 'UploadPart'],
    async prepare(stage) {
      const location = await begin(stage);
      return () => oci(stage, 'PATCH', location, fresh(32 * MEBIBYTE).bytes);
    },
  },
  {
    name: 'PATCH of a layer under 5 MiB',
    statements: 3,
    async prepare(stage) {
      const location = await begin(stage);
      return () => oci(stage, 'PATCH', location, fresh().bytes);
    },
  },
  {
    name: 'GET of an upload',
    statements: 2,
    async prepare(stage) {
      const location = await begin(stage);
      return () => oci(stage, 'GET', location);
    },
  },
  {
    name: 'PUT without a body after PATCH of 32 MiB',
    statements: 3,
    store: ['CompleteMultipartUpload'],
    async prepare(stage) {
      const location = await begin(stage);
      const { bytes, digest } = fresh(32 * MEBIBYTE);
      await oci(stage, 'PATCH', location, bytes);
      return () => oci(stage, 'PUT', `${location}?digest=${digest}`);
    },
  },
  {
    name: 'PUT of a whole layer under 5 MiB',
    statements: 3,
    store: ['PutObject'],
    async prepare(stage) {
      const location = await begin(stage);
      const { bytes, digest } = fresh();
      return () => oci(stage, 'PUT', `${location}?digest=${digest}`, bytes);
    },
  },
  {
    name: 'POST of a whole layer under 5 MiB',
    statements: 4,
    store: ['PutObject'],
    async prepare(stage) {
      const { bytes, digest } = fresh();
      return () => oci(stage, 'POST', `/v2/${stage.repository}/blobs/uploads/?digest=${digest}`, bytes);
    },
  },
  {
    name: 'POST that mounts a layer',
    statements: 4,
    transactions: 1,
    async prepare(stage) {
      const blob = fresh();
      await pushLayer(stage.registry.ecr, stage.repository, blob);
      const { other, repository } = stage;
      return () => oci(stage, 'POST', `/v2/${other}/blobs/uploads/?mount=${blob.digest}&from=${repository}`);
    },
  },
];

export const PUSHES: Operation[] = [
  {
    name: 'PutImage of 8 layers with a new tag',
    statements: 8,
    transactions: 1,
    prepare: async (stage) => {
      const { config, layers } = await newImage(stage);
      return () =>
        putImage(stage.registry.ecr, stage.repository, imageManifest(config, layers), randomUUID());
    },
  },
  {
    name: 'PUT of a manifest of 8 layers with a new tag',
    statements: 8,
    transactions: 1,
    prepare: async (stage) => {
      const { config, layers } = await newImage(stage);
      const { text, mediaType } = imageManifest(config, layers);
      return () => oci(stage, 'PUT', `/v2/${stage.repository}/manifests/${randomUUID()}`, text, mediaType);
    },
  },
  {
    name: 'PUT of a manifest that moves a tag',
    statements: 10,
    transactions: 1,
    prepare: async (stage) => {
      await pushImage(stage.registry.ecr, stage.repository, randomUUID(), ['latest']);
      const { config, layers } = await newImage(stage);
      const { text, mediaType } = imageManifest(config, layers);
      return () => oci(stage, 'PUT', `/v2/${stage.repository}/manifests/latest`, text, mediaType);
    },
  },
  {
    name: 'PUT of a manifest that is there',
    statements: 8,
    transactions: 1,
    prepare: async (stage) => {
      const { text, mediaType } = stage.images[0]!.manifest;
      return () => oci(stage, 'PUT', `/v2/${stage.repository}/manifests/v0`, text, mediaType);
    },
  },
  ...[1, 100].map((count): Operation => ({
    name: `BatchDeleteImage of ${count}`,
    statements: 6,
    transactions: 1,
    prepare: async ({ registry, repository, images: [image] }) => {
      const { config, layers } = image!;
      const imageIds: { imageDigest: string }[] = [];
      for (let index = 0; index < count; index += 1) {
        const manifest = imageManifest(config, layers, { annotations: { index: randomUUID() } });
        await putImage(registry.ecr, repository, manifest, randomUUID());
        imageIds.push({ imageDigest: manifest.digest });
      }
      return async () => {
        const { failures } = await registry.ecr.send(
          new BatchDeleteImageCommand({ repositoryName: repository, imageIds }),
        );
        if (failures!.length > 0) throw new Error(JSON.stringify(failures));
      };
    },
  })),
];

async function begin(stage: Stage): Promise<string> {
  return (await oci(stage, 'POST', `/v2/${stage.repository}/blobs/uploads/`)).headers.get('location')!;
}

async function newImage({ registry, repository }: Stage): Promise<{ config: Blob; layers: Blob[] }> {
  const config = imageConfig(randomUUID());
  const layers = Array.from({ length: 8 }, () => fresh(100));
  for (const blob of [config, ...layers]) await pushLayer(registry.ecr, repository, blob);
  return { config, layers };
}
