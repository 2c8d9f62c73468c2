import type { Operation } from './operation.js';
import { READS } from './reads.js';
import { COLLECTION, INTEGRITY } from './upkeep.js';
import { PUSHES, REPOSITORIES, UPLOADS } from './writes.js';

/** Later ones delete what earlier ones ask for. */
export const OPERATIONS: Operation[] = [
  ...READS,
  ...UPLOADS,
  ...PUSHES,
  ...REPOSITORIES,
  ...COLLECTION,
  ...INTEGRITY,
];
