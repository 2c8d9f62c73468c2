import type { RegistryErrorCode } from '../domain/registry-error.js';

/** How one refusal is rendered at either door. */
export interface ErrorRow {
  /** awsJson 1.1: `__type` and HTTP status. ECR answers 400 to every fault of the client, the absent things included. */
  ecr: { type: string; status: number };
  /** Distribution specification: code of the error object and HTTP status. */
  oci: { code: string; status: number };
}

function row(type: string, ecrStatus: number, code: string, ociStatus: number): ErrorRow {
  return { ecr: { type, status: ecrStatus }, oci: { code, status: ociStatus } };
}

/**
 * Every code of the registry in both dialects. `UNKNOWN`, `TAG_INVALID` and `TOOMANYREQUESTS` are not in the table of
 * the specification, yet clients know them from other registries.
 */
export const ERROR_TABLE: Readonly<Record<RegistryErrorCode, ErrorRow>> = {
  RepositoryNotFound: row('RepositoryNotFoundException', 400, 'NAME_UNKNOWN', 404),
  RepositoryAlreadyExists: row('RepositoryAlreadyExistsException', 400, 'NAME_INVALID', 409),
  RepositoryNotEmpty: row('RepositoryNotEmptyException', 400, 'DENIED', 409),
  RepositoryNameInvalid: row('InvalidParameterException', 400, 'NAME_INVALID', 400),

  UploadNotFound: row('UploadNotFoundException', 400, 'BLOB_UPLOAD_UNKNOWN', 404),
  InvalidLayerPart: row('InvalidLayerPartException', 400, 'BLOB_UPLOAD_INVALID', 416),
  InvalidLayer: row('InvalidLayerException', 400, 'BLOB_UPLOAD_INVALID', 400),
  LayerPartTooSmall: row('LayerPartTooSmallException', 400, 'BLOB_UPLOAD_INVALID', 400),
  LayerAlreadyExists: row('LayerAlreadyExistsException', 400, 'BLOB_UPLOAD_INVALID', 400),
  EmptyUpload: row('EmptyUploadException', 400, 'BLOB_UPLOAD_INVALID', 400),
  LayersNotFound: row('LayersNotFoundException', 400, 'BLOB_UNKNOWN', 404),
  LayerInaccessible: row('LayerInaccessibleException', 400, 'BLOB_UNKNOWN', 404),
  BlobSizeInvalid: row('InvalidParameterException', 400, 'SIZE_INVALID', 400),
  RangeInvalid: row('InvalidParameterException', 400, 'BLOB_UPLOAD_INVALID', 416),

  ImageNotFound: row('ImageNotFoundException', 400, 'MANIFEST_UNKNOWN', 404),
  ImageAlreadyExists: row('ImageAlreadyExistsException', 400, 'MANIFEST_INVALID', 400),
  ImageTagAlreadyExists: row('ImageTagAlreadyExistsException', 400, 'TAG_INVALID', 400),
  ImageDigestDoesNotMatch: row('ImageDigestDoesNotMatchException', 400, 'MANIFEST_INVALID', 400),
  ReferencedImagesNotFound: row('ReferencedImagesNotFoundException', 400, 'MANIFEST_BLOB_UNKNOWN', 404),
  // Only the OCI door refuses a whole request for this; BatchDeleteImage reports it beside its successes.
  ImageReferencedByManifestList: row('InvalidParameterException', 400, 'UNSUPPORTED', 405),
  ManifestInvalid: row('InvalidParameterException', 400, 'MANIFEST_INVALID', 400),
  RequiredLayersNotFound: row('LayersNotFoundException', 400, 'MANIFEST_BLOB_UNKNOWN', 404),

  LimitExceeded: row('LimitExceededException', 400, 'DENIED', 403),
  InvalidParameter: row('InvalidParameterException', 400, 'UNSUPPORTED', 400),
  DigestInvalid: row('InvalidParameterException', 400, 'DIGEST_INVALID', 400),
  TagInvalid: row('InvalidParameterException', 400, 'TAG_INVALID', 400),
  InvalidTagParameter: row('InvalidTagParameterException', 400, 'UNSUPPORTED', 400),
  TooManyTags: row('TooManyTagsException', 400, 'DENIED', 403),
  Serialization: row('SerializationException', 400, 'UNSUPPORTED', 400),

  AccessDenied: row('AccessDeniedException', 400, 'DENIED', 403),
  MissingAuthenticationToken: row('MissingAuthenticationTokenException', 400, 'UNAUTHORIZED', 401),
  UnrecognizedClient: row('UnrecognizedClientException', 400, 'UNAUTHORIZED', 401),
  InvalidSignature: row('InvalidSignatureException', 400, 'UNAUTHORIZED', 401),
  IncompleteSignature: row('IncompleteSignatureException', 400, 'UNAUTHORIZED', 401),
  ExpiredToken: row('ExpiredTokenException', 400, 'UNAUTHORIZED', 401),

  UnknownOperation: row('UnknownOperationException', 400, 'UNSUPPORTED', 404),
  RouteNotFound: row('UnknownOperationException', 400, 'UNSUPPORTED', 404),
  MethodNotAllowed: row('UnknownOperationException', 405, 'UNSUPPORTED', 405),
  RequestEntityTooLarge: row('RequestEntityTooLargeException', 413, 'SIZE_INVALID', 413),
  MalformedRequest: row('MalformedHttpRequestException', 400, 'UNSUPPORTED', 400),
  RequestTimeout: row('RequestTimeoutException', 408, 'UNKNOWN', 408),

  Server: row('ServerException', 500, 'UNKNOWN', 503),
  ServiceUnavailable: row('ServiceUnavailable', 503, 'UNKNOWN', 503),
};

/** Front-end errors that the service answers although its API model does not declare them. */
export const FRONT_END_TYPES: ReadonlySet<string> = new Set([
  'AccessDeniedException',
  'ExpiredTokenException',
  'IncompleteSignatureException',
  'InvalidSignatureException',
  'MalformedHttpRequestException',
  'MissingAuthenticationTokenException',
  'RequestEntityTooLargeException',
  'RequestTimeoutException',
  'SerializationException',
  'ServiceUnavailable',
  'UnknownOperationException',
  'UnrecognizedClientException',
]);
