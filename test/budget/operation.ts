import { randomUUID } from 'node:crypto';
import { type Blob, layer } from '../support/images.js';
import type { PushedImage } from '../support/pushes.js';
import type { TestRegistry } from '../support/registry.js';
import type { S3Operation } from '../support/s3-operations.js';

/** What there is before any operation. */
export interface Stage {
  registry: TestRegistry;
  /** With over 100 images, tagged v0 … */
  repository: string;
  images: PushedImage[];
  /** Has nothing. */
  other: string;
}

/** Something a client does, and exactly what that costs. */
export interface Operation {
  name: string;
  /** Sent to PostgreSQL, without the edges of transactions. */
  statements: number;
  /** Each takes two round trips more. */
  transactions?: number;
  /** Requests to the store, in their order. */
  store?: S3Operation[];
  /** Makes what the operation needs; nothing of that counts. */
  prepare: (this: void, stage: Stage) => Promise<() => Promise<unknown>>;
}

const SMALL = 1_000;

/** One that needs nothing of its own. */
export function plain(
  name: string,
  statements: number,
  run: (stage: Stage) => Promise<unknown>,
  cost: Partial<Operation> = {},
): Operation {
  return { name, statements, ...cost, prepare: async (stage) => () => run(stage) };
}

export async function oci(
  { registry }: Stage,
  method: string,
  path: string,
  body?: Buffer | string,
  mediaType = 'application/octet-stream',
): Promise<Response> {
  const response = await registry.fetchOci(path, {
    method,
    redirect: 'manual',
    ...(body && { body: typeof body === 'string' ? body : new Uint8Array(body) }),
    headers: body ? { 'content-type': mediaType } : {},
  });
  if (response.status >= 400) throw new Error(`${response.status}: ${await response.text()}`);
  await response.arrayBuffer();
  return response;
}

export function fresh(bytes = SMALL): Blob {
  return layer(bytes, randomUUID());
}
