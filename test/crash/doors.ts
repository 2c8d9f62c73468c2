/** The requests of the load, each as its door wants it. All throw Refused, Failed or Unanswered unless they were acknowledged. */
import {
  BatchDeleteImageCommand,
  CompleteLayerUploadCommand,
  CreateRepositoryCommand,
  DeleteRepositoryCommand,
  type ImageIdentifier,
  InitiateLayerUploadCommand,
  PutImageCommand,
  UploadLayerPartCommand,
} from '@aws-sdk/client-ecr';
import type { Blob, Manifest } from '../support/images.js';
import type { RegistryClient } from '../support/registry-client.js';
import { askEcr, askOci, Failed } from './requests.js';

export type Door = 'ecr' | 'oci';

const OCTETS = { 'content-type': 'application/octet-stream' };

export async function createRepository(
  registry: RegistryClient,
  repositoryName: string,
  signal: AbortSignal,
): Promise<void> {
  const command = new CreateRepositoryCommand({ repositoryName });
  await askEcr(registry, (ecr, abortSignal) => ecr.send(command, { abortSignal }), signal);
}

export async function deleteRepository(
  registry: RegistryClient,
  repositoryName: string,
  signal: AbortSignal,
): Promise<void> {
  const command = new DeleteRepositoryCommand({ repositoryName, force: true });
  await askEcr(registry, (ecr, abortSignal) => ecr.send(command, { abortSignal }), signal);
}

/** @returns the id of the upload */
export async function beginUpload(
  door: Door,
  registry: RegistryClient,
  repositoryName: string,
  signal: AbortSignal,
): Promise<string> {
  if (door === 'oci') {
    const path = `/v2/${repositoryName}/blobs/uploads/`;
    const { headers } = await askOci(registry, path, { method: 'POST' }, signal);
    return headers.get('docker-upload-uuid')!;
  }
  const command = new InitiateLayerUploadCommand({ repositoryName });
  const answer = await askEcr(registry, (ecr, abortSignal) => ecr.send(command, { abortSignal }), signal);
  return answer.uploadId!;
}

export interface Piece {
  bytes: Buffer;
  firstByte: number;
  /** Send this instead: the same bytes, as far as they come. */
  body?: ReadableStream;
}

export async function appendPiece(
  door: Door,
  registry: RegistryClient,
  repositoryName: string,
  uploadId: string,
  { bytes, firstByte, body }: Piece,
  signal: AbortSignal,
): Promise<void> {
  const partLastByte = firstByte + bytes.length - 1;
  if (door === 'oci') {
    const path = `/v2/${repositoryName}/blobs/uploads/${uploadId}`;
    const headers = { ...OCTETS, 'content-range': `${firstByte}-${partLastByte}` };
    await askOci(
      registry,
      path,
      { method: 'PATCH', headers, body: body ?? (bytes as Uint8Array<ArrayBuffer>) },
      signal,
    );
    return;
  }
  const command = new UploadLayerPartCommand({
    repositoryName,
    uploadId,
    partFirstByte: firstByte,
    partLastByte,
    layerPartBlob: bytes,
  });
  await askEcr(registry, (ecr, abortSignal) => ecr.send(command, { abortSignal }), signal);
}

/** @param rest bytes that ride on the completing request, at the OCI door only */
export async function completeUpload(
  door: Door,
  registry: RegistryClient,
  repositoryName: string,
  uploadId: string,
  digest: string,
  rest: Piece | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (door === 'oci') {
    const path = `/v2/${repositoryName}/blobs/uploads/${uploadId}?digest=${digest}`;
    const range = rest && `${rest.firstByte}-${rest.firstByte + rest.bytes.length - 1}`;
    const init = rest && {
      headers: { ...OCTETS, 'content-range': range! },
      body: rest.bytes as Uint8Array<ArrayBuffer>,
    };
    await askOci(registry, path, { method: 'PUT', ...init }, signal);
    return;
  }
  const command = new CompleteLayerUploadCommand({ repositoryName, uploadId, layerDigests: [digest] });
  await askEcr(registry, (ecr, abortSignal) => ecr.send(command, { abortSignal }), signal);
}

export async function cancelUpload(
  registry: RegistryClient,
  repository: string,
  uploadId: string,
  signal: AbortSignal,
): Promise<void> {
  await askOci(registry, `/v2/${repository}/blobs/uploads/${uploadId}`, { method: 'DELETE' }, signal);
}

/** A layer in one request. */
export async function postLayer(
  registry: RegistryClient,
  repository: string,
  { digest, bytes }: Blob,
  signal: AbortSignal,
): Promise<void> {
  const path = `/v2/${repository}/blobs/uploads/?digest=${digest}`;
  const body = bytes as Uint8Array<ArrayBuffer>;
  await askOci(registry, path, { method: 'POST', headers: OCTETS, body }, signal);
}

export async function mountLayer(
  registry: RegistryClient,
  from: string,
  to: string,
  digest: string,
  signal: AbortSignal,
): Promise<void> {
  const path = `/v2/${to}/blobs/uploads/?mount=${digest}&from=${from}`;
  const { status } = await askOci(registry, path, { method: 'POST' }, signal);
  if (status !== 201) throw new Failed(`the mount of a layer that is there was answered with ${status}`);
}

export async function deleteLayer(
  registry: RegistryClient,
  repository: string,
  digest: string,
  signal: AbortSignal,
): Promise<void> {
  await askOci(registry, `/v2/${repository}/blobs/${digest}`, { method: 'DELETE' }, signal);
}

export async function putManifest(
  door: Door | 'oci by digest',
  registry: RegistryClient,
  repositoryName: string,
  { text, digest, mediaType }: Manifest,
  imageTag: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (door === 'ecr') {
    const command = new PutImageCommand({
      repositoryName,
      imageManifest: text,
      imageManifestMediaType: mediaType,
      imageTag,
    });
    await askEcr(registry, (ecr, abortSignal) => ecr.send(command, { abortSignal }), signal);
    return;
  }
  const byTag = door === 'oci' && imageTag !== undefined;
  const reference = byTag ? imageTag : digest;
  const query = !byTag && imageTag !== undefined ? `?tag=${imageTag}` : '';
  const init = { method: 'PUT', headers: { 'content-type': mediaType }, body: text };
  await askOci(registry, `/v2/${repositoryName}/manifests/${reference}${query}`, init, signal);
}

export async function deleteManifest(
  registry: RegistryClient,
  repository: string,
  reference: string,
  signal: AbortSignal,
): Promise<void> {
  await askOci(registry, `/v2/${repository}/manifests/${reference}`, { method: 'DELETE' }, signal);
}

export async function batchDelete(
  registry: RegistryClient,
  repositoryName: string,
  imageId: ImageIdentifier,
  signal: AbortSignal,
): Promise<void> {
  const command = new BatchDeleteImageCommand({ repositoryName, imageIds: [imageId] });
  const { failures } = await askEcr(
    registry,
    (ecr, abortSignal) => ecr.send(command, { abortSignal }),
    signal,
  );
  if (failures && failures.length > 0) throw new Failed(`the image was kept: ${failures[0]!.failureCode}`);
}
