import { Body, Controller } from '@nestjs/common';
import type {
  BatchDeleteImageRequest,
  BatchDeleteImageResponse,
  BatchGetImageRequest,
  BatchGetImageResponse,
  DescribeImagesRequest,
  DescribeImagesResponse,
  Image,
  ImageDetail as ImageDetailDescription,
  ImageFailure as ImageFailureDescription,
  ImageIdentifier as ImageIdentifierDescription,
  ListImageReferrersRequest,
  ListImageReferrersResponse,
  ListImagesRequest,
  ListImagesResponse,
  PutImageRequest,
  PutImageResponse,
} from '@aws-sdk/client-ecr';
import type { ImageIdentifier } from '../../domain/image-reference.js';
import { RegistryError } from '../../domain/registry-error.js';
import type { RegistryAddress } from '../../domain/registry-address.js';
import { addressedRegistry, type Caller } from '../../identity/caller.js';
import { PageTokens } from '../../identity/page-tokens.js';
import { RequestCaller } from '../../identity/request-caller.decorator.js';
import { EcrOperation } from '../../protocols/ecr/ecr-operation.decorator.js';
import type { ImageDetail, ImageFailure, TagStatus } from './image.js';
import { ImagesService } from './images.service.js';

/** ECR's pages when `maxResults` is absent. */
const DEFAULT_RESULTS = 100;
const DEFAULT_REFERRERS = 20;

@Controller('ecr')
export class ImagesEcrController {
  constructor(
    private readonly images: ImagesService,
    private readonly pageTokens: PageTokens,
  ) {}

  @EcrOperation('PutImage')
  async putImage(@Body() input: PutImageRequest, @RequestCaller() caller: Caller): Promise<PutImageResponse> {
    const registry = addressedRegistry(caller, input.registryId);
    const { repositoryName, imageManifest, imageTag, imageDigest } = input;
    const pushed = await this.images.push(registry, repositoryName!, {
      bytes: Buffer.from(imageManifest!),
      mediaType: input.imageManifestMediaType,
      tags: imageTag === undefined ? [] : [imageTag],
      digest: imageDigest,
    });
    if (!pushed.changed)
      throw RegistryError.imageAlreadyExists(pushed.digest, imageTag, repositoryName!, registry.accountId);
    return {
      image: {
        registryId: registry.accountId,
        repositoryName,
        imageId: { imageDigest: pushed.digest, imageTag },
        imageManifest,
        imageManifestMediaType: pushed.manifest.mediaType,
      },
    };
  }

  @EcrOperation('BatchGetImage')
  async batchGetImage(
    @Body() input: BatchGetImageRequest,
    @RequestCaller() caller: Caller,
  ): Promise<BatchGetImageResponse> {
    const registry = addressedRegistry(caller, input.registryId);
    const answers = await this.images.batchPull(
      registry,
      input.repositoryName!,
      input.imageIds!.map(toIdentifier),
    );
    const images: Image[] = [];
    const failures: ImageFailureDescription[] = [];
    for (const answer of answers) {
      if ('code' in answer) failures.push(describeFailure(answer));
      else {
        images.push({
          registryId: registry.accountId,
          repositoryName: input.repositoryName,
          imageId: { imageDigest: answer.image.digest, imageTag: answer.identifier.tag },
          imageManifest: answer.image.manifest.toString(),
          imageManifestMediaType: answer.image.mediaType,
        });
      }
    }
    return { images, failures };
  }

  @EcrOperation('BatchDeleteImage')
  async batchDeleteImage(
    @Body() input: BatchDeleteImageRequest,
    @RequestCaller() caller: Caller,
  ): Promise<BatchDeleteImageResponse> {
    const registry = addressedRegistry(caller, input.registryId);
    const { removed, failures } = await this.images.batchDelete(
      registry,
      input.repositoryName!,
      input.imageIds!.map(toIdentifier),
    );
    return { imageIds: removed.map(describeIdentifier), failures: failures.map(describeFailure) };
  }

  @EcrOperation('ListImages')
  async listImages(
    @Body() input: ListImagesRequest,
    @RequestCaller() caller: Caller,
  ): Promise<ListImagesResponse> {
    const registry = addressedRegistry(caller, input.registryId);
    const { repositoryName, nextToken, filter } = input;
    if (isOnlyArchived(filter?.imageStatus)) return this.nothing(registry, repositoryName!, { imageIds: [] });
    const tagStatus = tagStatusOf(filter?.tagStatus);
    const scope = scopeOf('ListImages', registry, repositoryName!, tagStatus);
    const page = await this.images.listIdentifiers(registry, repositoryName!, tagStatus, {
      limit: input.maxResults ?? DEFAULT_RESULTS,
      ...(nextToken !== undefined && { after: this.pageTokens.open(scope, nextToken) as [string, string] }),
    });
    return {
      imageIds: page.items.map(({ digest, tag }) => ({
        imageDigest: digest,
        ...(tag !== null && { imageTag: tag }),
      })),
      ...(page.next && { nextToken: this.pageTokens.seal(scope, page.next) }),
    };
  }

