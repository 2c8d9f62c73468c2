import {
  BatchCheckLayerAvailabilityCommand,
  BatchGetImageCommand,
  DescribeImagesCommand,
  DescribeRepositoriesCommand,
  GetDownloadUrlForLayerCommand,
  ListImagesCommand,
} from '@aws-sdk/client-ecr';
import { randomUUID } from 'node:crypto';
import { imageManifest } from '../support/images.js';
import { pushImage, putImage } from '../support/pushes.js';
import { oci, type Operation, plain, type Stage } from './operation.js';

export const PULLS: Operation[] = [
  plain('GET of a manifest by tag', 1, (stage) => oci(stage, 'GET', `/v2/${stage.repository}/manifests/v0`)),
  plain('GET of a manifest by digest', 1, (stage) =>
    oci(stage, 'GET', `/v2/${stage.repository}/manifests/${stage.images[0]!.manifest.digest}`),
  ),
  plain('HEAD of a manifest by tag', 1, (stage) =>
    oci(stage, 'HEAD', `/v2/${stage.repository}/manifests/v0`),
  ),
  {
    name: 'the first GET of a manifest in a while, which is recorded',
    statements: 2,
    async prepare(stage) {
      const { manifest } = await pushImage(stage.registry.ecr, stage.repository, randomUUID());
      return () => oci(stage, 'GET', `/v2/${stage.repository}/manifests/${manifest.digest}`);
    },
  },
  plain('HEAD of a blob', 1, (stage) => oci(stage, 'HEAD', blobPath(stage))),
  plain('GET of a blob, redirected', 1, (stage) => oci(stage, 'GET', blobPath(stage))),
  plain('GetDownloadUrlForLayer', 1, ({ registry, repository, images }) =>
    registry.ecr.send(
      new GetDownloadUrlForLayerCommand({
        repositoryName: repository,
        layerDigest: images[0]!.layers[0]!.digest,
      }),
    ),
  ),
  plain('BatchGetImage of one', 2, (stage) => batchGet(stage, 1)),
  plain('BatchGetImage of 100', 2, (stage) => batchGet(stage, 100)),
  {
    name: 'the first BatchGetImage of 100 in a while, which is recorded',
    statements: 3,
    async prepare({ registry, repository, images: [image] }) {
      const imageIds: { imageDigest: string }[] = [];
      for (let index = 0; index < 100; index += 1) {
        const manifest = imageManifest(image!.config, image!.layers, {
          annotations: { index: randomUUID() },
        });
        await putImage(registry.ecr, repository, manifest);
        imageIds.push({ imageDigest: manifest.digest });
      }
      return () => registry.ecr.send(new BatchGetImageCommand({ repositoryName: repository, imageIds }));
    },
  },
  plain('BatchCheckLayerAvailability of 100', 1, ({ registry, repository, images }) =>
    registry.ecr.send(
      new BatchCheckLayerAvailabilityCommand({
        repositoryName: repository,
        layerDigests: images.slice(0, 100).map(({ config }) => config.digest),
      }),
    ),
  ),
];

export const LISTS: Operation[] = [
  plain('DescribeImages, a page', 2, ({ registry, repository }) =>
    registry.ecr.send(new DescribeImagesCommand({ repositoryName: repository, maxResults: 100 })),
  ),
  plain('DescribeImages of 100', 2, ({ registry, repository }) =>
    registry.ecr.send(new DescribeImagesCommand({ repositoryName: repository, imageIds: named(100) })),
  ),
  plain('ListImages, a page', 2, ({ registry, repository }) =>
    registry.ecr.send(new ListImagesCommand({ repositoryName: repository, maxResults: 100 })),
  ),
  plain('tags/list, a page', 2, (stage) => oci(stage, 'GET', `/v2/${stage.repository}/tags/list?n=100`)),
  plain('referrers, a page', 2, (stage) =>
    oci(stage, 'GET', `/v2/${stage.repository}/referrers/${stage.images[0]!.manifest.digest}`),
  ),
  plain('DescribeRepositories, a page', 1, ({ registry }) =>
    registry.ecr.send(new DescribeRepositoriesCommand({ maxResults: 100 })),
  ),
  plain('_catalog, a page', 1, (stage) => oci(stage, 'GET', '/v2/_catalog?n=100')),
];

function blobPath({ repository, images }: Stage): string {
  return `/v2/${repository}/blobs/${images[0]!.layers[0]!.digest}`;
}

function named(count: number): { imageTag: string }[] {
  return Array.from({ length: count }, (_, index) => ({ imageTag: `v${index}` }));
}

async function batchGet({ registry, repository }: Stage, count: number): Promise<void> {
  const { images } = await registry.ecr.send(
    new BatchGetImageCommand({ repositoryName: repository, imageIds: named(count) }),
  );
  if (images!.length !== count) throw new Error(`Got ${images!.length} of ${count}`);
}
