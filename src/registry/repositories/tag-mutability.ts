import { RegistryError } from '../../domain/registry-error.js';
import type { Repository, TagMutability } from './repository.js';

/** ECR: at most two `*` in one exclusion filter. */
const MAX_WILDCARDS = 2;

/**
 * A mode with exclusions needs filters, the others must have none (the observed service words both alike).
 * @throws RegistryError InvalidParameter
 */
export function assertExclusionFilters(mutability: TagMutability, filters: string[] | undefined): void {
  const takesFilters = mutability.endsWith('_WITH_EXCLUSION');
  if (takesFilters !== (filters !== undefined && filters.length > 0)) {
    throw RegistryError.invalidParameter(
      'imageTagMutabilityExclusionFilters',
      takesFilters
        ? `ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as ${mutability}`
        : `ImageTagMutabilityExclusionFilters must be null when imageTagMutability is set as ${mutability}`,
    );
  }
  if (filters?.some((filter) => filter.split('*').length - 1 > MAX_WILDCARDS)) {
    throw RegistryError.invalidParameter(
      'imageTagMutabilityExclusionFilters',
      `must not contain more than ${MAX_WILDCARDS} wildcards`,
    );
  }
}

/** Whether an existing tag may be pointed at another image. */
export function mayMoveTag(
  repository: Pick<Repository, 'tagMutability' | 'exclusionFilters'>,
  tag: string,
): boolean {
  const excluded = repository.exclusionFilters.some((filter) => matchesWildcard(filter, tag));
  switch (repository.tagMutability) {
    case 'MUTABLE':
      return true;
    case 'IMMUTABLE':
      return false;
    case 'MUTABLE_WITH_EXCLUSION':
      return !excluded;
    case 'IMMUTABLE_WITH_EXCLUSION':
      return excluded;
  }
}

/** Whole-text match, case-sensitive, `*` = any run of characters. Linear: each literal is looked for once, left to right. */
export function matchesWildcard(filter: string, text: string): boolean {
  const literals = filter.split('*');
  if (literals.length === 1) return filter === text;
  const head = literals[0]!;
  const tail = literals[literals.length - 1]!;
  if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
  let from = head.length;
  const end = text.length - tail.length;
  for (const literal of literals.slice(1, -1)) {
    const at = text.indexOf(literal, from);
    if (at === -1 || at + literal.length > end) return false;
    from = at + literal.length;
  }
  return true;
}
