/**
 * Every way a rule of the registry can refuse. The codes are ECR's error names without the `Exception` suffix, plus the
 * few that only the OCI door or the front end know. How each is rendered in either dialect stands in
 * `protocols/error-table.ts`. Message texts follow the observed service.
 */
export const REGISTRY_ERROR_CODES = [
  'RepositoryNotFound',
  'RepositoryAlreadyExists',
  'RepositoryNotEmpty',
  'RepositoryNameInvalid',
  'UploadNotFound',
  'InvalidLayerPart',
  'InvalidLayer',
  'LayerPartTooSmall',
  'LayerAlreadyExists',
  'EmptyUpload',
  'LayersNotFound',
  'LayerInaccessible',
  'BlobSizeInvalid',
  'RangeInvalid',
  'ImageNotFound',
  'ImageAlreadyExists',
  'ImageTagAlreadyExists',
  'ImageDigestDoesNotMatch',
  'ReferencedImagesNotFound',
  'ImageReferencedByManifestList',
  'ManifestInvalid',
  'RequiredLayersNotFound',
  'LimitExceeded',
  'InvalidParameter',
  'DigestInvalid',
  'TagInvalid',
  'InvalidTagParameter',
  'TooManyTags',
  'Serialization',
  'AccessDenied',
  'MissingAuthenticationToken',
  'UnrecognizedClient',
  'InvalidSignature',
  'IncompleteSignature',
  'ExpiredToken',
  'UnknownOperation',
  'RouteNotFound',
  'MethodNotAllowed',
  'RequestEntityTooLarge',
  'MalformedRequest',
  'RequestTimeout',
  'Server',
  'ServiceUnavailable',
] as const;

export type RegistryErrorCode = (typeof REGISTRY_ERROR_CODES)[number];

/** Members beyond `message`; ECR declares them on InvalidLayerPartException only. */
export interface UploadPosition {
  registryId: string;
  repositoryName: string;
  uploadId: string;
  /** Offset of the last durable byte, inclusive; absent while nothing was accepted. */
  lastValidByteReceived?: number;
}

/** A refusal with a code of the closed table above. Anything else thrown is a fault of ours (`Server`, 500). */
export class RegistryError extends Error {
  constructor(
    readonly code: RegistryErrorCode,
    message: string,
    readonly members: Partial<UploadPosition> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'RegistryError';
  }

  static repositoryNotFound(name: string, registryId: string): RegistryError {
    return new RegistryError(
      'RepositoryNotFound',
      `The repository with name '${name}' does not exist in the registry with id '${registryId}'`,
    );
  }

  static repositoryAlreadyExists(name: string, registryId: string): RegistryError {
    return new RegistryError(
      'RepositoryAlreadyExists',
      `The repository with name '${name}' already exists in the registry with id '${registryId}'`,
    );
  }

  static repositoryNotEmpty(name: string, registryId: string): RegistryError {
    return new RegistryError(
      'RepositoryNotEmpty',
      `The repository with name '${name}' in registry with id '${registryId}' cannot be deleted because it still contains images`,
    );
  }

  static repositoryNameInvalid(name: string): RegistryError {
    return new RegistryError('RepositoryNameInvalid', `invalid repository name: '${name.slice(0, 256)}'`);
  }

  /** One text for unknown, finished, expired and foreign uploads, so that it tells nobody which of them it was. */
  static uploadNotFound(uploadId: string, name: string, registryId: string): RegistryError {
    return new RegistryError(
      'UploadNotFound',
      `The upload with id '${uploadId}' does not exist in the repository with name '${name}' in the registry with id '${registryId}'`,
    );
  }

  static notTheNextByte(firstByte: number, position: UploadPosition): RegistryError {
    const next = (position.lastValidByteReceived ?? -1) + 1;
    return new RegistryError(
      'InvalidLayerPart',
      `First byte of the layer part is ${firstByte} instead of ${next}`,
      position,
    );
  }

  static invalidLayerPart(message: string, position: UploadPosition): RegistryError {
    return new RegistryError('InvalidLayerPart', message, position);
  }

  static invalidLayer(): RegistryError {
    return new RegistryError(
      'InvalidLayer',
      'None of the provided layer digests match the calculated layer digest',
    );
  }

  static layerPartTooSmall(): RegistryError {
    return new RegistryError(
      'LayerPartTooSmall',
      'All layer parts except the last part should be at least 5MB',
    );
  }

