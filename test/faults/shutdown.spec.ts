import { expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { layer } from '../support/images.js';
import { createRepository, MEBIBYTE } from '../support/pushes.js';
import { startReplica } from '../support/registry.js';
import { pushPatiently, stepsAt } from './push.js';
import { startOnSickDatabase } from './sick-database.js';
import { describeSickStore, expectTrue, startOnSickStore } from './sick-store.js';

const PATIENCE_MS = 120_000;
const SOON = { STOWAGE_SHUTDOWN_SECONDS: '0' };

describeSickStore('A service that is told to end', () => {
  it(
    'ends although the store never answers, and leaves the upload to others where it stood',
    async () => {
      const sick = await startOnSickStore();
      try {
        const repository = await createRepository(sick.registry.ecr);
        const ending = await startReplica(sick.registry, SOON);
        const blob = layer(12 * MEBIBYTE, 'ending');
        const steps = stepsAt('OCI', ending, repository);
        await steps.begin();
        await steps.append(blob.bytes.subarray(0, 6 * MEBIBYTE), 0);
        sick.store.on('*', { hold: true }, { times: Infinity });
        const path = `/v2/${repository}/blobs/uploads/${steps.upload}`;
        const body = new Uint8Array(blob.bytes.subarray(6 * MEBIBYTE));
        const cut = ending.fetchOci(path, { method: 'PATCH', body }).then(
          () => 'answered',
          () => 'cut',
        );
        while (sick.store.held === 0) await sleep(10);
        await ending.close();
        expect(await cut).toBe('cut');
        sick.store.heal();
        const status = await sick.registry.fetchOci(path);
        expect(status.headers.get('range')).toBe(`0-${6 * MEBIBYTE - 1}`);
        const rest = await sick.registry.fetchOci(path, { method: 'PATCH', body });
        expect(rest.status).toBe(202);
        const done = await sick.registry.fetchOci(`${path}?digest=${blob.digest}`, { method: 'PUT' });
        expect(done.status).toBe(201);
        await expectTrue(sick.registry, repository, blob);
      } finally {
        await sick.close();
      }
    },
    PATIENCE_MS,
  );

  it(
    'ends although the database never answers',
    async () => {
      const sick = await startOnSickDatabase('filesystem', { STOWAGE_DATABASE_TIMEOUT_SECONDS: '3' });
      try {
        const repository = await createRepository(sick.registry.ecr);
        const ending = await startReplica(sick.registry, SOON);
        const push = (seed: string) => pushPatiently('ECR', sick.registry, repository, layer(1000, seed));
        await push('before');
        sick.database.swallow();
        const asking = Promise.allSettled([1, 2, 3].map(() => stepsAt('ECR', ending, repository).begin()));
        await ending.close();
        await asking;
        await sick.database.restore();
        await push('after');
      } finally {
        await sick.close();
      }
    },
    PATIENCE_MS,
  );
});
