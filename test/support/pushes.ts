import {
  CompleteLayerUploadCommand,
  type CompleteLayerUploadCommandOutput,
  CreateRepositoryCommand,
  type CreateRepositoryRequest,
  type ECRClient,
  InitiateLayerUploadCommand,
  LayerAlreadyExistsException,
  PutImageCommand,
  UploadLayerPartCommand,
  type UploadLayerPartCommandOutput,
} from '@aws-sdk/client-ecr';
import { randomUUID } from 'node:crypto';
import {
  type Blob,
  imageConfig,
  imageManifest,
  layer,
  type Manifest,
  type ManifestOptions,
} from './images.js';

export const MEBIBYTE = 1024 * 1024;

/** A repository of the test's own. @returns its name */
export async function createRepository(
  ecr: ECRClient,
  input: Partial<CreateRepositoryRequest> = {},
): Promise<string> {
  const repositoryName = input.repositoryName ?? `team/app-${randomUUID().slice(0, 8)}`;
  await ecr.send(new CreateRepositoryCommand({ ...input, repositoryName }));
  return repositoryName;
}

/** One upload session at the ECR door. */
export interface LayerUpload {
  id: string;
  /** As the service asks for them. Bytes. */
  partSize: number;
  /** Sends one part. `lastByte` is that of the bytes, unless the test wants another. */
  part(bytes: Uint8Array, firstByte: number, lastByte?: number): Promise<UploadLayerPartCommandOutput>;
  complete(...layerDigests: string[]): Promise<CompleteLayerUploadCommandOutput>;
}

export async function beginUpload(ecr: ECRClient, repositoryName: string): Promise<LayerUpload> {
  const { uploadId, partSize } = await ecr.send(new InitiateLayerUploadCommand({ repositoryName }));
  return { ...uploadOf(ecr, repositoryName, uploadId!), partSize: partSize! };
}

/** A session that is known by its id. */
export function uploadOf(
  ecr: ECRClient,
  repositoryName: string,
  uploadId: string,
): Omit<LayerUpload, 'partSize'> {
  return {
    id: uploadId,
    part: (bytes, partFirstByte, partLastByte = partFirstByte + bytes.length - 1) =>
      ecr.send(
        new UploadLayerPartCommand({
          repositoryName,
          uploadId,
          partFirstByte,
          partLastByte,
          layerPartBlob: bytes,
        }),
      ),
    complete: (...layerDigests) =>
      ecr.send(new CompleteLayerUploadCommand({ repositoryName, uploadId, layerDigests })),
  };
}

/** A whole layer through the ECR door, as AWS's own client sends it. One that is there already is fine. */
export async function pushLayer(ecr: ECRClient, repositoryName: string, blob: Blob): Promise<void> {
  const upload = await beginUpload(ecr, repositoryName);
  for (let first = 0; first < blob.size; first += upload.partSize)
    await upload.part(blob.bytes.subarray(first, first + upload.partSize), first);
  await upload.complete(blob.digest).catch((error: unknown) => {
    if (!(error instanceof LayerAlreadyExistsException)) throw error;
  });
}

export async function putImage(
  ecr: ECRClient,
  repositoryName: string,
  manifest: Manifest,
  imageTag?: string,
): Promise<void> {
  await ecr.send(new PutImageCommand({ repositoryName, imageManifest: manifest.text, imageTag }));
}

export interface PushedImage {
  manifest: Manifest;
  config: Blob;
  layers: Blob[];
}

/** An image of one small layer, complete with its layers; another one for every seed. */
export async function pushImage(
  ecr: ECRClient,
  repositoryName: string,
  seed: string,
  tags: string[] = [],
  options: ManifestOptions = {},
): Promise<PushedImage> {
  const image = await pushLayersOfImage(ecr, repositoryName, seed, options);
  if (tags.length === 0) await putImage(ecr, repositoryName, image.manifest);
  for (const tag of tags) await putImage(ecr, repositoryName, image.manifest, tag);
  return image;
}

/** Everything of an image but the image. */
export async function pushLayersOfImage(
  ecr: ECRClient,
  repositoryName: string,
  seed: string,
  options: ManifestOptions = {},
): Promise<PushedImage> {
  const config = imageConfig(seed);
  const layers = [layer(1_000, seed)];
  for (const blob of [config, ...layers]) await pushLayer(ecr, repositoryName, blob);
  return { manifest: imageManifest(config, layers, options), config, layers };
}
