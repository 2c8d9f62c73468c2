import type { QuotaName } from '../../src/registry/quotas/quotas.js';
import { imageManifest, layer, type Manifest } from './images.js';
import { beginUpload, createRepository, pushLayer, pushLayersOfImage, putImage } from './pushes.js';
import type { TestRegistry } from './registry.js';

export interface Place {
  registry: TestRegistry;
  repository: string;
}

/** How to reach one quota and how to go one step beyond it, given an empty repository that is alone in its registry. */
export interface QuotaProbe {
  limit: number;
  /** Uses all the quota allows. */
  useUp(place: Place): Promise<unknown>;
  /** One more, at the ECR door. */
  exceed(place: Place): Promise<unknown>;
  /** One more at the OCI door, where that door has such a thing. */
  exceedAtOci?(place: Place): Promise<Response>;
  refusal(place: Place, limit: number): string;
}

const ACCOUNT = '000000000000';
const inRepository = (name: string): string =>
  `The repository with name '${name}' in registry with id '${ACCOUNT}'`;

/** Pushes layers of these sizes; no two are the same. */
async function push({ registry, repository }: Place, ...sizes: number[]): Promise<void> {
  for (const [index, size] of sizes.entries())
    await pushLayer(registry.ecr, repository, layer(size, `${repository} ${index}`));
}

function pushAtOci({ registry, repository }: Place, size: number): Promise<Response> {
  const { digest, bytes } = layer(size, 'oci');
  return registry.fetchOci(`/v2/${repository}/blobs/uploads/?digest=${digest}`, {
    method: 'POST',
    body: new Uint8Array(bytes),
  });
}

async function images(place: Place, notes: string[], layers = 1): Promise<Manifest[]> {
  const { config } = await pushLayersOfImage(place.registry.ecr, place.repository, 'quota');
  const blobs = Array.from({ length: layers }, (_, index) => layer(10, index));
  for (const blob of blobs) await pushLayer(place.registry.ecr, place.repository, blob);
  return notes.map((note) => imageManifest(config, blobs, { annotations: { note } }));
}

async function put(place: Place, manifest: Manifest, ...tags: string[]): Promise<void> {
  for (const tag of tags.length > 0 ? tags : [undefined])
    await putImage(place.registry.ecr, place.repository, manifest, tag);
}

async function putAtOci(
  place: Place,
  manifest: Manifest,
  reference: string = manifest.digest,
): Promise<Response> {
  return place.registry.fetchOci(`/v2/${place.repository}/manifests/${reference}`, {
    method: 'PUT',
    headers: { 'content-type': manifest.mediaType },
    body: manifest.text,
  });
}

/** One upload of parts of these sizes, not completed. */
async function upload({ registry, repository }: Place, ...sizes: number[]): Promise<void> {
  const session = await beginUpload(registry.ecr, repository);
  let first = 0;
  for (const size of sizes) {
    await session.part(layer(size, first).bytes, first);
    first += size;
  }
}

export const QUOTA_PROBES: Readonly<Record<QuotaName, QuotaProbe>> = {
  repositoriesPerRegistry: {
    limit: 2,
    useUp: ({ registry }) => createRepository(registry.ecr),
    exceed: ({ registry }) => createRepository(registry.ecr),
    refusal: (_, limit) =>
      `The registry with id '${ACCOUNT}' already has the maximum allowed number of repositories which is '${limit}'`,
  },
  imagesPerRepository: {
    limit: 2,
    useUp: async (place) => {
      for (const image of await images(place, ['1', '2'])) await put(place, image);
    },
    exceed: async (place) => put(place, (await images(place, ['3']))[0]!, 'tag'),
    exceedAtOci: async (place) => putAtOci(place, (await images(place, ['4']))[0]!),
    refusal: ({ repository }, limit) =>
      `${inRepository(repository)} already has the maximum allowed number of images which is '${limit}'`,
  },
  tagsPerImage: {
    limit: 2,
    useUp: async (place) => put(place, (await images(place, ['1']))[0]!, 'a', 'b'),
    exceed: async (place) => put(place, (await images(place, ['1']))[0]!, 'c'),
    exceedAtOci: async (place) => putAtOci(place, (await images(place, ['1']))[0]!, 'c'),
    refusal: ({ repository }, limit) =>
      `Adding tag 'c' to an image in the repository with name '${repository}' in registry with id '${ACCOUNT}' exceeds the maximum allowed number of tags per image which is '${limit}'`,
  },
  layersPerImage: {
    limit: 2,
    useUp: async (place) => put(place, (await images(place, ['1'], 2))[0]!),
    exceed: async (place) => put(place, (await images(place, ['1'], 3))[0]!),
    exceedAtOci: async (place) => putAtOci(place, (await images(place, ['2'], 3))[0]!),
    refusal: () => 'Limit on number of layers per image exceeded',
  },
  layerBytes: {
    limit: 4_000,
    useUp: async (place) => {
      const { status } = await pushAtOci(place, 4_000);
      if (status !== 201) throw new Error(`A layer of 4000 bytes was answered ${status}`);
    },
    exceed: (place) => upload(place, 2_000, 2_000, 1),
    exceedAtOci: (place) => pushAtOci(place, 4_001),
    refusal: () => 'The layer exceeds the maximum allowed layer size',
  },
  partsPerLayer: {
    limit: 3,
    useUp: (place) => upload(place, 10, 10, 10),
    exceed: (place) => upload(place, 10, 10, 10, 10),
    refusal: (_, limit) =>
      `The upload already has the maximum allowed number of layer parts which is '${limit}'`,
  },
  partBytes: {
    limit: 2_000,
    useUp: (place) => upload(place, 2_000),
    exceed: (place) => upload(place, 2_001),
    refusal: (_, limit) => `The layer part exceeds the maximum allowed size of ${limit} bytes`,
  },
  openUploadsPerRepository: {
    limit: 2,
    useUp: async (place) => {
      for (const _ of [1, 2]) await upload(place);
    },
    exceed: (place) => upload(place),
    exceedAtOci: (place) => pushAtOci(place, 10),
    refusal: ({ repository }, limit) =>
      `${inRepository(repository)} already has the maximum allowed number of open uploads which is '${limit}'`,
  },
  repositoryBytes: {
    limit: 5_000,
    useUp: (place) => push(place, 2_000, 2_000, 1_000),
    exceed: ({ registry, repository }) => pushLayer(registry.ecr, repository, layer(1, 'ecr')),
    exceedAtOci: (place) => pushAtOci(place, 1),
    refusal: (_, limit) => `The layer does not fit into the repository, which may store '${limit}' bytes`,
  },
  registryBytes: {
    limit: 7_000,
    useUp: async (place) => {
      await push(place, 2_000, 1_500);
      await push({ ...place, repository: await createRepository(place.registry.ecr) }, 2_000, 1_500);
    },
    exceed: ({ registry, repository }) => pushLayer(registry.ecr, repository, layer(1, 'ecr')),
    exceedAtOci: (place) => pushAtOci(place, 1),
    refusal: (_, limit) => `The layer does not fit into the registry, which may store '${limit}' bytes`,
  },
};

export const QUOTA_NAMES = Object.keys(QUOTA_PROBES) as QuotaName[];
