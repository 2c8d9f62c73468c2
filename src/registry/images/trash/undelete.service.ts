import { Injectable } from '@nestjs/common';
import type { RegistryAddress } from '../../../domain/registry-address.js';
import { RepositoriesService } from '../../repositories/repositories.service.js';
import type { Repository } from '../../repositories/repository.js';
import type { DeletedImage, DeletedSelection, Restored } from './deleted-image.js';
import { DeletedImagesRepository } from './deleted-images.repository.js';
import { RestorationsRepository } from './restorations.repository.js';

/** Which images are to come back: the one last deleted under a digest or tag, or all that were deleted since a time, or at all. */
export type Wanted = { digest: string } | { tag: string } | { since: Date } | 'all';

export interface UndeleteOptions {
  moveTags: boolean;
  /** Tells what would be done. */
  dryRun: boolean;
}

export interface Undeleted {
  image: DeletedImage;
  restored: Restored;
}

/** Brings deleted images back, as long as the collector has not forgotten them. */
@Injectable()
export class UndeleteService {
  constructor(
    private readonly repositories: RepositoriesService,
    private readonly deletedImages: DeletedImagesRepository,
    private readonly restorations: RestorationsRepository,
  ) {}

  /** Last deleted first. @param repositoryName absent: of all repositories, those that are gone as well */
  async list(registry: RegistryAddress, repositoryName?: string): Promise<DeletedImage[]> {
    return this.deletedImages.list(registry, repositoryName);
  }

  /**
   * Brings images back with layers, tags and what an index names; each in a transaction of its own, in the order they can
   * come. What stood against one does not keep the others.
   * @throws RegistryError RepositoryNotFound
   */
  async undelete(
    registry: RegistryAddress,
    repositoryName: string,
    wanted: Wanted,
    { moveTags, dryRun }: UndeleteOptions,
  ): Promise<Undeleted[]> {
    const repository = await this.repositories.require(registry, repositoryName);
    const images = await this.withChildren(repository, await this.select(repository, wanted));
    if (dryRun) {
      const outcomes = await this.restorations.rehearse(repository, images, moveTags);
      return images.map((image, index) => ({ image, restored: outcomes[index]! }));
    }
    const undeleted: Undeleted[] = [];
    for (const image of images)
      undeleted.push({ image, restored: await this.restorations.restore(repository, image, moveTags) });
    return undeleted;
  }

  private async select(repository: Repository, wanted: Wanted): Promise<DeletedImage[]> {
    const selection: DeletedSelection =
      wanted === 'all' ? {} : 'digest' in wanted ? { digests: [wanted.digest] } : wanted;
    const found = await this.deletedImages.list(repository.registry, repository.name, selection);
    return wanted === 'all' || 'since' in wanted ? found : found.slice(0, 1);
  }

  /** Every image after those it names; of children that were deleted as well, the last deleted ones come along. */
  private async withChildren(repository: Repository, wanted: DeletedImage[]): Promise<DeletedImage[]> {
    const known = new Map<string, DeletedImage>();
    const asked = new Set<string>();
    for (let look = wanted; look.length > 0;) {
      for (const image of look) if (!known.has(image.digest)) known.set(image.digest, image);
      const digests = [...new Set(look.flatMap(({ children }) => children))].filter(
        (digest) => !known.has(digest) && !asked.has(digest),
      );
      if (digests.length === 0) break;
      digests.forEach((digest) => asked.add(digest));
      const present = await this.deletedImages.present(repository.id, digests);
      const gone = digests.filter((digest) => !present.has(digest));
      look = await this.deletedImages.list(repository.registry, repository.name, { digests: gone });
    }
    const ordered = new Set<DeletedImage>();
    const visit = (image: DeletedImage): void => {
      if (ordered.has(image)) return;
      for (const digest of image.children) {
        const child = known.get(digest);
        // No digest can be its own child's child: it would have to be known before the bytes it is made of.
        if (child) visit(child);
      }
      ordered.add(image);
    };
    wanted.forEach(visit);
    return [...ordered];
  }
}
