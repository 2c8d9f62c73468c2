import type { TestRegistry } from '../support/registry.js';
import { seededRepository, type Size } from './seed.js';

export interface Stage {
  registry: TestRegistry;
  size: Size;
}

/** Something a client or the service itself does: its statements may not get dearer, however much there is. */
export interface Operation {
  name: string;
  /** Rows that the answer or the work is made of. */
  rows: number;
  /** Images in front of those that are asked for, which an index passes over. */
  passedOver?: (this: void, size: Size) => number;
  /** Makes what the operation needs, for the n-th time; nothing of that counts. */
  prepare: (this: void, stage: Stage, n: number) => Promise<() => Promise<unknown>>;
}

export const LARGE = seededRepository(1);
export const PAGE = 100;

/** An operation that needs nothing but the seeded rows. */
export function plain(
  name: string,
  rows: number,
  run: (stage: Stage, n: number) => Promise<unknown>,
): Operation {
  return { name, rows, prepare: async (stage, n) => () => run(stage, n) };
}

async function expectOk(sent: Promise<Response>): Promise<Response> {
  const response = await sent;
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  await response.arrayBuffer();
  return response;
}

export async function oci(
  { registry }: Stage,
  method: string,
  path: string,
  init: RequestInit = {},
): Promise<Response> {
  return expectOk(registry.fetchOci(path, { method, redirect: 'manual', ...init }));
}

export function arnOf(repository: string): string {
  return `arn:aws:ecr:us-east-1:000000000000:repository/${repository}`;
}
