import { Body, Controller } from '@nestjs/common';
import type {
  CreateRepositoryRequest,
  CreateRepositoryResponse,
  DeleteRepositoryRequest,
  DeleteRepositoryResponse,
  DescribeRepositoriesRequest,
  DescribeRepositoriesResponse,
  ImageTagMutabilityExclusionFilter,
  ListTagsForResourceRequest,
  ListTagsForResourceResponse,
  PutImageTagMutabilityRequest,
  PutImageTagMutabilityResponse,
  Repository as RepositoryDescription,
  Tag as TagDescription,
  TagResourceRequest,
  TagResourceResponse,
  UntagResourceRequest,
  UntagResourceResponse,
} from '@aws-sdk/client-ecr';
import { parseRepositoryArn, repositoryArn } from '../../domain/arn.js';
import type { RegistryAddress } from '../../domain/registry-address.js';
import { RegistryError } from '../../domain/registry-error.js';
import { addressedRegistry, type Caller } from '../../identity/caller.js';
import { PageTokens } from '../../identity/page-tokens.js';
import { RequestCaller } from '../../identity/request-caller.decorator.js';
import { EcrOperation } from '../../protocols/ecr/ecr-operation.decorator.js';
import type { Repository, Tag } from './repository.js';
import { RepositoriesService } from './repositories.service.js';

/** ECR's page when `maxResults` is absent. */
const DEFAULT_RESULTS = 100;

const byArn = {
  resources: (input: Readonly<Record<string, unknown>>) => [
    typeof input['resourceArn'] === 'string' ? input['resourceArn'] : '*',
  ],
};

@Controller('ecr')
export class RepositoriesEcrController {
  constructor(
    private readonly repositories: RepositoriesService,
    private readonly pageTokens: PageTokens,
  ) {}

  @EcrOperation('CreateRepository')
  async createRepository(
    @Body() input: CreateRepositoryRequest,
    @RequestCaller() caller: Caller,
  ): Promise<CreateRepositoryResponse> {
    const { encryptionConfiguration: encryption } = input;
    if (encryption && encryption.encryptionType !== 'AES256') {
      throw RegistryError.invalidParameter(
        'encryptionConfiguration',
        `encryption type ${encryption.encryptionType} is not available in this registry`,
      );
    }
    const created = await this.repositories.create(addressedRegistry(caller, input.registryId), {
      name: input.repositoryName!,
      tagMutability: input.imageTagMutability ?? 'MUTABLE',
      exclusionFilters: filterTexts(input.imageTagMutabilityExclusionFilters) ?? [],
      scanOnPush: input.imageScanningConfiguration?.scanOnPush ?? false,
      tags: (input.tags ?? []).map(toTag),
    });
    return { repository: this.describe(created) };
  }

  @EcrOperation('DescribeRepositories', {
    resources: (input) =>
      Array.isArray(input['repositoryNames']) ? input['repositoryNames'].map(String) : ['*'],
  })
  async describeRepositories(
    @Body() input: DescribeRepositoriesRequest,
    @RequestCaller() caller: Caller,
  ): Promise<DescribeRepositoriesResponse> {
    const registry = addressedRegistry(caller, input.registryId);
    const { repositoryNames, nextToken, maxResults } = input;
    if (repositoryNames) {
      if (nextToken !== undefined || maxResults !== undefined) {
        throw RegistryError.invalidParameter(
          nextToken !== undefined ? 'nextToken' : 'maxResults',
          'must not be used together with repositoryNames',
        );
      }
      const named = await this.repositories.describe(registry, repositoryNames);
      return { repositories: named.map((repository) => this.describe(repository)) };
    }
    const scope = `DescribeRepositories ${registry.accountId} ${registry.region}`;
    const limit = maxResults ?? DEFAULT_RESULTS;
    const after = nextToken === undefined ? undefined : (this.pageTokens.open(scope, nextToken) as string);
    const page = await this.repositories.list(registry, after === undefined ? { limit } : { limit, after });
    return {
      repositories: page.items.map((repository) => this.describe(repository)),
      ...(page.next !== undefined && { nextToken: this.pageTokens.seal(scope, page.next) }),
    };
  }

