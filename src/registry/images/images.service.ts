import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { isUnavailable } from '../../database/database-errors.js';
import { Digest, type DigestAlgorithm } from '../../domain/digest.js';
import { type ImageIdentifier, isTag } from '../../domain/image-reference.js';
import { cutPage, type Page, type PageRequest } from '../../domain/page.js';
import type { RegistryAddress } from '../../domain/registry-address.js';
import { RegistryError } from '../../domain/registry-error.js';
import { faultPoint } from '../../observability/fault-points.js';
import { QuotasService } from '../quotas/quotas.service.js';
import { RepositoriesService } from '../repositories/repositories.service.js';
import { named } from '../repositories/repository.js';
import { mayMoveTag } from '../repositories/tag-mutability.js';
import { type ImageManifest, parseManifest } from './image-manifest.js';
import type { ImageDetail, ImageFailure, Referrer, StoredImage, TagStatus } from './image.js';
import { identifierFault, imageFailure } from './image-failures.js';
import type { Removed } from './deletion-plan.js';
import { DeletionsRepository } from './deletions.repository.js';
import { ImagesRepository } from './images.repository.js';
import { pushRefused } from './push-refusal.js';
import { PushesRepository } from './pushes.repository.js';

export interface Push {
  bytes: Buffer;
  /** As the client declares it beside the bytes. */
  mediaType?: string | undefined;
  tags: string[];
  /** The digest the client expects. */
  digest?: string | undefined;
}

export interface PushedImage {
  digest: string;
  manifest: ImageManifest;
  /** False when digest and every tag were there already. */
  changed: boolean;
}

/** A pull is recorded at most once in so long. Milliseconds. */
const PULL_RESOLUTION_MS = 3_600_000;

/** Rules of images: what a push needs, what a tag may do, what may go. */
@Injectable()
export class ImagesService {
  constructor(
    private readonly images: ImagesRepository,
    private readonly pushes: PushesRepository,
    private readonly deletions: DeletionsRepository,
    private readonly repositories: RepositoriesService,
    private readonly quotas: QuotasService,
  ) {}

  /**
   * Stores the exact bytes under the digest of the exact bytes.
   * @throws RegistryError RepositoryNotFound, ManifestInvalid, ImageDigestDoesNotMatch, RequiredLayersNotFound,
   *   ReferencedImagesNotFound, ImageTagAlreadyExists, LimitExceeded
   */
  async push(registry: RegistryAddress, repositoryName: string, push: Push): Promise<PushedImage> {
    const repository = await this.repositories.require(registry, repositoryName);
    for (const tag of push.tags)
      if (!isTag(tag))
        throw new RegistryError(
          'TagInvalid',
          `Invalid parameter at 'imageTag' failed to satisfy constraint: 'must satisfy regular expression '[a-zA-Z0-9-_.]+''`,
        );
    const manifest = parseManifest(push.bytes, push.mediaType);
    this.quotas.require(
      repository.limits,
      'layersPerImage',
      manifest.layerCount,
      () => 'Limit on number of layers per image exceeded',
    );
    const digest = digestOf(push.bytes, push.digest?.startsWith('sha512:') ? 'sha512' : 'sha256');
    if (push.digest !== undefined && push.digest !== digest)
      throw RegistryError.imageDigestDoesNotMatch(push.digest, ...named(repository));
    faultPoint('image-accepted');
    const pushed = await this.pushes.push(repository, {
      digest,
      alias: push.digest === undefined ? digestOf(push.bytes, 'sha512') : null,
      bytes: push.bytes,
      manifest,
      tags: [...new Set(push.tags)],
      mayMoveTag: (tag) => mayMoveTag(repository, tag),
    });
    faultPoint('image-pushed');
    if (pushed.outcome !== 'stored') throw pushRefused(repository, pushed);
    return { digest: pushed.digest, manifest, changed: pushed.changed };
  }

  /** For a pull, which is recorded. @throws RegistryError RepositoryNotFound, ImageNotFound */
  async pull(
    registry: RegistryAddress,
    repositoryName: string,
    identifier: ImageIdentifier,
  ): Promise<StoredImage> {
    const image = await this.get(registry, repositoryName, identifier);
    await this.recordPulls([image]);
    return image;
  }