  static layerAlreadyExists(digest: string, name: string, registryId: string): RegistryError {
    return new RegistryError(
      'LayerAlreadyExists',
      `The layer with digest '${digest}' already exists in the repository with name '${name}' in registry with id '${registryId}'`,
    );
  }

  static emptyUpload(uploadId: string, name: string, registryId: string): RegistryError {
    return new RegistryError(
      'EmptyUpload',
      `The upload with id '${uploadId}' in the repository with name '${name}' in registry with id '${registryId}' cannot be completed because it does not have any parts`,
    );
  }

  static layerNotFound(digest: string, name: string, registryId: string): RegistryError {
    return new RegistryError(
      'LayersNotFound',
      `The layer with digest '${digest}' does not exist within the repository with name '${name}' in the registry with id '${registryId}'`,
    );
  }

  static layerInaccessible(digest: string, name: string, registryId: string): RegistryError {
    return new RegistryError(
      'LayerInaccessible',
      `The layer with digest '${digest}' in the repository with name '${name}' in the registry with id '${registryId}' is not associated with an image`,
    );
  }

  static requiredLayersNotFound(digests: string[], name: string, registryId: string): RegistryError {
    return new RegistryError(
      'RequiredLayersNotFound',
      `Layers with digests '[${digests.join(', ')}]' required for pushing image into repository with name '${name}' in the registry with id '${registryId}' do not exist`,
    );
  }

  static referencedImagesNotFound(digests: string[], name: string, registryId: string): RegistryError {
    return new RegistryError(
      'ReferencedImagesNotFound',
      `Images with digests '[${digests.join(', ')}]' required for pushing image into repository with name '${name}' in the registry with id '${registryId}' do not exist`,
    );
  }

  static imageNotFound(
    image: { digest?: string; tag?: string },
    name: string,
    registryId: string,
  ): RegistryError {
    return new RegistryError(
      'ImageNotFound',
      `The image with imageId {imageDigest:'${image.digest ?? 'null'}', imageTag:'${image.tag ?? 'null'}'} does not exist within the repository with name '${name}' in the registry with id '${registryId}'`,
    );
  }

  static imageAlreadyExists(
    digest: string,
    tag: string | undefined,
    name: string,
    registryId: string,
  ): RegistryError {
    return new RegistryError(
      'ImageAlreadyExists',
      `Image with digest '${digest}' and tag '${tag ?? 'null'}' already exists in the repository with name '${name}' in registry with id '${registryId}'`,
    );
  }

  static imageTagAlreadyExists(tag: string, name: string): RegistryError {
    return new RegistryError(
      'ImageTagAlreadyExists',
      `The image tag '${tag}' already exists in the '${name}' repository and cannot be overwritten because the repository is immutable.`,
    );
  }

  static imageDigestDoesNotMatch(digest: string, name: string, registryId: string): RegistryError {
    return new RegistryError(
      'ImageDigestDoesNotMatch',
      `The image with digest '${digest}' in repository '${name}' and registry ID '${registryId}' does not match the image digest that Amazon ECR has calculated.`,
    );
  }

  static imageReferencedByManifestList(parents: string[]): RegistryError {
    return new RegistryError(
      'ImageReferencedByManifestList',
      `Requested image referenced by manifest list: [${parents.join(', ')}]`,
    );
  }

  /** A manifest the registry cannot accept; ECR words it as a parameter fault of `ImageManifest`. */
  static manifestInvalid(why: string): RegistryError {
    return new RegistryError(
      'ManifestInvalid',
      `Invalid parameter at 'ImageManifest' failed to satisfy constraint: '${why}'`,
    );
  }

  static invalidParameter(member: string, constraint: string): RegistryError {
    return new RegistryError(
      'InvalidParameter',
      `Invalid parameter at '${member}' failed to satisfy constraint: '${constraint}'`,
    );
  }

  static digestInvalid(text: string): RegistryError {
    return new RegistryError('DigestInvalid', `Invalid digest: '${text.slice(0, 200)}'`);
  }

  static limitExceeded(message: string): RegistryError {
    return new RegistryError('LimitExceeded', message);
  }

  /** The store or the database cannot be reached or failed; nothing was recorded and a retry is safe. */
  static unavailable(cause: unknown): RegistryError {
    return new RegistryError(
      'Server',
      'The service could not complete the request. Retry it.',
      {},
      { cause },
    );
  }
}
