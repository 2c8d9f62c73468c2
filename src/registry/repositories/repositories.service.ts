import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { cutPage, type Page, type PageRequest } from '../../domain/page.js';
import type { RegistryAddress } from '../../domain/registry-address.js';
import { RegistryError } from '../../domain/registry-error.js';
import { requireRepositoryName } from '../../domain/repository-name.js';
import { faultPoint } from '../../observability/fault-points.js';
import { type NewRepository, RepositoriesRepository } from './repositories.repository.js';
import { named, type Repository, type Tag, type TagMutability } from './repository.js';
import { assertTagCount, assertTagKey, assertTags } from './resource-tags.js';
import { assertExclusionFilters } from './tag-mutability.js';

/** Rules of repositories; every other capability asks {@link require} for the repository it works in. */
@Injectable()
export class RepositoriesService {
  private readonly host: string;

  constructor(
    private readonly repositories: RepositoriesRepository,
    @Inject(CONFIG) config: Config,
  ) {
    this.host = config.STOWAGE_PUBLIC_URL.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  }

  /** What docker-family clients call the repository: host and name, without a scheme. */
  uri(repository: Repository): string {
    return `${this.host}/${repository.name}`;
  }

  /** @throws RegistryError RepositoryNotFound */
  async require(registry: RegistryAddress, name: string): Promise<Repository> {
    const repository = await this.repositories.find(registry, name);
    if (!repository) throw RegistryError.repositoryNotFound(name, registry.accountId);
    return repository;
  }

  /** The repository, or null; for questions where absence is an answer (mounts). */
  async find(registry: RegistryAddress, name: string): Promise<Repository | null> {
    return this.repositories.find(registry, name);
  }

  /** @throws RegistryError InvalidParameter, InvalidTagParameter, TooManyTags, RepositoryAlreadyExists, LimitExceeded */
  async create(registry: RegistryAddress, input: NewRepository): Promise<Repository> {
    requireRepositoryName(input.name);
    assertExclusionFilters(input.tagMutability, input.exclusionFilters);
    assertTags(input.tags);
    assertTagCount(input.tags.length);
    const created = await this.repositories.create(registry, input);
    faultPoint('repository-created');
    if (created === 'exists') throw RegistryError.repositoryAlreadyExists(input.name, registry.accountId);
    if ('limit' in created) {
      throw RegistryError.limitExceeded(
        `The registry with id '${registry.accountId}' already has the maximum allowed number of repositories which is '${created.limit}'`,
      );
    }
    return created;
  }

  /** In the order of the names. @throws RegistryError RepositoryNotFound for the first name that is missing */
  async describe(registry: RegistryAddress, names: string[]): Promise<Repository[]> {
    const found = new Map(
      (await this.repositories.findAll(registry, names)).map((repository) => [repository.name, repository]),
    );
    return [...new Set(names)].map((name) => {
      const repository = found.get(name);
      if (!repository) throw RegistryError.repositoryNotFound(name, registry.accountId);
      return repository;
    });
  }

  /** In name order. */
  async list(registry: RegistryAddress, page: PageRequest): Promise<Page<Repository>> {
    return cutPage(await this.repositories.list(registry, page), page.limit, (repository) => repository.name);
  }

  /** @throws RegistryError RepositoryNotFound, RepositoryNotEmpty unless `force` */
  async delete(registry: RegistryAddress, name: string, force: boolean): Promise<Repository> {
    const repository = await this.require(registry, name);
    const outcome = await this.repositories.delete(repository, force);
    faultPoint('repository-deleted');
    if (outcome === 'missing') throw RegistryError.repositoryNotFound(name, registry.accountId);
    if (outcome === 'not-empty') throw RegistryError.repositoryNotEmpty(name, registry.accountId);
    return repository;
  }

  /** Holds for pushes from now on; tags that exist stay. @throws RegistryError InvalidParameter, RepositoryNotFound */
  async setTagMutability(
    registry: RegistryAddress,
    name: string,
    mutability: TagMutability,
    filters: string[] | undefined,
  ): Promise<void> {
    const repository = await this.require(registry, name);
    assertExclusionFilters(mutability, filters);
    const done = await this.repositories.setTagMutability(repository.id, mutability, filters ?? []);
    if (!done) throw RegistryError.repositoryNotFound(...named(repository));
  }

  async listTags(registry: RegistryAddress, name: string): Promise<Tag[]> {
    const repository = await this.require(registry, name);
    return this.repositories.tags(repository.id);
  }

  /** Replaces values of keys that exist. @throws RegistryError InvalidTagParameter, TooManyTags, RepositoryNotFound */
  async tag(registry: RegistryAddress, name: string, tags: Tag[]): Promise<void> {
    assertTags(tags);
    const repository = await this.require(registry, name);
    const done = await this.repositories.putTags(repository.id, tags, assertTagCount);
    if (!done) throw RegistryError.repositoryNotFound(...named(repository));
  }

  /** Keys that are not there are no fault. @throws RegistryError InvalidTagParameter, RepositoryNotFound */
  async untag(registry: RegistryAddress, name: string, keys: string[]): Promise<void> {
    keys.forEach(assertTagKey);
    const repository = await this.require(registry, name);
    await this.repositories.deleteTags(repository.id, keys);
  }
}
