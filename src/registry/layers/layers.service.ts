import { Inject, Injectable } from '@nestjs/common';
import { BLOB_STORE, BlobMissing, type BlobStore } from '../../blob-store/blob-store.js';
import { CONFIG, type Config } from '../../config/config.js';
import { Digest } from '../../domain/digest.js';
import type { RegistryAddress } from '../../domain/registry-address.js';
import { RegistryError } from '../../domain/registry-error.js';
import { SignedUrls } from '../../identity/signed-urls.js';
import { faultPoint } from '../../observability/fault-points.js';
import { named, type Repository } from '../repositories/repository.js';
import { DOWNLOAD_SECONDS } from './download-lifetime.js';
import type { LayerSource } from './layer-source.js';
import { type Layer, LayersRepository } from './layers.repository.js';

export type Availability =
  { digest: string; layer: Layer } | { digest: string; failure: 'invalid' | 'missing' };

/** Finished layers: who sees them, and how their bytes are handed out. */
@Injectable()
export class LayersService {
  constructor(
    private readonly layers: LayersRepository,
    @Inject(BLOB_STORE) private readonly store: BlobStore,
    private readonly signedUrls: SignedUrls,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** One query for all, and one more where layers are near the end of their grace time. Each digest is answered once, in request order. @throws RegistryError RepositoryNotFound */
  async availability(
    registry: RegistryAddress,
    repositoryName: string,
    digests: string[],
  ): Promise<Availability[]> {
    const parsed = [...new Set(digests)].map((text) => ({ text, digest: Digest.parse(text.toLowerCase()) }));
    const found = await this.require(
      registry,
      repositoryName,
      parsed.flatMap(({ digest }) => digest ?? []),
    );
    return parsed.map(({ text, digest }) => {
      if (!digest) return { digest: text, failure: isDigestText(text) ? 'missing' : 'invalid' };
      const layer = found.find((candidate) => candidate[digest.algorithm] === digest.hex);
      return layer ? { digest: text, layer } : { digest: text, failure: 'missing' };
    });
  }

  /** @throws RegistryError RepositoryNotFound, LayersNotFound */
  async find(registry: RegistryAddress, repositoryName: string, digest: Digest): Promise<Layer> {
    const [layer] = await this.require(registry, repositoryName, [digest]);
    if (!layer) throw RegistryError.layerNotFound(String(digest), repositoryName, registry.accountId);
    return layer;
  }

  /**
   * An absolute URL for a plain GET; only for layers an image references.
   * @throws RegistryError RepositoryNotFound, LayersNotFound, LayerInaccessible
   */
  async downloadUrl(registry: RegistryAddress, repositoryName: string, digest: Digest): Promise<string> {
    const layer = await this.find(registry, repositoryName, digest);
    if (layer.mediaType === null)
      throw RegistryError.layerInaccessible(String(digest), repositoryName, registry.accountId);
    return (await this.redirect(layer)) ?? this.ownUrl(layer);
  }

  /** A presigned URL of the store, or null when the service delivers the bytes itself. */
  async redirect(layer: Layer): Promise<string | null> {
    if (this.config.STOWAGE_BLOB_DELIVERY === 'stream' || !this.store.downloadUrl) return null;
    return this.store.downloadUrl(layer.objectKey, DOWNLOAD_SECONDS);
  }

  /** The bytes of a layer; reading them rejects with RegistryError LayersNotFound when the store lost them. */
  source({ objectKey, sizeBytes }: Pick<Layer, 'objectKey' | 'sizeBytes'>): LayerSource {
    const { store } = this;
    return {
      read: (range) => store.read(objectKey, range, sizeBytes).catch(asLost),
      send: store.send ? (range, sink) => store.send!(objectKey, range, sizeBytes, sink).catch(asLost) : null,
    };
  }

  /** The bytes behind a signed URL of ours. @throws RegistryError AccessDenied, LayersNotFound */
  async signedSource(wireUrl: string, layer: Pick<Layer, 'objectKey' | 'sizeBytes'>): Promise<LayerSource> {
    if (!this.signedUrls.verify(wireUrl))
      throw new RegistryError('AccessDenied', 'The download URL is not valid or has expired');
    // The URL outlives what it was signed for: the object may have been found damaged, or replaced, since.
    if (!(await this.layers.isServed(layer.objectKey)))
      throw new RegistryError('LayersNotFound', 'The layer does not exist any more');
    return this.source(layer);
  }

  /**
   * Makes a layer of `from` visible in `to` without moving a byte.
   * @returns false when `from` does not have it: the client then uploads
   * @throws RegistryError LimitExceeded
   */
  async mount(from: Repository, to: Repository, digest: Digest): Promise<boolean> {
    const outcome = await this.layers.mount(from, to, digest);
    faultPoint('layer-mounted');
    if (typeof outcome === 'object') {
      throw RegistryError.limitExceeded(
        `The layer does not fit into the repository or registry, which may store '${outcome.exceeded}' bytes`,
      );
    }
    return outcome === 'mounted';
  }

  /** Names of repositories of the registry that have the layer, for a mount that names no source. */
  async repositoriesWith(repository: Repository, digest: Digest): Promise<string[]> {
    return this.layers.repositoriesWith(repository.registryRow, digest);
  }

  /** @throws RegistryError LayersNotFound, MethodNotAllowed while an image needs it */
  async delete(repository: Repository, digest: Digest): Promise<void> {
    const layer = await this.find(repository.registry, repository.name, digest);
    const outcome = await this.layers.unlink(repository, layer.blobId);
    faultPoint('layer-unlinked');
    if (outcome === 'missing') throw RegistryError.layerNotFound(String(digest), ...named(repository));
    if (outcome === 'referenced')
      throw new RegistryError(
        'MethodNotAllowed',
        `The layer with digest '${String(digest)}' is referenced by an image`,
      );
  }

  private async require(
    registry: RegistryAddress,
    repositoryName: string,
    digests: Digest[],
  ): Promise<Layer[]> {
    const layers = await this.layers.findIn(registry, repositoryName, digests);
    if (!layers) throw RegistryError.repositoryNotFound(repositoryName, registry.accountId);
    const ageing = layers.filter((layer) => layer.ageing);
    if (ageing.length === 0) return layers;
    // Whoever is told that a layer is there may push an image of it for half the grace time at least.
    const renewed = await this.layers.renew(ageing);
    return layers.filter(({ ageing, blobId }) => !ageing || renewed.has(blobId));
  }

  private ownUrl(layer: Layer): string {
    const path = this.signedUrls.sign(
      `/layers/${encodeURIComponent(layer.objectKey)}/${layer.sizeBytes}`,
      DOWNLOAD_SECONDS,
    );
    return this.config.STOWAGE_PUBLIC_URL.replace(/\/$/, '') + path;
  }
}

function asLost(error: unknown): never {
  if (error instanceof BlobMissing)
    throw new RegistryError('LayersNotFound', 'The layer does not exist any more', {}, { cause: error });
  throw error;
}

/** ECR's syntax of a digest, wider than what can be stored. */
function isDigestText(text: string): boolean {
  return /^[a-zA-Z0-9\-_+.]+:[a-fA-F0-9]+$/.test(text);
}