  /** Without recording a pull. @throws RegistryError RepositoryNotFound, ImageNotFound */
  async get(
    registry: RegistryAddress,
    repositoryName: string,
    identifier: ImageIdentifier,
  ): Promise<StoredImage> {
    const found = await this.images.find(registry, repositoryName, identifier);
    if (!found) throw RegistryError.repositoryNotFound(repositoryName, registry.accountId);
    if (!found.image) throw RegistryError.imageNotFound(identifier, repositoryName, registry.accountId);
    return found.image;
  }

  /** One answer per identifier, in their order. @throws RegistryError RepositoryNotFound */
  async batchPull(
    registry: RegistryAddress,
    repositoryName: string,
    identifiers: ImageIdentifier[],
  ): Promise<({ identifier: ImageIdentifier; image: StoredImage } | ImageFailure)[]> {
    const repository = await this.repositories.require(registry, repositoryName);
    const faults = identifiers.map(identifierFault);
    const sound = identifiers.filter((_, index) => faults[index] === null);
    const found = sound.length > 0 ? await this.images.findAll(repository, sound) : [];
    const answers = identifiers.map((identifier, index) => faults[index] ?? imageNamed(identifier, found));
    await this.recordPulls([...new Set(answers.flatMap((answer) => ('code' in answer ? [] : answer.image)))]);
    return answers;
  }

  /**
   * By tag the tag goes, and the image with its last tag; by digest the image goes with all its tags. An index and the images
   * it names can go in one call, in any order.
   * @throws RegistryError RepositoryNotFound
   */
  async batchDelete(
    registry: RegistryAddress,
    repositoryName: string,
    identifiers: ImageIdentifier[],
  ): Promise<{ removed: ImageIdentifier[]; failures: ImageFailure[] }> {
    const repository = await this.repositories.require(registry, repositoryName);
    const faults = identifiers.map(identifierFault);
    const sound = identifiers.filter((_, index) => faults[index] === null);
    const outcomes = (await this.deletions.remove(repository, sound, { keepUntagged: false })).values();
    faultPoint('image-removed');
    const answers = identifiers.map(
      (identifier, index) => [identifier, faults[index] ?? outcomes.next().value!] as const,
    );
    return {
      removed: answers.flatMap(([, outcome]) =>
        isOutcome(outcome, 'removed') ? removedIdentifiers(outcome) : [],
      ),
      failures: answers.flatMap(([identifier, outcome]) => deletionFailure(identifier, outcome)),
    };
  }

  /** At the OCI door a tag that is deleted leaves its image. @throws RegistryError RepositoryNotFound, ImageNotFound, ImageReferencedByManifestList */
  async delete(
    registry: RegistryAddress,
    repositoryName: string,
    identifier: ImageIdentifier,
  ): Promise<void> {
    const repository = await this.repositories.require(registry, repositoryName);
    const [removed] = await this.deletions.remove(repository, [identifier], { keepUntagged: true });
    faultPoint('image-removed');
    if (removed!.outcome === 'referenced')
      throw RegistryError.imageReferencedByManifestList(removed!.parents);
    if (removed!.outcome !== 'removed') throw RegistryError.imageNotFound(identifier, ...named(repository));
  }

  /** @throws RegistryError RepositoryNotFound */
  async listIdentifiers(
    registry: RegistryAddress,
    repositoryName: string,
    tagStatus: TagStatus,
    page: PageRequest<[string, string]>,
  ): Promise<Page<{ digest: string; tag: string | null }, [string, string]>> {
    const repository = await this.repositories.require(registry, repositoryName);
    return cutPage(
      await this.images.listIdentifiers(repository, tagStatus, page),
      page.limit,
      ({ key }) => key,
    );
  }

  /** @throws RegistryError RepositoryNotFound */
  async list(
    registry: RegistryAddress,
    repositoryName: string,
    tagStatus: TagStatus,
    page: PageRequest,
  ): Promise<Page<ImageDetail>> {
    const repository = await this.repositories.require(registry, repositoryName);
    return cutPage(await this.images.listDetails(repository, tagStatus, page), page.limit, ({ id }) =>
      String(id),
    );
  }

