import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { layer } from '../support/images.js';
import { createRepository, MEBIBYTE } from '../support/pushes.js';
import { GARBAGE, INTERNAL_ERROR, type S3Operation, SLOW_DOWN, WEB_PAGE } from '../support/s3-operations.js';
import type { S3Fault } from '../support/s3-proxy.js';
import { acknowledged, DOORS, type Door, stepsAt } from './push.js';
import {
  describeSickStore,
  expectNothingLeaked,
  expectTrue,
  type SickStore,
  startOnSickStore,
} from './sick-store.js';

const FAULTS: Readonly<Record<string, S3Fault>> = {
  'answers 500': INTERNAL_ERROR,
  'answers 503 SlowDown': SLOW_DOWN,
  'answers 500 without a word': { answer: { status: 500 } },
  'resets the connection at once': { reset: 'before' },
  'resets the connection amid the request': { reset: 'amid' },
  'does it, and resets the connection instead of saying so': { reset: 'after' },
  'answers with a web page': { answer: WEB_PAGE },
  'answers with garbage': { answer: GARBAGE },
  'does it, and answers with a web page': { change: () => WEB_PAGE },
  'does it, and answers with garbage': { change: () => GARBAGE },
};

/** What a push needs of the store, with the sizes of the layers that need it. */
const OPERATIONS: Readonly<Partial<Record<S3Operation, number>>> = {
  CreateMultipartUpload: 6 * MEBIBYTE,
  UploadPart: 6 * MEBIBYTE,
  CompleteMultipartUpload: 6 * MEBIBYTE,
  PutObject: 1000,
};
const CASES = Object.entries(OPERATIONS).flatMap(([operation, size]) =>
  Object.keys(FAULTS).map((fault) => [operation as S3Operation, fault, size] as const),
);
let turn = 0;
/** Both doors by turns: below them there is one machinery. */
const nextDoor = (): Door => DOORS[(turn += 1) % 2]!;

let sick: SickStore;
let repository: string;

const onSickStore = (): void => {
  beforeAll(async () => {
    sick = await startOnSickStore();
    repository = await createRepository(sick.registry.ecr);
  });
  afterEach(() => sick.store.heal());
  afterAll(() => sick?.close());
};

describeSickStore('A push', () => {
  onSickStore();

  it.each(CASES)('succeeds, and truly, when %s once %s', async (operation, fault, size) => {
    const { registry, store } = sick;
    const blob = layer(size, `once ${operation} ${fault}`);
    const steps = stepsAt(nextDoor(), registry, repository);
    store.forget();
    store.on(operation, FAULTS[fault]!);
    expect(await steps.begin()).toBe('done');
    expect(await steps.append(blob.bytes, 0)).toBe('done');
    expect(await steps.complete(blob.digest)).toBe('done');
    expect(store.faults).toBe(1);
    await expectTrue(registry, repository, blob);
  });

  it('leaves nothing in the store that the collector does not find', () =>
    expectNothingLeaked(sick.registry));
});

describeSickStore('A push that no repetition helps', () => {
  onSickStore();

  it.each(CASES)(
    'is refused for now while %s always %s, and goes on where it stood afterwards',
    async (operation, fault, size) => {
      const { registry, store } = sick;
      const blob = layer(size, `always ${operation} ${fault}`);
      const steps = stepsAt(nextDoor(), registry, repository);
      store.forget();
      store.on(operation, FAULTS[fault]!, { times: Infinity });
      expect(await steps.begin()).toBe('done');
      const appended = await steps.append(blob.bytes, 0);
      expect(await acknowledged(registry, repository, steps.upload)).toBe(
        appended === 'done' ? blob.size : 0,
      );
      const completed = appended === 'done' ? await steps.complete(blob.digest) : appended;
      expect(completed).toBe('retry later');
      expect(store.faults).toBeGreaterThan(0);
      expect(await registry.prisma.blob.count({ where: { sha256: blob.digest.slice(7) } })).toBe(0);
      store.heal();
      if (appended !== 'done') expect(await steps.append(blob.bytes, 0)).toBe('done');
      expect(await steps.complete(blob.digest)).toBe('done');
      await expectTrue(registry, repository, blob);
    },
  );

  it('leaves nothing in the store that the collector does not find', () =>
    expectNothingLeaked(sick.registry));
});
