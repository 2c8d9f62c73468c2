import {
  BatchGetImageCommand,
  type ECRClient,
  ECRClient as Client,
  GetDownloadUrlForLayerCommand,
} from '@aws-sdk/client-ecr';
import { setTimeout as sleep } from 'node:timers/promises';
import { slices, streamed } from '../budget/stream.js';
import { type Blob, imageConfig, imageManifest, layer, type Manifest } from '../support/images.js';
import { createRepository, pushLayer, putImage } from '../support/pushes.js';
import type { RegistryClient } from '../support/registry-client.js';

/** As docker's for a layer, and what an SDK is commonly set to: the first one and four more. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 200;
/** Between two pieces of a push that is slow on purpose, so that some request is always under way. */
const SLOW_MS = 60;

interface AcknowledgedImage {
  repository: string;
  tag: string;
  manifest: Manifest;
  blobs: Blob[];
}

export interface Load {
  /** Images whose push was acknowledged, in the order of that. */
  readonly images: readonly AcknowledgedImage[];
  /** Attempts that failed by their connection or by a 5xx, and were made again. */
  readonly retries: number;
  /** Stops after the images under way. @throws the first failure that its client would have seen after its retries */
  stop(): Promise<void>;
  /** Every acknowledged image has its tag, its bytes and its layers. @throws otherwise */
  verify(client: RegistryClient): Promise<void>;
}

/** Clients of both doors that push images and pull them again, until they are stopped. */
export function startLoad(client: RegistryClient): Load {
  const images: AcknowledgedImage[] = [];
  const stopping = new AbortController();
  const oci = new OciClient(client);
  const ecr = new Client({
    endpoint: client.url,
    region: 'us-east-1',
    credentials: client.credentials,
    maxAttempts: ATTEMPTS,
  });
  let sdkRetries = 0;
  ecr.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const { attempts = 1 } = (result.output as { $metadata?: { attempts?: number } }).$metadata ?? {};
      sdkRetries += attempts - 1;
      return result;
    },
    { step: 'initialize', name: 'countRetries' },
  );
  const loop = async (
    name: string,
    round: (repository: string, seed: string) => Promise<Manifest>,
    blobsOf: (seed: string) => Blob[],
  ): Promise<void> => {
    const repository = await createRepository(ecr, { repositoryName: `load/${name}` });
    for (let n = 1; !stopping.signal.aborted; n += 1) {
      const tag = `v${n}`;
      const manifest = await round(repository, tag);
      images.push({ repository, tag, manifest, blobs: blobsOf(`${repository} ${tag}`) });
    }
  };
  const clients = [
    ...['oci-1', 'oci-2'].map((name) =>
      loop(name, (repository, tag) => pushAndPull(oci, repository, tag, smallImage), smallImage),
    ),
    loop('oci-slow', (repository, tag) => pushAndPull(oci, repository, tag, slowImage, SLOW_MS), slowImage),
    ...['ecr-1', 'ecr-2'].map((name) =>
      loop(name, (repository, tag) => pushAndPullByEcr(ecr, oci, repository, tag), ecrImage),
    ),
  ];
  const ended = Promise.allSettled(clients);
  return {
    images,
    get retries() {
      return oci.retries + sdkRetries;
    },
    async stop() {
      stopping.abort();
      const failed = (await ended).find((outcome) => outcome.status === 'rejected');
      ecr.destroy();
      if (failed) throw failed.reason;
    },
    async verify(through) {
      const reader = new OciClient(through);
      for (const { repository, tag, manifest, blobs } of images)
        await expectImage(reader, repository, tag, manifest, blobs);
    },
  };
}

const smallImage = (seed: string): Blob[] => [imageConfig(seed), layer(200_000, seed)];
const slowImage = (seed: string): Blob[] => [imageConfig(seed), layer(1_500_000, seed)];
/** The layer takes two parts of the ECR door, and so a multipart upload of the store. */
const ecrImage = (seed: string): Blob[] => [imageConfig(seed), layer(11_000_000, seed)];

function manifestOf([config, ...layers]: Blob[]): Manifest {
  return imageManifest(config!, layers);
}

