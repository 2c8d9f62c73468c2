import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { layer } from '../support/images.js';
import { createRepository, MEBIBYTE } from '../support/pushes.js';
import { startReplica, type TestRegistry } from '../support/registry.js';
import { describeEachStore } from '../support/stores.js';
import { acknowledged, DOORS, stepsAt } from './push.js';
import { type SickDatabase, startOnSickDatabase } from './sick-database.js';
import { expectNothingLeaked, expectTrue } from './sick-store.js';

/** The statement that makes an upload a layer, in a transaction or by itself. */
const FINISHING = /state = 'completed'/;

describeEachStore(
  'A completion whose record the database did not take, though the store made the object',
  (store) => {
    let sick: SickDatabase;
    let replica: TestRegistry;
    let repository: string;
    beforeAll(async () => {
      sick = await startOnSickDatabase(store);
      replica = await startReplica(sick.registry);
      repository = await createRepository(sick.registry.ecr);
    });
    afterAll(async () => {
      await replica?.close();
      await sick?.close();
    });

    it.each(DOORS)('succeeds when it is repeated (%s door)', async (door) => {
      const blob = layer(7 * MEBIBYTE, `record ${door}`);
      const steps = stepsAt(door, sick.registry, repository);
      await steps.begin();
      for (const first of [0, 6 * MEBIBYTE])
        await steps.append(blob.bytes.subarray(first, first + 6 * MEBIBYTE), first);
      sick.database.on(FINISHING, 'lost request', { times: 2 });
      expect(await steps.complete(blob.digest)).toBe('retry later');
      expect(await steps.complete(blob.digest)).toBe('retry later');
      expect(await steps.complete(blob.digest)).toBe('done');
      await expectTrue(sick.registry, repository, blob);
    });

    it.each([1, 5 * MEBIBYTE, 17 * MEBIBYTE + 1])(
      'succeeds when it is repeated with the last %i bytes it brought, by any process',
      async (size) => {
        const blob = layer(6 * MEBIBYTE + size, `last bytes ${size}`);
        const steps = stepsAt('OCI', sick.registry, repository);
        await steps.begin();
        await steps.append(blob.bytes.subarray(0, 6 * MEBIBYTE), 0);
        const body = new Uint8Array(blob.bytes.subarray(6 * MEBIBYTE));
        const finish = async (by: TestRegistry, digest: string): Promise<number> => {
          const path = `/v2/${repository}/blobs/uploads/${steps.upload}?digest=${digest}`;
          const response = await by.fetchOci(path, { method: 'PUT', body });
          await response.arrayBuffer();
          return response.status;
        };
        sick.database.on(FINISHING, 'lost request', { times: 2 });
        expect(await finish(sick.registry, blob.digest)).toBe(503);
        expect(await finish(replica, layer(1).digest)).toBe(400);
        expect(await finish(replica, blob.digest)).toBe(503);
        expect(await finish(sick.registry, blob.digest)).toBe(201);
        await expectTrue(sick.registry, repository, blob);
      },
    );

    it('lets a client that asks where its upload stands go on from there, whatever it sent last', async () => {
      const [first, last] = [6 * MEBIBYTE, 12 * MEBIBYTE];
      const blob = layer(first + last, 'asked in between');
      const steps = stepsAt('OCI', sick.registry, repository);
      await steps.begin();
      await steps.append(blob.bytes.subarray(0, first), 0);
      const put = async (body?: Buffer): Promise<number> => {
        const path = `/v2/${repository}/blobs/uploads/${steps.upload}?digest=${blob.digest}`;
        const init = { method: 'PUT', ...(body && { body: new Uint8Array(body) }) };
        const response = await sick.registry.fetchOci(path, init);
        await response.arrayBuffer();
        return response.status;
      };
      sick.database.on(FINISHING, 'lost request', { times: 1 });
      expect(await put(blob.bytes.subarray(first))).toBe(503);
      // The bytes of the refused request count, or they do not; the client sends those that do not.
      let at = (await acknowledged(sick.registry, repository, steps.upload))!;
      expect([first, blob.size]).toContain(at);
      for (; at < blob.size; at += 5 * MEBIBYTE)
        expect(await steps.append(blob.bytes.subarray(at, at + 5 * MEBIBYTE), at)).toBe('done');
      expect(await put()).toBe(201);
      await expectTrue(sick.registry, repository, blob);
    });

    it('leaves nothing in the store that the collector does not find', () =>
      expectNothingLeaked(sick.registry));
  },
);
