import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { type Blob, layer } from '../support/images.js';
import { createRepository, MEBIBYTE } from '../support/pushes.js';
import { GARBAGE, INTERNAL_ERROR, SLOW_DOWN, WEB_PAGE } from '../support/s3-operations.js';
import type { S3Fault } from '../support/s3-proxy.js';
import { DOORS, pushPatiently } from './push.js';
import {
  describeSickStore,
  expectNothingLeaked,
  expectTrue,
  type SickStore,
  startOnSickStore,
} from './sick-store.js';

/** Another run of dice: `STOWAGE_TEST_SEED=7 npm test -- test/faults/random-faults.spec.ts`. */
const SEED = Number(process.env['STOWAGE_TEST_SEED'] ?? 1);
const FAULTS: readonly S3Fault[] = [
  INTERNAL_ERROR,
  SLOW_DOWN,
  { reset: 'before' },
  { reset: 'amid' },
  { reset: 'after' },
  { answer: WEB_PAGE },
  { change: () => GARBAGE },
  { delayMs: 50 },
  { truncateAt: 10 },
];
/** Of each of them, so that about every third request meets one. */
const PROBABILITY = 0.04;
const CLIENTS = 4;
const LAYERS = 8;

describeSickStore(`A store of which every third request goes wrong (seed ${SEED})`, () => {
  let sick: SickStore;
  beforeAll(async () => {
    sick = await startOnSickStore({}, SEED);
  });
  afterAll(() => sick?.close());

  it('costs patience, and not one byte', async () => {
    const { registry, store } = sick;
    const repository = await createRepository(registry.ecr);
    for (const fault of FAULTS) store.on('*', fault, { probability: PROBABILITY });
    const blobs: Blob[] = [];
    let refusals = 0;
    await Promise.all(
      Array.from({ length: CLIENTS }, async (_, client) => {
        for (let n = 0; n < LAYERS; n += 1) {
          const size = [700, 6 * MEBIBYTE, 13 * MEBIBYTE + n, MEBIBYTE][(client + n) % 4]!;
          const blob = layer(size, `random ${SEED} ${client} ${n}`);
          refusals += await pushPatiently(DOORS[client % 2]!, registry, repository, blob);
          blobs.push(blob);
        }
      }),
    );
    process.stdout.write(
      `${blobs.length} layers with seed ${SEED}: ${store.requests.length} requests to the store, ` +
        `${store.faults} met a fault, ${refusals} refusals came through to clients\n`,
    );
    expect(store.faults).toBeGreaterThan(store.requests.length / 5);
    store.heal();
    await expectTrue(registry, repository, ...blobs);
    await expectNothingLeaked(registry);
  }, 180_000);
});
