import {
  BatchCheckLayerAvailabilityCommand,
  BatchGetImageCommand,
  DescribeImagesCommand,
  type DescribeImagesCommandOutput,
  DescribeRepositoriesCommand,
  GetDownloadUrlForLayerCommand,
  ListImageReferrersCommand,
  ListImagesCommand,
  type ListImagesCommandOutput,
  ListTagsForResourceCommand,
} from '@aws-sdk/client-ecr';
import { layer } from '../support/images.js';
import { pushLayer } from '../support/pushes.js';
import { arnOf, LARGE, oci, type Operation, PAGE, plain, type Stage } from './operation.js';
import { seededDigest, seededLayer, seededRepository, seededTag } from './seed.js';

const UNTAGGED = seededRepository(2);
const DEEP = 10_000;

/** One page of a listing after some thousands, to which the tokens of the pages before lead. */
function deepPage(
  name: string,
  list: (stage: Stage, maxResults: number, token?: string) => Promise<string | undefined>,
): Operation {
  let deep: Promise<string | undefined> | undefined;
  const walk = async (stage: Stage): Promise<string | undefined> => {
    let token: string | undefined;
    for (let seen = 0; seen < DEEP; seen += 1000) token = await list(stage, 1000, token);
    return token;
  };
  return {
    name,
    rows: PAGE,
    async prepare(stage) {
      const token = await (deep ??= walk(stage));
      if (token === undefined) throw new Error(`${name}: the listing is too short`);
      return () => list(stage, PAGE, token);
    },
  };
}

function describeImages(repositoryName: string, tagStatus?: 'TAGGED' | 'UNTAGGED') {
  return async ({ registry }: Stage, maxResults: number, nextToken?: string): Promise<string | undefined> => {
    const page: DescribeImagesCommandOutput = await registry.ecr.send(
      new DescribeImagesCommand({
        repositoryName,
        maxResults,
        nextToken,
        filter: tagStatus && { tagStatus },
      }),
    );
    return page.nextToken;
  };
}

function listImages(repositoryName: string, tagStatus?: 'TAGGED' | 'UNTAGGED') {
  return async ({ registry }: Stage, maxResults: number, nextToken?: string): Promise<string | undefined> => {
    const page: ListImagesCommandOutput = await registry.ecr.send(
      new ListImagesCommand({ repositoryName, maxResults, nextToken, filter: tagStatus && { tagStatus } }),
    );
    return page.nextToken;
  };
}