  @EcrOperation('DescribeImages')
  async describeImages(
    @Body() input: DescribeImagesRequest,
    @RequestCaller() caller: Caller,
  ): Promise<DescribeImagesResponse> {
    const registry = addressedRegistry(caller, input.registryId);
    const { repositoryName, imageIds, nextToken, maxResults, filter } = input;
    const describe = (detail: ImageDetail): ImageDetailDescription =>
      describeImage(registry, repositoryName!, detail);
    if (imageIds) {
      if (nextToken !== undefined || maxResults !== undefined) {
        throw RegistryError.invalidParameter(
          nextToken !== undefined ? 'nextToken' : 'maxResults',
          'must not be used together with imageIds',
        );
      }
      const identifiers = imageIds.map(toIdentifier);
      if (identifiers.some(({ digest, tag }) => digest === undefined && tag === undefined)) {
        throw RegistryError.invalidParameter('imageIds', 'both tag and digest cannot be null');
      }
      return {
        imageDetails: (await this.images.describe(registry, repositoryName!, identifiers)).map(describe),
      };
    }
    if (isOnlyArchived(filter?.imageStatus))
      return this.nothing(registry, repositoryName!, { imageDetails: [] });
    const tagStatus = tagStatusOf(filter?.tagStatus);
    const scope = scopeOf('DescribeImages', registry, repositoryName!, tagStatus);
    const page = await this.images.list(registry, repositoryName!, tagStatus, {
      limit: maxResults ?? DEFAULT_RESULTS,
      ...(nextToken !== undefined && { after: this.pageTokens.open(scope, nextToken) as string }),
    });
    return {
      imageDetails: page.items.map(describe),
      ...(page.next && { nextToken: this.pageTokens.seal(scope, page.next) }),
    };
  }

  @EcrOperation('ListImageReferrers')
  async listImageReferrers(
    @Body() input: ListImageReferrersRequest,
    @RequestCaller() caller: Caller,
  ): Promise<ListImageReferrersResponse> {
    const registry = addressedRegistry(caller, input.registryId);
    const { repositoryName, subjectId, filter, nextToken } = input;
    if (isOnlyArchived(filter?.artifactStatus))
      return this.nothing(registry, repositoryName!, { referrers: [] });
    const subject = subjectId!.imageDigest!;
    const artifactTypes = filter?.artifactTypes ?? [];
    const scope = scopeOf(
      'ListImageReferrers',
      registry,
      repositoryName!,
      JSON.stringify([subject, artifactTypes]),
    );
    const page = await this.images.listReferrers(registry, repositoryName!, subject, artifactTypes, {
      limit: input.maxResults ?? DEFAULT_REFERRERS,
      ...(nextToken !== undefined && { after: this.pageTokens.open(scope, nextToken) as string }),
    });
    return {
      referrers: page.items.map(({ digest, mediaType, artifactType, annotations, size }) => ({
        digest,
        mediaType,
        size,
        artifactStatus: 'ACTIVE' as const,
        ...(artifactType !== null && { artifactType }),
        ...(annotations !== null && { annotations }),
      })),
      ...(page.next && { nextToken: this.pageTokens.seal(scope, page.next) }),
    };
  }

  /** No image is archived here; the repository must exist all the same. */
  private async nothing<Output>(
    registry: RegistryAddress,
    repositoryName: string,
    output: Output,
  ): Promise<Output> {
    await this.images.listTags(registry, repositoryName, { limit: 1 });
    return output;
  }
}

function describeImage(
  registry: RegistryAddress,
  repositoryName: string,
  detail: ImageDetail,
): ImageDetailDescription {
  return {
    registryId: registry.accountId,
    repositoryName,
    imageDigest: detail.digest,
    ...(detail.tags.length > 0 && { imageTags: detail.tags }),
    imageSizeInBytes: detail.sizeBytes,
    imagePushedAt: detail.pushedAt,
    imageManifestMediaType: detail.mediaType,
    ...(detail.artifactType !== null && { artifactMediaType: detail.artifactType }),
    ...(detail.subjectDigest !== null && { subjectManifestDigest: detail.subjectDigest }),
    ...(detail.lastPulledAt !== null && { lastRecordedPullTime: detail.lastPulledAt }),
    imageStatus: 'ACTIVE',
  };
}

function describeFailure({ image, code, reason }: ImageFailure): ImageFailureDescription {
  return { imageId: describeIdentifier(image), failureCode: code, failureReason: reason };
}

function describeIdentifier({ digest, tag }: ImageIdentifier): ImageIdentifierDescription {
  return { imageDigest: digest, imageTag: tag };
}

function toIdentifier({ imageDigest, imageTag }: ImageIdentifierDescription): ImageIdentifier {
  return {
    ...(imageDigest !== undefined && { digest: imageDigest }),
    ...(imageTag !== undefined && { tag: imageTag }),
  };
}

function tagStatusOf(status: string | undefined): TagStatus {
  return (status as TagStatus | undefined) ?? 'ANY';
}

function isOnlyArchived(status: string | undefined): boolean {
  return status === 'ARCHIVED' || status === 'ACTIVATING';
}

function scopeOf(
  operation: string,
  { accountId, region }: RegistryAddress,
  repositoryName: string,
  filter: string,
): string {
  return `${operation} ${accountId} ${region} ${repositoryName} ${filter}`;
}
