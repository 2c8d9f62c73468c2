import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { openRecords, type Records } from './records.js';
import { run } from '../support/commands.js';
import {
  type ServiceProcess,
  startReplicaProcess,
  startServiceProcess,
} from '../support/registry-process.js';
import { createEnvironment, replicaOf, type TestEnvironment } from '../support/test-environment.js';

const TEST_MS = 120_000;
const REFUSED = 'This database is used with another root key';

const otherSecret = (): Record<string, string> => ({
  STOWAGE_ROOT_SECRET_ACCESS_KEY: randomBytes(20).toString('hex'),
});

describe('The root key of a deployment', () => {
  let environment: TestEnvironment;
  let records: Records;
  let started: ServiceProcess[];

  beforeEach(async () => {
    environment = await createEnvironment({ store: 'filesystem' });
    records = openRecords(environment);
    started = [];
  });
  afterEach(async () => {
    for (const service of started) await service.kill('SIGKILL');
    await records.close();
    await environment.remove();
  });

  const start = async (config: Record<string, string> = {}): Promise<ServiceProcess> => {
    const service = await startServiceProcess(await replicaOf(environment, config));
    started.push(service);
    return service;
  };
  const refusalOf = async (config: Record<string, string>): Promise<string> => {
    const error = await start(config).then(
      () => undefined,
      (reason: unknown) => reason as Error,
    );
    expect(error?.message).toContain(REFUSED);
    // What an operator reads is the sentence: no secret, and no trace of the program.
    for (const secret of [environment.credentials.secretAccessKey, config['STOWAGE_ROOT_SECRET_ACCESS_KEY']])
      if (secret) expect(error!.message).not.toContain(secret);
    expect(error!.message).not.toMatch(/\n\s+at /);
    return error!.message;
  };

  it(
    'is asked of every process, whatever its role: one with another secret or another id does not start, one with the same does',
    async () => {
      const first = await start();
      const { accessKeyId } = environment.credentials;
      for (const role of ['both', 'api', 'worker'])
        expect(await refusalOf({ STOWAGE_ROLE: role, ...otherSecret() })).toContain(
          `the same access key id, ${accessKeyId}, but another secret`,
        );
      expect(await refusalOf({ STOWAGE_ROOT_ACCESS_KEY_ID: 'AKIAANOTHER' })).toContain(
        `the access key id ${accessKeyId}, and this process was given AKIAANOTHER`,
      );
      const second = await start();
      await second.kill('SIGTERM');
      await second.restart();
      expect(first.isRunning).toBe(true);
      const rows = await records.prisma.rootKey.findMany();
      expect(rows).toMatchObject([{ accessKeyId, fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
    },
    TEST_MS,
  );

  it(
    'is one, even when the first processes start at once with different ones',
    async () => {
      const other = otherSecret();
      const outcomes = await Promise.allSettled([start(), start(other), start(), start(other)]);
      const serving = outcomes.map(({ status }) => status === 'fulfilled');
      expect([
        [true, false, true, false],
        [false, true, false, true],
      ]).toContainEqual(serving);
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect((outcome.reason as Error).message).toContain(REFUSED);
      expect(await records.prisma.rootKey.count()).toBe(1);
    },
    TEST_MS,
  );

  it(
    'is changed by a command, after which the old one is refused and the new one signs',
    async () => {
      const config = otherSecret();
      const changed: TestEnvironment = {
        ...(await replicaOf(environment, config)),
        credentials: {
          ...environment.credentials,
          secretAccessKey: config['STOWAGE_ROOT_SECRET_ACCESS_KEY']!,
        },
      };
      expect(await run(changed, 'root-key')).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('not been used with any root key yet'),
      });
      const first = await start();
      expect(await run(environment, 'root-key')).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(
          /^Used with: AKIA\w+, since 2\S+\nThe key given here \(.+\) is accepted\.\n$/,
        ),
      });
      expect(await run(changed, 'root-key')).toMatchObject({
        code: 1,
        stdout: expect.stringContaining('is another one'),
      });
      await first.kill('SIGTERM');
      await refusalOf(config);
      expect(await run(changed, 'root-key', '--accept')).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('is accepted'),
      });
      await refusalOf({});
      const after = await startReplicaProcess(changed);
      started.push(after);
      expect((await after.fetchOci('/v2/')).status).toBe(200);
      expect(await records.prisma.rootKey.count()).toBe(1);
    },
    TEST_MS,
  );
});
