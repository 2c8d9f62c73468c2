import type { Config } from '../../config/config.js';

/**
 * Every limit of the registry in one table: its name in the `quota` table, the variable that sets it for the deployment, and
 * how a refusal is worded. Defaults are ECR's service quotas; the byte quotas are ours. Texts for images and tags follow the
 * observed service.
 */
export const QUOTAS = {
  repositoriesPerRegistry: { setting: 'STOWAGE_QUOTA_REPOSITORIES_PER_REGISTRY' },
  imagesPerRepository: { setting: 'STOWAGE_QUOTA_IMAGES_PER_REPOSITORY' },
  tagsPerImage: { setting: 'STOWAGE_QUOTA_TAGS_PER_IMAGE' },
  layersPerImage: { setting: 'STOWAGE_QUOTA_LAYERS_PER_IMAGE' },
  layerBytes: { setting: 'STOWAGE_QUOTA_LAYER_BYTES' },
  partsPerLayer: { setting: 'STOWAGE_QUOTA_PARTS_PER_LAYER' },
  partBytes: { setting: 'STOWAGE_QUOTA_PART_BYTES' },
  openUploadsPerRepository: { setting: 'STOWAGE_QUOTA_OPEN_UPLOADS_PER_REPOSITORY' },
  repositoryBytes: { setting: 'STOWAGE_QUOTA_REPOSITORY_BYTES' },
  registryBytes: { setting: 'STOWAGE_QUOTA_REGISTRY_BYTES' },
} as const satisfies Record<string, { setting: keyof Config }>;

export type QuotaName = keyof typeof QUOTAS;

/**
 * So far below a limit, pushes that run at the same moment cannot reach it together, and need not wait for each other. Beyond
 * it they are let in one at a time.
 */
export const UNSEEN_AT_MOST = 1_000;