async function pushAndPull(
  oci: OciClient,
  repository: string,
  tag: string,
  imageOf: (seed: string) => Blob[],
  pauseMs = 0,
): Promise<Manifest> {
  const blobs = imageOf(`${repository} ${tag}`);
  const manifest = manifestOf(blobs);
  for (const blob of blobs) await oci.pushLayer(repository, blob, pauseMs);
  await oci.send(201, `/v2/${repository}/manifests/${tag}`, () => ({
    method: 'PUT',
    headers: { 'content-type': manifest.mediaType },
    body: manifest.text,
  }));
  await expectImage(oci, repository, tag, manifest, blobs);
  return manifest;
}

async function pushAndPullByEcr(
  ecr: ECRClient,
  oci: OciClient,
  repository: string,
  tag: string,
): Promise<Manifest> {
  const blobs = ecrImage(`${repository} ${tag}`);
  const manifest = manifestOf(blobs);
  for (const blob of blobs) await pushLayer(ecr, repository, blob);
  await putImage(ecr, repository, manifest, tag);
  const { images } = await ecr.send(
    new BatchGetImageCommand({ repositoryName: repository, imageIds: [{ imageTag: tag }] }),
  );
  if (images?.[0]?.imageManifest !== manifest.text) throw new Error(`${repository}:${tag} has other bytes`);
  const { downloadUrl } = await ecr.send(
    new GetDownloadUrlForLayerCommand({ repositoryName: repository, layerDigest: blobs[1]!.digest }),
  );
  await oci.expectBytes(downloadUrl!, blobs[1]!);
  return manifest;
}

async function expectImage(
  oci: OciClient,
  repository: string,
  tag: string,
  manifest: Manifest,
  blobs: Blob[],
): Promise<void> {
  await oci.expectBytes(`/v2/${repository}/manifests/${tag}`, manifest);
  for (const blob of blobs) await oci.expectBytes(`/v2/${repository}/blobs/${blob.digest}`, blob);
}

/** An OCI client that tries again as docker does: whole layers, and every other request by itself. */
class OciClient {
  retries = 0;

  constructor(private readonly client: RegistryClient) {}

  /** One upload from its POST to its PUT; a failure anywhere begins a new one. */
  async pushLayer(repository: string, blob: Blob, pauseMs: number): Promise<void> {
    await this.tried(async () => {
      const begun = await this.fetched(202, `/v2/${repository}/blobs/uploads/`, { method: 'POST' });
      const location = begun.headers.get('location')!;
      const pieces = pauseMs > 0 ? slowly(blob.bytes, pauseMs) : slices(blob.bytes);
      await this.fetched(202, location, { method: 'PATCH', body: streamed(pieces) });
      await this.fetched(201, `${location}?digest=${blob.digest}`, { method: 'PUT' });
    });
  }

  async send(status: number, path: string, init: () => RequestInit): Promise<void> {
    await this.tried(() => this.fetched(status, path, init()));
  }

  async expectBytes(path: string, { bytes }: Blob): Promise<void> {
    await this.tried(async () => {
      const response = await this.answer(path, {});
      if (response.status !== 200) throw await this.failure(response);
      if (!Buffer.from(await response.arrayBuffer()).equals(bytes))
        throw new Error(`${path} has other bytes`);
    });
  }

  private async fetched(status: number, path: string, init: RequestInit): Promise<Response> {
    const response = await this.answer(path, init);
    if (response.status !== status) throw await this.failure(response);
    await response.arrayBuffer();
    return response;
  }

  private async answer(path: string, init: RequestInit): Promise<Response> {
    return this.client.fetchOci(path, init);
  }

  private async failure(response: Response): Promise<Error> {
    const error = new Error(`${response.url} answered ${response.status}: ${await response.text()}`);
    return response.status >= 500 ? Object.assign(error, { retryable: true }) : error;
  }

  /** `fetch` reports every broken connection as a TypeError. */
  private async tried<Result>(work: () => Promise<Result>): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        const again = error instanceof TypeError || (error as { retryable?: boolean }).retryable;
        if (!again || attempt >= ATTEMPTS) throw error;
        this.retries += 1;
        await sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1));
      }
    }
  }
}

async function* slowly(bytes: Buffer, pauseMs: number): AsyncGenerator<Buffer> {
  for (let first = 0; first < bytes.length; first += 100_000) {
    yield bytes.subarray(first, first + 100_000);
    await sleep(pauseMs);
  }
}
