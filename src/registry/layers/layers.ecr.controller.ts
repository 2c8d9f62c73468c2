import { Body, Controller } from '@nestjs/common';
import type {
  BatchCheckLayerAvailabilityRequest,
  BatchCheckLayerAvailabilityResponse,
  CompleteLayerUploadRequest,
  CompleteLayerUploadResponse,
  GetDownloadUrlForLayerRequest,
  GetDownloadUrlForLayerResponse,
  InitiateLayerUploadRequest,
  InitiateLayerUploadResponse,
  Layer,
  LayerFailure,
  UploadLayerPartRequest,
  UploadLayerPartResponse,
} from '@aws-sdk/client-ecr';
import { Digest } from '../../domain/digest.js';
import { RegistryError } from '../../domain/registry-error.js';
import { addressedRegistry, type Caller } from '../../identity/caller.js';
import { RequestCaller } from '../../identity/request-caller.decorator.js';
import type { LayerPart } from '../../protocols/ecr/ecr-body.js';
import { EcrOperation } from '../../protocols/ecr/ecr-operation.decorator.js';
import { UploadedLayerPart } from '../../protocols/ecr/layer-part.decorator.js';
import { RepositoriesService } from '../repositories/repositories.service.js';
import { type Availability, LayersService } from './layers.service.js';
import { PART_SIZE } from './uploads/upload.js';
import { UploadsService } from './uploads/uploads.service.js';
import { CompletionsService } from './uploads/completions.service.js';

/** The layer API of the ECR door. */
@Controller('ecr')
export class LayersEcrController {
  constructor(
    private readonly repositories: RepositoriesService,
    private readonly uploads: UploadsService,
    private readonly completions: CompletionsService,
    private readonly layers: LayersService,
  ) {}

  @EcrOperation('InitiateLayerUpload')
  async initiateLayerUpload(
    @Body() input: InitiateLayerUploadRequest,
    @RequestCaller() caller: Caller,
  ): Promise<InitiateLayerUploadResponse> {
    const repository = await this.repositories.require(
      addressedRegistry(caller, input.registryId),
      input.repositoryName!,
    );
    return { uploadId: await this.uploads.begin(repository), partSize: PART_SIZE };
  }

  @EcrOperation('UploadLayerPart')
  async uploadLayerPart(
    @Body() input: UploadLayerPartRequest,
    @UploadedLayerPart() part: LayerPart,
    @RequestCaller() caller: Caller,
  ): Promise<UploadLayerPartResponse> {
    const { repositoryName, uploadId, partFirstByte, partLastByte } = input;
    const registry = addressedRegistry(caller, input.registryId);
    const repository = await this.repositories.require(registry, repositoryName!);
    await this.uploads.appendPart(
      repository,
      uploadId!,
      { first: partFirstByte!, last: partLastByte! },
      part.bytes,
      part.crc32,
    );
    return { registryId: registry.accountId, repositoryName, uploadId, lastByteReceived: partLastByte };
  }

  @EcrOperation('CompleteLayerUpload')
  async completeLayerUpload(
    @Body() input: CompleteLayerUploadRequest,
    @RequestCaller() caller: Caller,
  ): Promise<CompleteLayerUploadResponse> {
    const { repositoryName, uploadId } = input;
    const registry = addressedRegistry(caller, input.registryId);
    const repository = await this.repositories.require(registry, repositoryName!);
    // Digests of algorithms the registry cannot compute are ignored; one that matches is enough.
    const digests = input.layerDigests!.flatMap((text) => Digest.parse(text.toLowerCase()) ?? []);
    const layer = await this.completions.complete(repository, uploadId!, { digests, strict: true });
    return {
      registryId: registry.accountId,
      repositoryName,
      uploadId,
      layerDigest: `sha256:${layer.sha256}`,
    };
  }

  @EcrOperation('BatchCheckLayerAvailability')
  async batchCheckLayerAvailability(
    @Body() input: BatchCheckLayerAvailabilityRequest,
    @RequestCaller() caller: Caller,
  ): Promise<BatchCheckLayerAvailabilityResponse> {
    const registry = addressedRegistry(caller, input.registryId);
    const answers = await this.layers.availability(registry, input.repositoryName!, input.layerDigests!);
    return { layers: answers.flatMap(availableLayer), failures: answers.flatMap(layerFailure) };
  }

  @EcrOperation('GetDownloadUrlForLayer')
  async getDownloadUrlForLayer(
    @Body() input: GetDownloadUrlForLayerRequest,
    @RequestCaller() caller: Caller,
  ): Promise<GetDownloadUrlForLayerResponse> {
    const { repositoryName, layerDigest } = input;
    const registry = addressedRegistry(caller, input.registryId);
    const digest = Digest.parse(layerDigest!.toLowerCase());
    if (!digest) {
      await this.repositories.require(registry, repositoryName!);
      throw RegistryError.layerNotFound(layerDigest!, repositoryName!, registry.accountId);
    }
    return { downloadUrl: await this.layers.downloadUrl(registry, repositoryName!, digest), layerDigest };
  }
}

function availableLayer(answer: Availability): Layer[] {
  if (!('layer' in answer)) return [];
  const { layer, digest } = answer;
  return [
    {
      layerDigest: digest,
      layerAvailability: 'AVAILABLE',
      layerSize: layer.sizeBytes,
      // Before a manifest names it nobody knows; the observed service shows the common one.
      mediaType: layer.mediaType ?? 'application/vnd.docker.image.rootfs.diff.tar.gzip',
    },
  ];
}

function layerFailure(answer: Availability): LayerFailure[] {
  if (!('failure' in answer)) return [];
  const { digest, failure } = answer;
  return failure === 'invalid'
    ? [{ layerDigest: digest, failureCode: 'InvalidLayerDigest', failureReason: 'Invalid layer digest' }]
    : [
        {
          layerDigest: digest,
          failureCode: 'MissingLayerDigest',
          failureReason: 'Requested layer not found',
        },
      ];
}
