import { afterAll, beforeAll, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { collectFully, impatientCollector, objectsOf, running } from '../support/collecting.js';
import { CollectionModel, steps } from '../support/collection-model.js';
import { expectExactCounters } from '../support/recount.js';
import { startRegistry, startReplica, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';

/** More with STOWAGE_TEST_MODEL_RUNS; a failure names the seed, for STOWAGE_TEST_MODEL_SEED. */
const numRuns = Number(process.env['STOWAGE_TEST_MODEL_RUNS'] ?? 8);
const seed = process.env['STOWAGE_TEST_MODEL_SEED'];
const CLIENTS = 5;

describeEachStore(
  'Whatever is pushed, mounted, tagged, deleted, undeleted and collected at once',
  (store) => {
    const registries: TestRegistry[] = [];
    beforeAll(async () => {
      registries.push(
        await startRegistry({ store, config: { STOWAGE_ROLE: 'api', STOWAGE_DATABASE_CONNECTIONS: '12' } }),
      );
      registries.push(await startReplica(registries[0]!));
    });
    afterAll(async () => {
      for (const registry of registries.toReversed()) await registry.close();
    });

    it(
      'no byte of an image is lost, no promise broken, every counter exact, and nothing left behind in the end',
      async () => {
        const registry = registries[0]!;
        const todo = fc.array(steps, { minLength: CLIENTS, maxLength: CLIENTS });
        const property = fc.asyncProperty(todo, async (clients) => {
          const model = new CollectionModel(registries);
          await model.begin();
          await Promise.all(clients.map((steps, client) => model.run(client, steps)));
          await model.expectWhole();
          await expectExactCounters(registry.prisma);
          await model.undeleteAll();
          await collectFully(registry);
          await model.expectWhole();
          await expectExactCounters(registry.prisma);

          await model.deleteEverything();
          await model.age(registry, 48);
          await collectFully(registry);
          await impatientCollector(registry).collect(running);
          await impatientCollector(registry).sweep(running);
          expect(await objectsOf(registry)).toEqual([]);
          const left = await registry.prisma.$queryRaw<object[]>`
          SELECT (SELECT count(*)::int FROM blob) AS blobs, (SELECT count(*)::int FROM repository_layer) AS links,
            (SELECT count(*)::int FROM loose_layer) AS loose_layers, (SELECT count(*)::int FROM loose_blob) AS loose_blobs,
            (SELECT count(*)::int FROM doomed_object) AS doomed, (SELECT count(*)::int FROM deleted_image) AS deleted,
            (SELECT count(*)::int FROM deleted_image_layer) AS deleted_layers`;
          expect(Object.values(left[0]!)).toEqual([0, 0, 0, 0, 0, 0, 0]);
          await expectExactCounters(registry.prisma);
        });
        // Interleavings do not repeat, so a smaller example would prove nothing.
        await fc.assert(property, {
          numRuns,
          endOnFailure: true,
          ...(seed !== undefined && { seed: Number(seed) }),
        });
      },
      30_000 + numRuns * 30_000,
    );
  },
);
