import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from '@jest/globals';
import {
  type Blob,
  blobOf,
  imageConfig,
  imageIndex,
  imageManifest,
  layer,
  type Manifest,
  type ManifestOptions,
  MEDIA_TYPES,
} from '../support/images.js';
import { MEBIBYTE } from '../support/pushes.js';
import type { RegistryClient } from '../support/registry-client.js';

/** What one reference of a registry stands for: the manifest it names, and all that belongs to it. */
export interface Content {
  top: Manifest;
  /** Manifests below an index. */
  children: Manifest[];
  /** Configs and layers. */
  blobs: Blob[];
}

/** An image of three layers, of which one is longer than a part of a multipart upload may be short. */
export function multiLayerImage(seed: string, options: ManifestOptions = {}): Content {
  // Compressed, or clients that look inside would compress them on the way.
  const layers = [12 * MEBIBYTE, MEBIBYTE, 1000].map((size, index) => compressed(size, `${seed}-${index}`));
  const config = imageConfig(seed);
  return { top: imageManifest(config, layers, options), children: [], blobs: [config, ...layers] };
}

/** An index of two images, which share a layer. */
export function multiArchImage(seed: string): Content {
  const shared = compressed(6 * MEBIBYTE, `${seed}-shared`);
  const images = ['amd64', 'arm64'].map((architecture) => {
    const config = imageConfig(`${seed}-${architecture}`);
    const own = compressed(MEBIBYTE, `${seed}-${architecture}`);
    return { manifest: imageManifest(config, [shared, own]), blobs: [config, own] };
  });
  const children = images.map(({ manifest }) => manifest);
  return { top: imageIndex(children), children, blobs: [shared, ...images.flatMap(({ blobs }) => blobs)] };
}

/** @returns the folder: an OCI image layout that holds the content under the one tag or, without a tag, *is* the index */
export async function writeLayout(folder: string, content: Content, tag?: string): Promise<string> {
  const blobs = join(folder, 'blobs/sha256');
  await mkdir(blobs, { recursive: true });
  for (const { digest, bytes } of [content.top, ...content.children, ...content.blobs])
    await writeFile(join(blobs, digest.replace('sha256:', '')), bytes);
  const { mediaType, digest, size } = content.top;
  const annotations = { 'org.opencontainers.image.ref.name': tag };
  const index = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [{ mediaType, digest, size, annotations }],
  };
  await writeFile(join(folder, 'index.json'), tag === undefined ? content.top.text : JSON.stringify(index));
  await writeFile(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return folder;
}

/** Everything of the content came back into a folder, byte by byte, whatever the folder's form. */
export async function expectInFolder(folder: string, content: Content): Promise<void> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const found = new Set<string>();
  for (const entry of names) {
    if (entry.isFile()) found.add(blobOf(await readFile(join(entry.parentPath, entry.name))).digest);
  }
  for (const { digest } of [content.top, ...content.children, ...content.blobs])
    expect(found).toContain(digest);
}

/** Everything of the content is in the repository, byte by byte, the top one under the tag. */
export async function expectInRegistry(
  registry: RegistryClient,
  repository: string,
  tag: string,
  content: Content,
): Promise<void> {
  const accept = Object.values(MEDIA_TYPES).join(', ');
  for (const [reference, manifest] of [
    [tag, content.top] as const,
    ...content.children.map((child) => [child.digest, child] as const),
  ]) {
    const response = await registry.fetchOci(`/v2/${repository}/manifests/${reference}`, {
      headers: { accept },
    });
    expect([reference, response.status, await response.text()]).toEqual([reference, 200, manifest.text]);
    expect(response.headers.get('docker-content-digest')).toBe(manifest.digest);
    expect(response.headers.get('content-type')).toBe(manifest.mediaType);
  }
  for (const { digest } of content.blobs) {
    const response = await registry.fetchOci(`/v2/${repository}/blobs/${digest}`);
    expect(response.status).toBe(200);
    expect(blobOf(Buffer.from(await response.arrayBuffer())).digest).toBe(digest);
  }
}

function compressed(size: number, seed: string): Blob {
  return blobOf(gzipSync(layer(size, seed).bytes, { level: 1 }));
}
