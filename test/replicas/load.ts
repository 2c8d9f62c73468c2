import {
  BatchGetImageCommand,
  type ECRClient,
  ECRClient as Client,
  GetDownloadUrlForLayerCommand,
  ImageAlreadyExistsException,
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

interface PushedImage {
  repository: string;
  tag: string;
  manifest: Manifest;
  blobs: Blob[];
}

export interface Load {
  /** Images whose push was acknowledged, in the order of that. */
  readonly images: readonly PushedImage[];
  /** Attempts that failed by their connection or by a 5xx, and were made again. */
  readonly retries: number;
  /** Stops after the images under way. @throws the first failure that its client would have seen after its retries */
  stop(): Promise<void>;
  /** Every acknowledged image has its tag, its bytes and its layers. @throws otherwise */
  verify(client: RegistryClient): Promise<void>;
}

/** Clients of both doors that push images and pull them again, until they are stopped. */
export function startLoad(client: RegistryClient): Load {
  const images: PushedImage[] = [];
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
    imageOf: (seed: string) => Blob[],
    round: (image: PushedImage) => Promise<void>,
  ): Promise<void> => {
    const repository = await createRepository(ecr, { repositoryName: `load/${name}` });
    for (let n = 1; !stopping.signal.aborted; n += 1) {
      const [config, ...layers] = imageOf(`${repository} ${n}`);
      const manifest = imageManifest(config!, layers);
      const image = { repository, tag: `v${n}`, manifest, blobs: [config!, ...layers] };
      await round(image);
      images.push(image);
    }
  };
  const clients = [
    loop('oci', smallImage, (image) => pushAndPull(oci, image)),
    loop('oci-slow', slowImage, (image) => pushAndPull(oci, image, SLOW_MS)),
    loop('ecr', smallImage, (image) => pushAndPullByEcr(ecr, oci, image)),
    loop('ecr-parts', largeImage, (image) => pushAndPullByEcr(ecr, oci, image)),
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
      for (const image of images) await expectImage(reader, image);
    },
  };
}

const smallImage = (seed: string): Blob[] => [imageConfig(seed), layer(200_000, seed)];
const slowImage = (seed: string): Blob[] => [imageConfig(seed), layer(1_500_000, seed)];
/** The layer takes two parts of the ECR door, and so a multipart upload of the store. */
const largeImage = (seed: string): Blob[] => [imageConfig(seed), layer(11_000_000, seed)];

async function pushAndPull(oci: OciClient, image: PushedImage, pauseMs = 0): Promise<void> {
  const { repository, tag, manifest, blobs } = image;
  for (const blob of blobs) await oci.pushLayer(repository, blob, pauseMs);
  await oci.putManifest(repository, tag, manifest);
  await expectImage(oci, image);
}

async function pushAndPullByEcr(ecr: ECRClient, oci: OciClient, image: PushedImage): Promise<void> {
  const { repository: repositoryName, tag, manifest, blobs } = image;
  for (const blob of blobs) await pushLayer(ecr, repositoryName, blob);
  await putImage(ecr, repositoryName, manifest, tag).catch((error: unknown) => {
    // What a client is told that sent it again because the first answer did not reach it.
    if (!(error instanceof ImageAlreadyExistsException)) throw error;
  });
  const { images } = await ecr.send(
    new BatchGetImageCommand({ repositoryName, imageIds: [{ imageTag: tag }] }),
  );
  if (images?.[0]?.imageManifest !== manifest.text)
    throw new Error(`${repositoryName}:${tag} has other bytes`);
  for (const blob of blobs) {
    const { downloadUrl } = await ecr.send(
      new GetDownloadUrlForLayerCommand({ repositoryName, layerDigest: blob.digest }),
    );
    await oci.expectBytes(downloadUrl!, blob);
  }
}

async function expectImage(oci: OciClient, { repository, tag, manifest, blobs }: PushedImage): Promise<void> {
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

  async putManifest(repository: string, tag: string, { mediaType, text }: Manifest): Promise<void> {
    const init = { method: 'PUT', headers: { 'content-type': mediaType }, body: text };
    await this.tried(() => this.fetched(201, `/v2/${repository}/manifests/${tag}`, init));
  }

  async expectBytes(path: string, { bytes }: Blob): Promise<void> {
    await this.tried(async () => {
      const response = await this.client.fetchOci(path);
      if (response.status !== 200) throw await this.failure(response);
      if (!Buffer.from(await response.arrayBuffer()).equals(bytes))
        throw new Error(`${path} has other bytes`);
    });
  }

  private async fetched(status: number, path: string, init: RequestInit): Promise<Response> {
    const response = await this.client.fetchOci(path, init);
    if (response.status !== status) throw await this.failure(response);
    await response.arrayBuffer();
    return response;
  }

  private async failure(response: Response): Promise<Error> {
    const error = new Error(`${response.url} answered ${response.status}: ${await response.text()}`);
    return response.status >= 500 ? Object.assign(error, { retryable: true }) : error;
  }

  /** `fetch` reports every broken connection as a TypeError, of its own realm. */
  private async tried<Result>(work: () => Promise<Result>): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        const again =
          (error as Error).name === 'TypeError' || (error as { retryable?: boolean }).retryable === true;
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