export const READS: Operation[] = [
  plain('GET of a manifest by tag', 1, (stage, n) =>
    oci(stage, 'GET', `/v2/${LARGE}/manifests/${seededTag(50_000 + n)}`),
  ),
  plain('GET of a manifest by digest', 1, (stage, n) =>
    oci(stage, 'GET', `/v2/${LARGE}/manifests/${seededDigest(50_100 + n)}`),
  ),
  plain('HEAD of a manifest by tag', 1, (stage, n) =>
    oci(stage, 'HEAD', `/v2/${LARGE}/manifests/${seededTag(50_000 + n)}`),
  ),
  plain('HEAD of a blob', 1, (stage, n) =>
    oci(stage, 'HEAD', `/v2/${LARGE}/blobs/${seededLayer(stage.size.repositories + 500 + n)}`),
  ),
  {
    name: 'GET of a blob',
    rows: 1,
    async prepare(stage, n) {
      const blob = layer(100, `pulled ${n}`);
      await pushLayer(stage.registry.ecr, LARGE, blob);
      return () => oci(stage, 'GET', `/v2/${LARGE}/blobs/${blob.digest}`);
    },
  },
  plain('BatchCheckLayerAvailability of 100', 100, ({ registry, size }, n) =>
    registry.ecr.send(
      new BatchCheckLayerAvailabilityCommand({
        repositoryName: LARGE,
        layerDigests: Array.from({ length: 100 }, (_, index) =>
          seededLayer(size.repositories + size.largest - 50 + n + index),
        ),
      }),
    ),
  ),
  plain('GetDownloadUrlForLayer', 1, ({ registry, size }, n) =>
    registry.ecr.send(
      new GetDownloadUrlForLayerCommand({
        repositoryName: LARGE,
        layerDigest: seededLayer(size.repositories + 700 + n),
      }),
    ),
  ),
  plain('BatchGetImage of 100', 100, ({ registry }, n) =>
    registry.ecr.send(
      new BatchGetImageCommand({
        repositoryName: LARGE,
        imageIds: Array.from({ length: 100 }, (_, index) =>
          index % 2 === 0
            ? { imageTag: seededTag(60_000 + 2 * n + index) }
            : { imageDigest: seededDigest(60_000 + index) },
        ),
      }),
    ),
  ),
  plain('DescribeImages, first page', PAGE, (stage) => describeImages(LARGE)(stage, PAGE)),
  deepPage('DescribeImages, deep page', describeImages(LARGE)),
  deepPage('DescribeImages of tagged images, deep page', describeImages(LARGE, 'TAGGED')),
  {
    ...plain('DescribeImages of untagged images where all are tagged', 1, (stage) =>
      describeImages(LARGE, 'UNTAGGED')(stage, PAGE),
    ),
    passedOver: ({ largest }) => largest,
  },
  plain('DescribeImages of tagged images where there is none', 1, (stage) =>
    describeImages(UNTAGGED, 'TAGGED')(stage, PAGE),
  ),
  plain('DescribeImages of 100', 100, ({ registry }, n) =>
    registry.ecr.send(
      new DescribeImagesCommand({
        repositoryName: LARGE,
        imageIds: Array.from({ length: 100 }, (_, index) =>
          index % 2 === 0
            ? { imageTag: seededTag(70_000 + n + index) }
            : { imageDigest: seededDigest(70_000 + index) },
        ),
      }),
    ),
  ),
  plain('ListImages, first page', PAGE, (stage) => listImages(LARGE)(stage, PAGE)),
  deepPage('ListImages, deep page', listImages(LARGE)),
  deepPage('ListImages of tagged images, deep page', listImages(LARGE, 'TAGGED')),
  deepPage('ListImages of untagged images, deep page', listImages(UNTAGGED, 'UNTAGGED')),
  {
    ...plain('ListImages of untagged images where all are tagged', 1, (stage) =>
      listImages(LARGE, 'UNTAGGED')(stage, PAGE),
    ),
    passedOver: ({ largest }) => largest,
  },
  plain('ListImages of tagged images where there is none', 1, (stage) =>
    listImages(UNTAGGED, 'TAGGED')(stage, PAGE),
  ),
  plain('tags/list, first page', PAGE, (stage) => oci(stage, 'GET', `/v2/${LARGE}/tags/list?n=${PAGE}`)),
  plain('tags/list, deep page', PAGE, (stage) =>
    oci(stage, 'GET', `/v2/${LARGE}/tags/list?n=${PAGE}&last=${seededTag(50_000)}`),
  ),
  plain('referrers', PAGE, (stage) =>
    oci(stage, 'GET', `/v2/${LARGE}/referrers/${seededDigest(1)}?n=${PAGE}`),
  ),
  plain('referrers of an image without any', 1, (stage, n) =>
    oci(stage, 'GET', `/v2/${LARGE}/referrers/${seededDigest(1000 + n)}`),
  ),
  plain('ListImageReferrers', 50, ({ registry }) =>
    registry.ecr.send(
      new ListImageReferrersCommand({
        repositoryName: LARGE,
        subjectId: { imageDigest: seededDigest(1) },
        maxResults: 50,
      }),
    ),
  ),
  plain('DescribeRepositories, first page', PAGE, ({ registry }) =>
    registry.ecr.send(new DescribeRepositoriesCommand({ maxResults: PAGE })),
  ),
  plain('DescribeRepositories of 100', 100, ({ registry }, n) =>
    registry.ecr.send(
      new DescribeRepositoriesCommand({
        repositoryNames: Array.from({ length: 100 }, (_, index) => seededRepository(1 + n + 2 * index)),
      }),
    ),
  ),
  plain('_catalog, deep page', PAGE, (stage) =>
    oci(stage, 'GET', `/v2/_catalog?n=${PAGE}&last=${seededRepository(5)}`),
  ),
  plain('ListTagsForResource', 1, ({ registry }) =>
    registry.ecr.send(new ListTagsForResourceCommand({ resourceArn: arnOf(LARGE) })),
  ),
];
