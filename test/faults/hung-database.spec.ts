import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { DescribeImagesCommand, DescribeRepositoriesCommand } from '@aws-sdk/client-ecr';
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { JobsPrismaService } from '../../src/database/jobs-prisma.service.js';
import { imageManifest, layer } from '../support/images.js';
import { createRepository, MEBIBYTE, pushImage, pushLayer, putImage } from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import { ecrOutcome, ociOutcome, type Outcome } from './outcome.js';
import { pushPatiently, stepsAt, untilDone } from './push.js';
import { type SickDatabase, startOnSickDatabase } from './sick-database.js';
import { expectTrue } from './sick-store.js';

const CONNECTIONS = 4;

let sick: SickDatabase;
let repository: string;
let direct: pg.Client;

beforeAll(async () => {
  sick = await startOnSickDatabase('filesystem', {
    STOWAGE_DATABASE_CONNECTIONS: String(CONNECTIONS),
    // Locks and connections are waited for a third of that.
    STOWAGE_DATABASE_TIMEOUT_SECONDS: '3',
  });
  direct = new pg.Client({ connectionString: sick.directUrl });
  await direct.connect();
  repository = await createRepository(sick.registry.ecr);
});
afterEach(() => sick.database.restore());
afterAll(async () => {
  await direct?.end();
  await sick?.close();
});

const describeRepositories = (): Promise<Outcome> =>
  ecrOutcome(sick.registry.ecr.send(new DescribeRepositoriesCommand({})));
const create = (): Promise<Outcome> =>
  ecrOutcome(createRepository(sick.registry.ecr, { repositoryName: `hung/${randomUUID()}` }));
const getManifest = (tag: string): Promise<Outcome> =>
  ociOutcome(sick.registry.fetchOci(`/v2/${repository}/manifests/${tag}`));

/** The registry serves on, with all the connections it may have; on a busy machine a few of these wait too long for one. */
async function expectRecovered(): Promise<void> {
  await untilDone(describeRepositories);
  await Promise.all(Array.from({ length: 3 * CONNECTIONS }, () => untilDone(create)));
  await expectExactCounters(sick.registry.prisma);
}

describe('A database that takes everything and answers nothing', () => {
  it('holds no request for ever, and is served again as soon as it answers', async () => {
    await pushImage(sick.registry.ecr, repository, 'swallowed', ['here']);
    const blob = layer(2 * MEBIBYTE, 'swallowed');
    const steps = stepsAt('OCI', sick.registry, repository);
    await steps.begin();
    await steps.append(blob.bytes.subarray(0, MEBIBYTE), 0);
    // Connections of the pool, which this moment go silent.
    await Promise.all(Array.from({ length: CONNECTIONS }, describeRepositories));
    sick.database.swallow();
    const outcomes = await Promise.all([
      ...Array.from({ length: 2 * CONNECTIONS }, describeRepositories),
      create(),
      getManifest('here'),
      steps.append(blob.bytes.subarray(MEBIBYTE), MEBIBYTE),
      steps.complete(blob.digest),
    ]);
    expect(new Set(outcomes)).toEqual(new Set(['retry later']));
    await sick.database.restore();
    await expectRecovered();
    await untilDone(() => steps.append(blob.bytes.subarray(MEBIBYTE), MEBIBYTE));
    await untilDone(() => steps.complete(blob.digest));
    await expectTrue(sick.registry, repository, blob);
  }, 60_000);

  it.each([
    ['a statement', /SET offset_bytes|INSERT INTO image /],
    ['the end of a transaction', /^COMMIT/],
  ])(
    'and does so with %s only, holds neither the request nor the connection',
    async (_what, text) => {
      const config = layer(300, `no reply ${String(text)}`);
      await pushLayer(sick.registry.ecr, repository, config);
      const manifest = imageManifest(config, []);
      const before = sick.database.faults;
      sick.database.on(text, 'no reply', { times: CONNECTIONS });
      const puts = await Promise.all(
        Array.from({ length: CONNECTIONS }, (_, n) =>
          ecrOutcome(putImage(sick.registry.ecr, repository, manifest, `v${n}`)),
        ),
      );
      expect(puts).toContain('retry later');
      expect(sick.database.faults).toBeGreaterThan(before);
      await sick.database.restore();
      await expectRecovered();
    },
    60_000,
  );
});

