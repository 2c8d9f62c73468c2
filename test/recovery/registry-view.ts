import {
  DescribeImagesCommand,
  DescribeRepositoriesCommand,
  type ECRClient,
  GetAuthorizationTokenCommand,
  ListImageReferrersCommand,
  ListImagesCommand,
  ListTagsForResourceCommand,
} from '@aws-sdk/client-ecr';
import { createHash } from 'node:crypto';
import { MEDIA_TYPES } from '../support/images.js';
import type { RegistryClient } from '../support/registry-client.js';

const ANY_MANIFEST = [
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.dockerManifest,
  MEDIA_TYPES.dockerList,
].join(', ');

interface Descriptor {
  digest: string;
}

interface Document {
  config?: Descriptor;
  layers?: Descriptor[];
}

/**
 * Everything a client can learn at either door about one Region of a registry, every layer's bytes included. When an image was
 * last pulled is left out, since looking changes it.
 */
export async function viewOf(registry: RegistryClient, region = 'us-east-1'): Promise<unknown> {
  const ecr = registry.ecrWith({ region });
  const oci = await ociDoor(registry, ecr);
  try {
    const { repositories = [] } = await ecr.send(new DescribeRepositoriesCommand({ maxResults: 1000 }));
    const seen = [];
    for (const repository of repositories) {
      const name = repository.repositoryName!;
      const tags = await ecr.send(new ListTagsForResourceCommand({ resourceArn: repository.repositoryArn }));
      const images = await ecr.send(new DescribeImagesCommand({ repositoryName: name, maxResults: 1000 }));
      const ids = await ecr.send(new ListImagesCommand({ repositoryName: name, maxResults: 1000 }));
      const details = (images.imageDetails ?? []).map(({ lastRecordedPullTime, ...detail }) => detail);
      const manifests = [];
      for (const { imageDigest, imageTags = [] } of details)
        for (const reference of [imageDigest!, ...imageTags])
          manifests.push(await manifestAt(oci, name, reference));
      const digests = [...new Set(manifests.flatMap(({ layers }) => layers))];
      const layers: Record<string, unknown> = {};
      for (const digest of digests) layers[digest] = await layerAt(oci, name, digest);
      const referrers: Record<string, unknown> = {};
      for (const { imageDigest } of details)
        referrers[imageDigest!] = await referrersOf(ecr, oci, name, imageDigest!);
      seen.push({
        repository: { ...repository, repositoryUri: undefined },
        resourceTags: tags.tags,
        images: details,
        imageIds: ids.imageIds,
        tagsList: await (await oci(`/v2/${name}/tags/list`)).json(),
        manifests,
        layers,
        referrers,
      });
    }
    return { catalog: await (await oci('/v2/_catalog?n=1000')).json(), repositories: seen };
  } finally {
    ecr.destroy();
  }
}

type Oci = (path: string, headers?: Record<string, string>) => Promise<Response>;

async function ociDoor(registry: RegistryClient, ecr: ECRClient): Promise<Oci> {
  const { authorizationData } = await ecr.send(new GetAuthorizationTokenCommand({}));
  const authorization = `Basic ${authorizationData![0]!.authorizationToken}`;
  return (path, headers = {}) => registry.fetchOci(path, { headers: { authorization, ...headers } });
}

async function manifestAt(oci: Oci, name: string, reference: string) {
  const response = await oci(`/v2/${name}/manifests/${reference}`, { accept: ANY_MANIFEST });
  const text = await response.text();
  const document = (response.ok ? JSON.parse(text) : {}) as Document;
  return {
    reference,
    status: response.status,
    mediaType: response.headers.get('content-type'),
    digest: response.headers.get('docker-content-digest'),
    text,
    layers: [document.config, ...(document.layers ?? [])].flatMap((one) => one?.digest ?? []),
  };
}

async function layerAt(oci: Oci, name: string, digest: string) {
  const response = await oci(`/v2/${name}/blobs/${digest}`);
  const bytes = Buffer.from(await response.arrayBuffer());
  const [algorithm, hex] = digest.split(':') as [string, string];
  return {
    status: response.status,
    size: bytes.length,
    isRight: createHash(algorithm).update(bytes).digest('hex') === hex,
  };
}

async function referrersOf(ecr: ECRClient, oci: Oci, repositoryName: string, digest: string) {
  const { referrers } = await ecr.send(
    new ListImageReferrersCommand({ repositoryName, subjectId: { imageDigest: digest } }),
  );
  return { ecr: referrers, oci: await (await oci(`/v2/${repositoryName}/referrers/${digest}`)).json() };
}
