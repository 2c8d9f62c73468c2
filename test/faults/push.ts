import { InitiateLayerUploadCommand } from '@aws-sdk/client-ecr';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Blob } from '../support/images.js';
import { MEBIBYTE } from '../support/pushes.js';
import type { RegistryClient } from '../support/registry-client.js';
import { ecrSteps, type Outcome, ociSteps, type Steps } from './outcome.js';

export const DOORS = ['ECR', 'OCI'] as const;
export type Door = (typeof DOORS)[number];

/** How often a patient client repeats one step, and its pause between. */
const PATIENCE = 60;
const PAUSE_MS = 100;

export function stepsAt(door: Door, registry: RegistryClient, repository: string): Steps {
  if (door === 'OCI') return ociSteps(registry, repository);
  return ecrSteps(registry.ecr, repository, async () => {
    const { uploadId } = await registry.ecr.send(
      new InitiateLayerUploadCommand({ repositoryName: repository }),
    );
    return uploadId!;
  });
}

/** Bytes acknowledged, as the registry tells everybody who asks; null while it cannot tell. */
export async function acknowledged(
  registry: RegistryClient,
  repository: string,
  upload: string,
): Promise<number | null> {
  const response = await registry.fetchOci(`/v2/${repository}/blobs/uploads/${upload}`);
  await response.arrayBuffer();
  if (response.status === 503) return null;
  if (response.status !== 204) throw new Error(`The upload answered ${response.status}`);
  const last = Number(response.headers.get('range')?.split('-')[1]);
  return last === 0 ? 0 : last + 1;
}

/** Repeats a step as a patient client does. @returns how often it was refused for now */
export async function untilDone(step: () => Promise<Outcome>): Promise<number> {
  for (let refusals = 0; ; refusals += 1) {
    if ((await step()) === 'done') return refusals;
    if (refusals >= PATIENCE) throw new Error(`Refused ${refusals} times in a row`);
    await sleep(PAUSE_MS);
  }
}

/**
 * Pushes a layer in pieces and repeats what is refused for now: at the ECR door the same request again, at the OCI door from
 * the byte the registry says it has. An offset that goes back, or is none of the pieces' borders, fails the test.
 * @returns how many refusals it took
 */
export async function pushPatiently(
  door: Door,
  registry: RegistryClient,
  repository: string,
  blob: Blob,
  pieceBytes = 6 * MEBIBYTE,
): Promise<number> {
  const steps = stepsAt(door, registry, repository);
  let refusals = 0;
  const patiently = async (step: () => Promise<Outcome>): Promise<void> => {
    refusals += await untilDone(step);
  };
  await patiently(() => steps.begin());
  for (let first = 0; first < blob.size;) {
    const piece = blob.bytes.subarray(first, first + pieceBytes);
    await patiently(async () => {
      if (door === 'OCI') {
        const has = await acknowledged(registry, repository, steps.upload);
        if (has === null) return 'retry later';
        if (has === first + piece.length) return 'done'; // done by a request whose answer was lost
        if (has !== first) throw new Error(`${has} bytes acknowledged where ${first} had been`);
      }
      return steps.append(piece, first);
    });
    first += piece.length;
  }
  await patiently(() => steps.complete(blob.digest));
  return refusals;
}

export async function pulled(registry: RegistryClient, repository: string, blob: Blob): Promise<Buffer> {
  const response = await registry.fetchOci(`/v2/${repository}/blobs/${blob.digest}`);
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  return Buffer.from(await response.arrayBuffer());
}
