import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { layer } from '../support/images.js';
import { createRepository, MEBIBYTE } from '../support/pushes.js';
import type { S3Operation } from '../support/s3-operations.js';
import type { S3Fault } from '../support/s3-proxy.js';
import { acknowledged, DOORS, stepsAt, untilDone } from './push.js';
import {
  describeSickStore,
  expectNothingLeaked,
  expectTrue,
  type SickStore,
  startOnSickStore,
} from './sick-store.js';

const OPERATIONS: readonly [S3Operation, number][] = [
  ['CreateMultipartUpload', 6 * MEBIBYTE],
  ['UploadPart', 6 * MEBIBYTE],
  ['CompleteMultipartUpload', 6 * MEBIBYTE],
  ['PutObject', 1000],
];
const FAULTS: readonly [string, S3Fault][] = [
  ['does it and says so too late', { late: true }],
  ['never does it and never answers', { hold: true }],
];
const CASES = OPERATIONS.flatMap(([operation, size]) =>
  FAULTS.map(([what, fault], index) => ({ operation, size, what, fault, door: DOORS[index]! })),
);

describeSickStore('A push to a store that is silent for longer than it may be', () => {
  let sick: SickStore;
  let repository: string;
  beforeAll(async () => {
    sick = await startOnSickStore({ STOWAGE_S3_TIMEOUT_SECONDS: '2' });
    repository = await createRepository(sick.registry.ecr);
  });
  afterEach(() => sick.store.heal());
  afterAll(() => sick?.close());

  it.each(CASES)(
    'succeeds, and truly, when $operation once $what ($door door)',
    async ({ operation, size, what, fault, door }) => {
      const { registry, store } = sick;
      const blob = layer(size, `once ${operation} ${what}`);
      const steps = stepsAt(door, registry, repository);
      store.forget();
      store.on(operation, fault);
      expect(await steps.begin()).toBe('done');
      // Usually at once; but on a busy machine the store may be too slow a second time.
      await untilDone(() => steps.append(blob.bytes, 0));
      await untilDone(() => steps.complete(blob.digest));
      expect(store.faults).toBe(1);
      await expectTrue(registry, repository, blob);
    },
  );

  it.each(CASES)(
    'is refused for now while $operation always $what, and goes on afterwards ($door door)',
    async ({ operation, size, what, fault, door }) => {
      const { registry, store } = sick;
      const blob = layer(size, `always ${operation} ${what}`);
      const steps = stepsAt(door, registry, repository);
      store.on(operation, fault, { times: Infinity });
      expect(await steps.begin()).toBe('done');
      const appended = await steps.append(blob.bytes, 0);
      const offset = await acknowledged(registry, repository, steps.upload);
      expect(offset).toBe(appended === 'done' ? blob.size : 0);
      if (appended === 'done') expect(await steps.complete(blob.digest)).toBe('retry later');
      store.heal();
      if (appended !== 'done') await untilDone(() => steps.append(blob.bytes, 0));
      await untilDone(() => steps.complete(blob.digest));
      await expectTrue(registry, repository, blob);
    },
  );

  it('leaves nothing in the store that the collector does not find', () =>
    expectNothingLeaked(sick.registry));
});
