import type { Operation } from './operation.js';
import { LISTS, PULLS } from './reads.js';
import { ECR_UPLOADS, OCI_UPLOADS, PUSHES } from './writes.js';

export const OPERATIONS: Operation[] = [...PULLS, ...LISTS, ...ECR_UPLOADS, ...OCI_UPLOADS, ...PUSHES];
