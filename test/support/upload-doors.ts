import {
  CompleteLayerUploadCommand,
  InitiateLayerUploadCommand,
  UploadLayerPartCommand,
} from '@aws-sdk/client-ecr';
import { type Blob } from './images.js';
import { MEBIBYTE } from './pushes.js';
import type { RegistryClient } from './registry-client.js';

/** One way to push a layer in pieces. Every call rejects unless the registry accepted it. */
export interface UploadDoor {
  begin(registry: RegistryClient, repository: string): Promise<string>;
  append(
    registry: RegistryClient,
    repository: string,
    upload: string,
    bytes: Buffer,
    firstByte: number,
  ): Promise<void>;
  complete(registry: RegistryClient, repository: string, upload: string, digest: string): Promise<void>;
}

const ecr: UploadDoor = {
  async begin(registry, repositoryName) {
    return (await registry.ecr.send(new InitiateLayerUploadCommand({ repositoryName }))).uploadId!;
  },
  async append(registry, repositoryName, uploadId, bytes, firstByte) {
    const last = firstByte + bytes.length - 1;
    const { lastByteReceived } = await registry.ecr.send(
      new UploadLayerPartCommand({
        repositoryName,
        uploadId,
        partFirstByte: firstByte,
        partLastByte: last,
        layerPartBlob: bytes,
      }),
    );
    if (lastByteReceived !== last)
      throw new Error(`Byte ${lastByteReceived} acknowledged instead of ${last}`);
  },
  async complete(registry, repositoryName, uploadId, digest) {
    await registry.ecr.send(
      new CompleteLayerUploadCommand({ repositoryName, uploadId, layerDigests: [digest] }),
    );
  },
};

const oci: UploadDoor = {
  async begin(registry, repository) {
    const response = await expectStatus(
      registry.fetchOci(`/v2/${repository}/blobs/uploads/`, { method: 'POST' }),
      202,
    );
    return response.headers.get('docker-upload-uuid')!;
  },
  async append(registry, repository, upload, bytes, firstByte) {
    const last = firstByte + bytes.length - 1;
    const response = await expectStatus(
      registry.fetchOci(`/v2/${repository}/blobs/uploads/${upload}`, {
        method: 'PATCH',
        headers: { 'content-range': `${firstByte}-${last}`, 'content-type': 'application/octet-stream' },
        body: new Uint8Array(bytes),
      }),
      202,
    );
    const range = response.headers.get('range');
    if (range !== `0-${last}`) throw new Error(`Bytes ${range} acknowledged instead of 0-${last}`);
  },
  async complete(registry, repository, upload, digest) {
    const response = await expectStatus(
      registry.fetchOci(`/v2/${repository}/blobs/uploads/${upload}?digest=${digest}`, { method: 'PUT' }),
      201,
    );
    if (response.headers.get('docker-content-digest') !== digest)
      throw new Error('Another digest was stored');
  },
};

/** Begins at one door, goes on at the other with every piece, and ends at the OCI door, which has no least part size. */
function mixed(): UploadDoor {
  let turn = 0;
  const next = (): UploadDoor => ((turn += 1) % 2 === 0 ? ecr : oci);
  return {
    begin: (...call) => next().begin(...call),
    append: (...call) => next().append(...call),
    complete: (...call) => oci.complete(...call),
  };
}

export const UPLOAD_DOORS: Readonly<Record<string, () => UploadDoor>> = {
  'the ECR door': () => ecr,
  'the OCI door': () => oci,
  'both doors by turns': mixed,
};

/** Whether ECR's own rules allow these pieces: none but the last may have less than 5 MiB. */
export function areEcrParts(sizes: number[]): boolean {
  return sizes.slice(0, -1).every((size) => size >= 5 * MEBIBYTE);
}

/** Bytes of a layer as the registry serves them, wherever it keeps them. */
export async function pull(registry: RegistryClient, repository: string, blob: Blob): Promise<Buffer> {
  const response = await expectStatus(registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`), 200);
  return Buffer.from(await response.arrayBuffer());
}

async function expectStatus(sent: Promise<Response>, status: number): Promise<Response> {
  const response = await sent;
  if (response.status !== status) throw new Error(`${response.status}: ${await response.text()}`);
  return response;
}
