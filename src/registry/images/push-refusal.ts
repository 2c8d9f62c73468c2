import { RegistryError } from '../../domain/registry-error.js';
import { named, type Repository } from '../repositories/repository.js';
import type { Pushed } from './pushes.repository.js';

/** What stood against a push, in ECR's words. */
export function pushRefused(
  repository: Repository,
  pushed: Exclude<Pushed, { outcome: 'stored' }>,
): RegistryError {
  const [name, registryId] = named(repository);
  switch (pushed.outcome) {
    case 'layers-missing':
      return RegistryError.requiredLayersNotFound(pushed.digests, name, registryId);
    case 'children-missing':
      return RegistryError.referencedImagesNotFound(pushed.digests, name, registryId);
    case 'tag-immutable':
      return RegistryError.imageTagAlreadyExists(pushed.tag, name);
    case 'repository-gone':
      return RegistryError.repositoryNotFound(name, registryId);
    case 'images-exceeded':
      return RegistryError.limitExceeded(
        `The repository with name '${name}' in registry with id '${registryId}' already has the maximum allowed number of images which is '${repository.limits.imagesPerRepository}'`,
      );
    case 'tags-exceeded':
      return RegistryError.limitExceeded(
        `Adding tag '${pushed.tag}' to an image in the repository with name '${name}' in registry with id '${registryId}' exceeds the maximum allowed number of tags per image which is '${repository.limits.tagsPerImage}'`,
      );
  }
}
