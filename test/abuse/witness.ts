import { expect } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { BatchGetImageCommand } from '@aws-sdk/client-ecr';
import { imageConfig, imageManifest, layer } from '../support/images.js';
import { createRepository, MEBIBYTE, pushLayer, putImage } from '../support/pushes.js';
import type { RegistryClient } from '../support/registry-client.js';
import { pull } from '../support/upload-doors.js';
import { slices, streamed } from '../budget/stream.js';

/** What an attack may cost the service over what it holds when it has nothing to do. Bytes. */
export const MOST_GROWTH = 256 * MEBIBYTE;

/**
 * What honest clients do while others misbehave, at both doors: a layer in two parts by UploadLayerPart, one streamed by
 * PATCH, an image of both, and all of it pulled again, byte for byte. Nothing is tried twice.
 */
export async function pushAndPull(registry: RegistryClient, seed: string): Promise<void> {
  const repository = await createRepository(registry.ecr);
  const config = imageConfig(seed);
  const inParts = layer(12 * MEBIBYTE, `${seed} in parts`);
  const streamedLayer = layer(7 * MEBIBYTE, `${seed} streamed`);
  await pushLayer(registry.ecr, repository, config);
  await pushLayer(registry.ecr, repository, inParts);
  const begun = await registry.fetchOci(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  const location = begun.headers.get('location')!;
  const patched = await registry.fetchOci(location, {
    method: 'PATCH',
    body: streamed(slices(streamedLayer.bytes)),
  });
  expect(patched.status).toBe(202);
  const put = await registry.fetchOci(`${location}?digest=${streamedLayer.digest}`, { method: 'PUT' });
  expect(put.status).toBe(201);
  const manifest = imageManifest(config, [inParts, streamedLayer]);
  await putImage(registry.ecr, repository, manifest, 'latest');

  const pulled = await registry.fetchOci(`/v2/${repository}/manifests/latest`);
  expect([pulled.status, await pulled.text()]).toEqual([200, manifest.text]);
  for (const blob of [config, inParts, streamedLayer])
    expect((await pull(registry, repository, blob)).equals(blob.bytes)).toBe(true);
  const { images } = await registry.ecr.send(
    new BatchGetImageCommand({ repositoryName: repository, imageIds: [{ imageTag: 'latest' }] }),
  );
  expect(images?.[0]?.imageManifest).toBe(manifest.text);
}

/** Resident memory of a process, now (VmRSS) or at its highest (VmHWM). Bytes. */
export function memory(pid: number, what: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${what}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
}

export function expectBounded(pid: number, before: number, what: string): void {
  const growth = memory(pid, 'VmHWM') - before;
  process.stdout.write(
    `Memory, ${what}: ${(before / MEBIBYTE).toFixed(0)} MiB before, at most ${(growth / MEBIBYTE).toFixed(0)} MiB more\n`,
  );
  expect(growth).toBeLessThanOrEqual(MOST_GROWTH);
}
