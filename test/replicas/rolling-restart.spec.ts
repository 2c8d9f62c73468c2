import { afterEach, expect, it } from '@jest/globals';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { applyMigrations } from '../../src/database/migrate.js';
import { balancerProgram } from './balancer.js';
import { type BalancedDeployment, startBalancedDeployment } from './deployment.js';
import { type Load, startLoad } from './load.js';
import { openRecords } from './records.js';
import { within } from '../restart/crash.js';
import { describeWhere } from '../support/programs.js';
import { expectExactCounters } from '../support/recount.js';
import { s3IsAvailable } from '../support/stores.js';

const PATIENCE_MS = 120_000;
/** Images to be acknowledged between one restart and the next. */
const PROGRESS = 4;

/** What a release may do to a database that the one before still uses: docs/operations/replicas.md. */
const NEXT_RELEASE = `
  CREATE TABLE next_release (id int PRIMARY KEY);
  ALTER TABLE image ADD COLUMN next_column text;
  ALTER TABLE upload ADD COLUMN next_column int NOT NULL DEFAULT 0;
  ALTER TABLE repository ADD COLUMN next_column timestamptz;
  CREATE INDEX next_release_idx ON image_tag (tag);
`;

describeWhere(
  s3IsAvailable() && balancerProgram('haproxy') !== undefined,
  'Behind a plain TCP balancer, with clients pushing and pulling at both doors,',
  'haproxy or an S3 server',
  () => {
    let deployment: BalancedDeployment | undefined;
    let load: Load | undefined;

    afterEach(async () => {
      await load?.stop().catch(() => undefined);
      await deployment?.close();
      load = deployment = undefined;
    });

    const begin = async (count: number, config: Record<string, string> = {}): Promise<void> => {
      // The replicas deliver the layers as well, so that long answers are under way like long requests.
      deployment = await startBalancedDeployment(count, { STOWAGE_BLOB_DELIVERY: 'stream', ...config });
      load = startLoad(deployment.client);
    };
    const progress = async (): Promise<void> => {
      const { length } = load!.images;
      await within(60_000, () => load!.images.length >= length + PROGRESS);
    };
    const expectNothingLost = async (what: string): Promise<void> => {
      await load!.stop();
      process.stdout.write(`${what}: ${load!.images.length} images, ${load!.retries} attempts made again\n`);
      await load!.verify(deployment!.client);
      const records = openRecords(deployment!.environment);
      try {
        await expectExactCounters(records.prisma);
      } finally {
        await records.close();
      }
    };

    it.each([
      [2, '0'],
      [4, '2'],
    ])(
      '%i replicas are restarted one after another and no request fails, with a drain time of %s s',
      async (count, seconds) => {
        await begin(count, { STOWAGE_DRAIN_SECONDS: seconds });
        for (const replica of deployment!.replicas) {
          await progress();
          expect(await replica.kill('SIGTERM')).toBe(0);
          await replica.restart();
        }
        await progress();
        await expectNothingLost(`Rolling restart of ${count}, drain time ${seconds} s`);
      },
      PATIENCE_MS,
    );

    it(
      'a replica is killed and comes back, twice, and no request fails',
      async () => {
        await begin(2);
        for (const replica of deployment!.replicas) {
          await progress();
          await replica.kill('SIGKILL');
          await progress();
          await replica.restart();
        }
        await progress();
        await expectNothingLost('Killing one of 2');
      },
      PATIENCE_MS,
    );

    it(
      'a newer release adds to the database while replicas of this one go on; none of this one starts after it',
      async () => {
        await begin(2);
        await progress();
        const folder = await mkdtemp(join(tmpdir(), 'stowage-next-'));
        try {
          await cp('prisma/migrations', folder, { recursive: true });
          await mkdir(join(folder, '9000_next'));
          await writeFile(join(folder, '9000_next/migration.sql'), NEXT_RELEASE);
          await applyMigrations(deployment!.environment.settings['DATABASE_URL']!, folder);
        } finally {
          await rm(folder, { recursive: true });
        }
        await progress();
        const [first] = deployment!.replicas;
        expect(await first!.kill('SIGTERM')).toBe(0);
        await expect(first!.restart()).rejects.toThrow('it was used by a newer one');
        await progress();
        await expectNothingLost('A newer release');
      },
      PATIENCE_MS,
    );
  },
  'REQUIRE_HAPROXY',
);