  @EcrOperation('DeleteRepository')
  async deleteRepository(
    @Body() input: DeleteRepositoryRequest,
    @RequestCaller() caller: Caller,
  ): Promise<DeleteRepositoryResponse> {
    const registry = addressedRegistry(caller, input.registryId);
    return {
      repository: this.describe(
        await this.repositories.delete(registry, input.repositoryName!, input.force ?? false),
      ),
    };
  }

  @EcrOperation('PutImageTagMutability')
  async putImageTagMutability(
    @Body() input: PutImageTagMutabilityRequest,
    @RequestCaller() caller: Caller,
  ): Promise<PutImageTagMutabilityResponse> {
    const registry = addressedRegistry(caller, input.registryId);
    const { repositoryName, imageTagMutability, imageTagMutabilityExclusionFilters: filters } = input;
    await this.repositories.setTagMutability(
      registry,
      repositoryName!,
      imageTagMutability!,
      filterTexts(filters),
    );
    return {
      registryId: registry.accountId,
      repositoryName,
      imageTagMutability,
      ...(filters && filters.length > 0 && { imageTagMutabilityExclusionFilters: filters }),
    };
  }

  @EcrOperation('TagResource', byArn)
  async tagResource(@Body() input: TagResourceRequest): Promise<TagResourceResponse> {
    const { registry, repositoryName } = requireArn(input.resourceArn!);
    await this.repositories.tag(registry, repositoryName, input.tags!.map(toTag));
    return {};
  }

  @EcrOperation('UntagResource', byArn)
  async untagResource(@Body() input: UntagResourceRequest): Promise<UntagResourceResponse> {
    const { registry, repositoryName } = requireArn(input.resourceArn!);
    await this.repositories.untag(registry, repositoryName, input.tagKeys!);
    return {};
  }

  @EcrOperation('ListTagsForResource', byArn)
  async listTagsForResource(@Body() input: ListTagsForResourceRequest): Promise<ListTagsForResourceResponse> {
    const { registry, repositoryName } = requireArn(input.resourceArn!);
    const tags = await this.repositories.listTags(registry, repositoryName);
    return { tags: tags.map(({ key, value }) => ({ Key: key, Value: value })) };
  }

  private describe(repository: Repository): RepositoryDescription {
    const { registry, name, exclusionFilters } = repository;
    return {
      repositoryArn: repositoryArn(registry, name),
      registryId: registry.accountId,
      repositoryName: name,
      repositoryUri: this.repositories.uri(repository),
      createdAt: repository.createdAt,
      imageTagMutability: repository.tagMutability,
      ...(exclusionFilters.length > 0 && {
        imageTagMutabilityExclusionFilters: exclusionFilters.map((filter) => ({
          filterType: 'WILDCARD' as const,
          filter,
        })),
      }),
      imageScanningConfiguration: { scanOnPush: repository.scanOnPush },
      encryptionConfiguration: { encryptionType: 'AES256' },
    };
  }
}

/** @throws RegistryError InvalidParameter */
function requireArn(arn: string): { registry: RegistryAddress; repositoryName: string } {
  const parsed = parseRepositoryArn(arn);
  if (!parsed) throw RegistryError.invalidParameter('resourceArn', 'Invalid ARN');
  return parsed;
}

function filterTexts(filters: ImageTagMutabilityExclusionFilter[] | undefined): string[] | undefined {
  return filters?.map(({ filter }) => filter!);
}

/** A tag without a value has the empty one. */
function toTag(tag: TagDescription): Tag {
  return { key: tag.Key!, value: tag.Value ?? '' };
}
