import { describe, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { requiredEnvironment } from './postgres.js';

export const STORES = ['filesystem', 's3'] as const;
export type StoreName = (typeof STORES)[number];

export function s3IsAvailable(): boolean {
  return Boolean(process.env['STOWAGE_TEST_S3_ENDPOINT']);
}

/** The stores that can be tested here. Prefer {@link describeEachStore}, which also counts the others. */
export function stores(): StoreName[] {
  return STORES.filter((store) => store !== 's3' || s3IsAvailable());
}

/** The same promises for every store; where one cannot be tested, its tests are skipped aloud, or fail under REQUIRE_S3=1. */
export function describeEachStore(name: string, promises: (store: StoreName) => void): void {
  for (const store of STORES) {
    if (stores().includes(store)) {
      describe(`${name} (${store})`, () => promises(store));
    } else if (process.env['REQUIRE_S3'] === '1') {
      it(`${name} (${store})`, () => {
        throw new Error('REQUIRE_S3=1, but there is no S3 server to test with');
      });
    } else {
      describe.skip(`${name} (${store}): no S3 server`, () => promises(store));
    }
  }
}

/** Environment of a service that keeps its layers in a bucket of its own. The service makes the bucket. */
export function s3Environment(bucket = `test-${randomUUID()}`): Record<string, string> {
  return {
    STOWAGE_S3_ENDPOINT: requiredEnvironment('STOWAGE_TEST_S3_ENDPOINT'),
    STOWAGE_S3_BUCKET: bucket,
    STOWAGE_S3_ACCESS_KEY_ID: requiredEnvironment('STOWAGE_TEST_S3_ACCESS_KEY_ID'),
    STOWAGE_S3_SECRET_ACCESS_KEY: requiredEnvironment('STOWAGE_TEST_S3_SECRET_ACCESS_KEY'),
  };
}

/**
 * Settings under which redirected pulls reach the store at another host name than the registry's. Clients written in Go send their
 * Authorization along when only the port differs, and a store refuses a presigned URL that comes with one.
 */
export function storeUnderAnotherName(store: StoreName): Record<string, string> {
  if (store !== 's3') return {};
  const endpoint = requiredEnvironment('STOWAGE_TEST_S3_ENDPOINT');
  return { STOWAGE_S3_PUBLIC_ENDPOINT: endpoint.replace('127.0.0.1', 'localhost') };
}
