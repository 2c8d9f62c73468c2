import { isPlainText } from '../../domain/plain-text.js';
import { RegistryError } from '../../domain/registry-error.js';

/** ECR's largest page; a larger `n` is answered with this many items and a link to the rest. */
export const MAX_PAGE_SIZE = 1000;
/** Items of a page that was asked for without `n`. */
export const DEFAULT_PAGE_SIZE = 100;

/** `n` and `last` of a listing of the distribution API. */
export interface PageQuery {
  /** 0 to {@link MAX_PAGE_SIZE}; 0 asks for an empty list. */
  n: number;
  last?: string;
}

/**
 * @param defaultSize the page when `n` is absent
 * @throws RegistryError InvalidParameter unless `n` is an integer of at least 0
 */
export function pageQuery(query: unknown, defaultSize: number = DEFAULT_PAGE_SIZE): PageQuery {
  const { n, last } = (query ?? {}) as { n?: unknown; last?: unknown };
  const page: PageQuery = { n: n === undefined ? defaultSize : pageSize(n) };
  if (last !== undefined && (typeof last !== 'string' || !isPlainText(last))) {
    throw RegistryError.invalidParameter('last', 'must be one plain text');
  }
  if (last !== undefined && last !== '') page.last = last;
  return page;
}

function pageSize(n: unknown): number {
  if (typeof n !== 'string' || !/^\d{1,15}$/.test(n)) {
    throw RegistryError.invalidParameter('n', 'must be an integer greater than or equal to 0');
  }
  return Math.min(Number(n), MAX_PAGE_SIZE);
}
