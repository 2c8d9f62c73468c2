import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { type JobQueue, loggedOf, metric, queueOf } from './jobs.js';
import { openRecords, type Records } from './records.js';
import { within } from '../restart/crash.js';
import { age, ageDoomed } from '../support/collecting.js';
import { layer } from '../support/images.js';
import { describeWhere } from '../support/programs.js';
import { beginUpload, createRepository, pushLayer } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import {
  type RegistryProcess,
  type ServiceProcess,
  startReplicaProcess,
  startServiceProcess,
} from '../support/registry-process.js';
import { s3IsAvailable } from '../support/stores.js';
import { createEnvironment, replicaOf, type TestEnvironment } from '../support/test-environment.js';

const JOB = 'collect-garbage';
/** Layers without an image, and as many uploads that nobody continues. */
const COUNT = 8;
/** The processes run one after another. */
const TEST_MS = 120_000;
const PATIENCE_MS = 30_000;

describeWhere(
  s3IsAvailable(),
  'Of the processes of a deployment,',
  'an S3 server',
  () => {
    let environment: TestEnvironment;
    let records: Records;
    let queue: JobQueue;
    let started: ServiceProcess[];

    beforeEach(async () => {
      environment = await createEnvironment({ store: 's3', config: { STOWAGE_LOG_LEVEL: 'info' } });
      records = openRecords(environment);
      queue = queueOf(records);
      started = [];
    });
    afterEach(async () => {
      for (const service of started) await service.kill('SIGKILL');
      await records.close();
      await environment.remove();
    });

    const start = async (role: string, config: Record<string, string> = {}): Promise<ServiceProcess> => {
      const service = await startServiceProcess(
        await replicaOf(environment, { STOWAGE_ROLE: role, ...config }),
      );
      started.push(service);
      return service;
    };
    const startApi = async (): Promise<RegistryProcess> => {
      const api = await startReplicaProcess(await replicaOf(environment, { STOWAGE_ROLE: 'api' }));
      started.push(api);
      return api;
    };
    /** What there is to collect, made through the door of a process, and long due. */
    const makeGarbage = async ({ ecr }: RegistryProcess): Promise<void> => {
      const repository = await createRepository(ecr);
      for (let n = 0; n < COUNT; n += 1) {
        await pushLayer(ecr, repository, layer(2_000 + n, `${repository} ${n}`));
        const upload = await beginUpload(ecr, repository);
        await upload.part(layer(1_000, `${repository} part ${n}`).bytes, 0);
      }
      await age(records, 48);
    };
    /** The job of a worker that died stays in the queue. */
    const untilDone = (died = 0): Promise<void> =>
      within(PATIENCE_MS, async () => (await queue.entries(JOB)) === died);
    const openUploads = (): Promise<number> => records.prisma.upload.count({ where: { state: 'open' } });
    const linkedLayers = (): Promise<number> => records.prisma.repositoryLayer.count();
    const sumOf = async (name: string, services: ServiceProcess[]): Promise<number> =>
      (await Promise.all(services.map((service) => metric(service, name)))).reduce((sum, n) => sum + n, 0);

    it(
      'one of role api serves clients and runs no job, and a worker runs those that are due',
      async () => {
        const api = await startApi();
        await makeGarbage(api);
        await queue.fall(JOB);
        // Nobody listens for jobs, no crontab has been made known, and nobody has taken the one that waits.
        expect(await queue.workers()).toBe(0);
        expect(await records.prisma.$queryRaw`SELECT * FROM graphile_worker._private_known_crontabs`).toEqual(
          [],
        );
        const worker = await start('worker');
        await untilDone();
        expect(await queue.workers()).toBe(1);
        expect(await openUploads()).toBe(0);
        expect(await linkedLayers()).toBe(0);
        for (const [name, count] of [
          ['stowage_collection_unlinked_layers_total', COUNT],
          ['stowage_collection_dropped_blobs_total', COUNT],
        ] as const) {
          expect([name, await metric(worker, name)]).toEqual([name, count]);
          expect([name, await metric(api, name)]).toEqual([name, 0]);
        }
        expect(api.output).not.toContain('Collected garbage');
        expect((await api.fetchOci('/v2/')).status).toBe(200);
      },
      TEST_MS,
    );

    it(
      'a worker opens no port for clients, answers at the operator’s, and ends in order',
      async () => {
        const worker = await start('worker');
        const { url, operatorUrl } = worker.environment;
        await expect(fetch(`${url}/v2/`)).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
        for (const path of ['/livez', '/readyz', '/metrics'])
          expect([path, (await fetch(`${operatorUrl}${path}`)).status]).toEqual([path, 200]);
        expect(await (await fetch(`${operatorUrl}/readyz`)).json()).toEqual({
          ready: true,
          checks: { database: 'ok', blobStore: 'ok', jobs: 'ok', port: 'ok' },
        });
        expect(await worker.kill('SIGTERM')).toBe(0);
      },
      TEST_MS,
    );

    it(
      'two workers handle every expired upload and every layer without an image once, however often the job is asked for',
      async () => {
        const workers = [await start('worker'), await start('worker')];
        const api = await startApi();
        expect(await queue.workers()).toBe(2);
        await makeGarbage(api);
        const failed = /The job \S+ failed/;
        for (let n = 0; n < 20; n += 1) await queue.fall(JOB);
        await untilDone();
        expect(await openUploads()).toBe(0);
        expect(await linkedLayers()).toBe(0);
        await ageDoomed(records.prisma, 2_000);
        await within(PATIENCE_MS, async () => {
          await queue.fall(JOB);
          return (await records.prisma.doomedObject.count()) === 0;
        });
        await untilDone();
        expect(await sumOf('stowage_collection_unlinked_layers_total', workers)).toBe(COUNT);
        expect(await sumOf('stowage_collection_dropped_blobs_total', workers)).toBe(COUNT);
        // Its lines of the log are written together, a moment later.
        const expired = (): number =>
          workers.reduce((sum, worker) => sum + loggedOf(worker, 'expiredUploads'), 0);
        await within(PATIENCE_MS, () => expired() >= COUNT);
        expect(expired()).toBe(COUNT);
        for (const worker of workers) expect(worker.output).not.toMatch(failed);
        await expectExactCounters(records.prisma);
      },
      TEST_MS,
    );

    it(
      'a second worker keeps its hands off a job in the middle of which another is, and takes it over when that one is killed',
      async () => {
        const api = await startApi();
        await makeGarbage(api);
        // It stops for good, with the expired uploads ended and everything else to be done.
        const first = await start('worker', {
          STOWAGE_TEST_FAULT_POINT: 'uploads-expired',
          STOWAGE_TEST_FAULT_SIGNAL: 'SIGSTOP',
        });
        await queue.fall(JOB);
        await within(PATIENCE_MS, () => first.output.includes('Fault point uploads-expired'));
        const second = await start('worker');
        await queue.fall(JOB);
        await untilDone(1);
        expect(await openUploads()).toBe(0);
        expect(await linkedLayers()).toBe(COUNT);
        expect(await metric(second, 'stowage_collection_reviewed_total')).toBe(0);

        expect(await first.kill('SIGKILL')).toBeNull();
        await within(PATIENCE_MS, async () => {
          await queue.fall(JOB);
          return (await linkedLayers()) === 0;
        });
        await untilDone(1);
        expect(await metric(second, 'stowage_collection_unlinked_layers_total')).toBe(COUNT);
        expect(await metric(second, 'stowage_collection_dropped_blobs_total')).toBe(COUNT);
        expect(loggedOf(second, 'expiredUploads')).toBe(0);
        await expectExactCounters(records.prisma);
      },
      TEST_MS,
    );
  },
  'REQUIRE_S3',
);
