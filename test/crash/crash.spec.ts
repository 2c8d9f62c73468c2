import { expect, it } from '@jest/globals';
import { describeEachStore } from '../support/stores.js';
import { live } from './harness.js';
import { everyPoint, plan } from './plan.js';

const SEED = 7;
const RANDOM_KILLS = 8;
const PATIENCE_MS = 600_000;

/** A few kills of each kind; `npm run crash` makes as many as wanted. */
describeEachStore('Nothing acknowledged is lost, half there or left over when the service dies', (store) => {
  it(
    'at any point between a step of the store and one of the database',
    async () => {
      const { findings } = await live(everyPoint(store, SEED), () => undefined);
      expect(findings).toEqual([]);
    },
    PATIENCE_MS,
  );

  it(
    'or its database, both or clients do at any moment',
    async () => {
      for (const life of plan([store], SEED, RANDOM_KILLS))
        expect((await live(life, () => undefined)).findings).toEqual([]);
    },
    PATIENCE_MS,
  );
});