describe('A lock that somebody holds', () => {
  afterEach(() => direct.query('ROLLBACK'));

  it('is waited for only so long, and harms nobody who does not need it', async () => {
    await pushImage(sick.registry.ecr, repository, 'locked', ['locked']);
    await getManifest('locked');
    await direct.query('BEGIN');
    await direct.query('LOCK TABLE upload IN ACCESS EXCLUSIVE MODE');
    const steps = stepsAt('ECR', sick.registry, repository);
    expect(await steps.begin()).toBe('retry later');
    expect(await getManifest('locked')).toBe('done');
    await direct.query('ROLLBACK');
    expect(await pushPatiently('ECR', sick.registry, repository, layer(1000, 'unlocked'))).toBe(0);
  }, 60_000);

  it('and that takes all connections lets requests go again, without a restart', async () => {
    await pushImage(sick.registry.ecr, repository, 'exhausted', ['exhausted']);
    await direct.query('BEGIN');
    await direct.query('LOCK TABLE upload IN ACCESS EXCLUSIVE MODE');
    const steps = stepsAt('ECR', sick.registry, repository);
    const waiting = Array.from({ length: 10 * CONNECTIONS }, () => steps.begin());
    // Reads find no free connection either, and are answered all the same.
    const reads = Array.from({ length: 2 * CONNECTIONS }, () => getManifest('exhausted'));
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['retry later']));
    await Promise.all(reads);
    await untilDone(() => getManifest('exhausted'));
    await direct.query('ROLLBACK');
    await expectRecovered();
  }, 60_000);
});

describe('A statement that takes too long', () => {
  afterEach(() => direct.query('DROP TRIGGER IF EXISTS slow ON repository_layer'));

  it('is ended by the server, changes nothing, and succeeds when it is repeated later', async () => {
    await direct.query(`CREATE FUNCTION sleepy() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN PERFORM pg_sleep(600); RETURN NEW; END'`);
    await direct.query(
      'CREATE TRIGGER slow BEFORE INSERT ON repository_layer FOR EACH ROW EXECUTE FUNCTION sleepy()',
    );
    const blob = layer(1000, 'slow statement');
    const steps = stepsAt('OCI', sick.registry, repository);
    await steps.begin();
    await steps.append(blob.bytes, 0);
    expect(await steps.complete(blob.digest)).toBe('retry later');
    const { rows } = await direct.query<{ asleep: string }>(
      `SELECT count(*) AS asleep FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`,
    );
    expect(rows).toEqual([{ asleep: '0' }]);
    expect(await sick.registry.prisma.blob.count({ where: { sha256: blob.digest.slice(7) } })).toBe(0);
    await direct.query('DROP TRIGGER slow ON repository_layer');
    expect(await steps.complete(blob.digest)).toBe('done');
    await expectTrue(sick.registry, repository, blob);
  }, 60_000);
});

describe('A job', () => {
  it('is given more time for a statement than a request', async () => {
    const asleep = 'SELECT pg_sleep(4)::text';
    await expect(sick.registry.prisma.$queryRawUnsafe(asleep)).rejects.toThrow('statement timeout');
    const jobs = sick.registry.app.get(JobsPrismaService);
    expect(await jobs.$queryRawUnsafe(asleep)).toHaveLength(1);
  }, 60_000);
});

describe('A database that only reads, as one does in a fail-over,', () => {
  const sessions = async (setting: 'SET default_transaction_read_only = on' | 'RESET ALL'): Promise<void> => {
    const { rows } = await direct.query<{ name: string }>('SELECT current_database() AS name');
    await direct.query(`ALTER DATABASE ${rows[0]!.name} ${setting}`);
  };
  afterEach(() => sessions('RESET ALL'));

  it('is read from, refuses writes for now, and is written to again once another server leads', async () => {
    const { layers } = await pushImage(sick.registry.ecr, repository, 'read only', ['read-only']);
    await sessions('SET default_transaction_read_only = on');
    await sick.database.cut();
    await sick.database.restore();
    // Never pulled before: a pull that cannot be recorded is a pull.
    await untilDone(() => getManifest('read-only'));
    const described = new DescribeImagesCommand({ repositoryName: repository });
    expect(await ecrOutcome(sick.registry.ecr.send(described))).toBe('done');
    const head = await sick.registry.fetchOci(`/v2/${repository}/blobs/${layers[0]!.digest}`, {
      method: 'HEAD',
    });
    expect(head.status).toBe(200);
    for (let n = 0; n < 2 * CONNECTIONS; n += 1) expect(await create()).toBe('retry later');
    await Promise.all(Array.from({ length: CONNECTIONS }, describeRepositories));
    // The connections that are open stay read-only for as long as they live.
    await sessions('RESET ALL');
    await expectRecovered();
  }, 60_000);
});