  /** In push order. @throws RegistryError RepositoryNotFound, ImageNotFound for the first one that is missing */
  async describe(
    registry: RegistryAddress,
    repositoryName: string,
    identifiers: ImageIdentifier[],
  ): Promise<ImageDetail[]> {
    const repository = await this.repositories.require(registry, repositoryName);
    const details = await this.images.detailsOf(repository, identifiers);
    for (const identifier of identifiers) {
      if (!details.some((detail) => isThis(detail, identifier)))
        throw RegistryError.imageNotFound(identifier, ...named(repository));
    }
    return details;
  }

  /** @throws RegistryError RepositoryNotFound */
  async listTags(
    registry: RegistryAddress,
    repositoryName: string,
    page: PageRequest,
  ): Promise<Page<string>> {
    const repository = await this.repositories.require(registry, repositoryName);
    return cutPage(await this.images.listTags(repository, page), page.limit, (tag) => tag);
  }

  /** Empty for a subject nobody pushed. @throws RegistryError RepositoryNotFound */
  async listReferrers(
    registry: RegistryAddress,
    repositoryName: string,
    subject: string,
    artifactTypes: string[],
    page: PageRequest,
  ): Promise<Page<Referrer>> {
    const repository = await this.repositories.require(registry, repositoryName);
    return cutPage(
      await this.images.listReferrers(repository, subject, artifactTypes, page),
      page.limit,
      ({ id }) => String(id),
    );
  }

  /** A pull that cannot be recorded, as from a server that only reads in a fail-over, is a pull all the same. */
  private async recordPulls(images: StoredImage[]): Promise<void> {
    const unrecorded = images.filter(
      ({ lastPulledAt }) => !lastPulledAt || Date.now() - lastPulledAt.getTime() >= PULL_RESOLUTION_MS,
    );
    if (unrecorded.length === 0) return;
    await this.images.touchPulled(unrecorded.map(({ id }) => id)).catch((error: unknown) => {
      if (!isUnavailable(error)) throw error;
    });
  }
}

function imageNamed(
  identifier: ImageIdentifier,
  found: (StoredImage & { tags: string[] })[],
): { identifier: ImageIdentifier; image: StoredImage } | ImageFailure {
  const { digest, tag } = identifier;
  const image = found.find((one) => (digest === undefined ? one.tags.includes(tag!) : one.digest === digest));
  if (!image) return imageFailure(identifier, 'ImageNotFound');
  if (digest !== undefined && tag !== undefined && !image.tags.includes(tag))
    return imageFailure(identifier, 'ImageTagDoesNotMatchDigest');
  return { identifier, image };
}

function digestOf(bytes: Buffer, algorithm: DigestAlgorithm): string {
  return String(Digest.of(algorithm, createHash(algorithm).update(bytes).digest()));
}

function isThis(detail: ImageDetail, { digest, tag }: ImageIdentifier): boolean {
  return (
    (digest === undefined || detail.digest === digest) && (tag === undefined || detail.tags.includes(tag))
  );
}

function isOutcome<Outcome extends Removed['outcome']>(
  result: Removed | ImageFailure,
  outcome: Outcome,
): result is Extract<Removed, { outcome: Outcome }> {
  return 'outcome' in result && result.outcome === outcome;
}

/** ECR answers one entry for each tag that went, or the digest alone for an untagged image. */
function removedIdentifiers({ digest, tags }: { digest: string; tags: string[] }): ImageIdentifier[] {
  return tags.length === 0 ? [{ digest }] : tags.map((tag) => ({ digest, tag }));
}

function deletionFailure(identifier: ImageIdentifier, result: Removed | ImageFailure): ImageFailure[] {
  if (!('outcome' in result)) return [result];
  switch (result.outcome) {
    case 'removed':
      return [];
    case 'missing':
      return [imageFailure(identifier, 'ImageNotFound')];
    case 'tag-mismatch':
      return [imageFailure(identifier, 'ImageTagDoesNotMatchDigest')];
    case 'referenced':
      return [imageFailure(identifier, 'ImageReferencedByManifestList', result.parents)];
  }
}
