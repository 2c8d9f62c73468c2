/** Media types of manifests the registry stores. Everything else is refused: its references could not be checked. */
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';

export type ManifestMediaType =
  typeof DOCKER_MANIFEST | typeof DOCKER_LIST | typeof OCI_MANIFEST | typeof OCI_INDEX;

export function isManifestMediaType(text: string): text is ManifestMediaType {
  return text === DOCKER_MANIFEST || text === DOCKER_LIST || text === OCI_MANIFEST || text === OCI_INDEX;
}

export function isIndex(mediaType: ManifestMediaType): boolean {
  return mediaType === DOCKER_LIST || mediaType === OCI_INDEX;
}

const FOREIGN_LAYERS =
  /^application\/vnd\.(?:docker\.image\.rootfs\.foreign\.|oci\.image\.layer\.nondistributable\.)/;

/** Layers that may live elsewhere (`urls`) and need not be pushed. */
export function isForeignLayer(mediaType: string): boolean {
  return FOREIGN_LAYERS.test(mediaType);
}
