import { createHash } from 'node:crypto';

export interface Blob {
  bytes: Buffer;
  /** `sha256:…` */
  digest: string;
  size: number;
}

export interface Manifest extends Blob {
  mediaType: string;
  /** As it is sent: the digest is that of exactly this text. */
  text: string;
}

export const MEDIA_TYPES = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

/** Bytes that look random and are the same for the same seed. */
export function layer(size: number, seed: string | number = 0): Blob {
  return blobOf(randomBytes(size, String(seed)));
}

/** The config of an image; differs by seed. */
export function imageConfig(seed: string | number = 0): Blob {
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: { Labels: { seed: String(seed) } },
    rootfs: { type: 'layers', diff_ids: [] },
  };
  return blobOf(Buffer.from(JSON.stringify(config)));
}

export interface ManifestOptions {
  flavour?: 'oci' | 'docker';
  artifactType?: string;
  subject?: Manifest;
  annotations?: Record<string, string>;
}

export function imageManifest(config: Blob, layers: Blob[], options: ManifestOptions = {}): Manifest {
  const docker = options.flavour === 'docker';
  const mediaType = docker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest;
  return manifestOf(mediaType, {
    schemaVersion: 2,
    mediaType,
    artifactType: options.artifactType,
    config: descriptor(config, docker ? MEDIA_TYPES.dockerConfig : MEDIA_TYPES.ociConfig),
    layers: layers.map((blob) => descriptor(blob, docker ? MEDIA_TYPES.dockerLayer : MEDIA_TYPES.ociLayer)),
    subject: options.subject && descriptor(options.subject, options.subject.mediaType),
    annotations: options.annotations,
  });
}

export function imageIndex(manifests: Manifest[], options: ManifestOptions = {}): Manifest {
  const mediaType = options.flavour === 'docker' ? MEDIA_TYPES.dockerList : MEDIA_TYPES.ociIndex;
  return manifestOf(mediaType, {
    schemaVersion: 2,
    mediaType,
    artifactType: options.artifactType,
    manifests: manifests.map((manifest, index) => ({
      ...descriptor(manifest, manifest.mediaType),
      platform: { os: 'linux', architecture: ['amd64', 'arm64', 'ppc64le', 's390x'][index % 4] },
    })),
    subject: options.subject && descriptor(options.subject, options.subject.mediaType),
    annotations: options.annotations,
  });
}

export function manifestOf(mediaType: string, document: unknown): Manifest {
  const text = JSON.stringify(document, null, 2);
  return { ...blobOf(Buffer.from(text)), mediaType, text };
}

export function blobOf(bytes: Buffer): Blob {
  return { bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`, size: bytes.length };
}

function descriptor({ digest, size }: Blob, mediaType: string) {
  return { mediaType, digest, size };
}

/** SHAKE256 gives any length from any seed, and natively. */
function randomBytes(size: number, seed: string): Buffer {
  return size === 0 ? Buffer.alloc(0) : createHash('shake256', { outputLength: size }).update(seed).digest();
}
