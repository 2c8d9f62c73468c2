import type { RegistryAddress } from '../../domain/registry-address.js';
import type { Limits } from '../quotas/quotas.service.js';

export type TagMutability = 'MUTABLE' | 'IMMUTABLE' | 'MUTABLE_WITH_EXCLUSION' | 'IMMUTABLE_WITH_EXCLUSION';

export interface Tag {
  key: string;
  value: string;
}

/** A repository as the rules see it, with the limits that hold in it. */
export interface Repository {
  id: bigint;
  registry: RegistryAddress;
  registryRow: bigint;
  name: string;
  createdAt: Date;
  tagMutability: TagMutability;
  /** Whole-tag wildcards of the `_WITH_EXCLUSION` modes. */
  exclusionFilters: string[];
  scanOnPush: boolean;
  limits: Limits;
}

/** Repository name and registry id, as most messages name them. */
export function named(repository: Repository): [name: string, registryId: string] {
  return [repository.name, repository.registry.accountId];
}
