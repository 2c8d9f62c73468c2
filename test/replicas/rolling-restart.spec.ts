import { afterEach, expect, it } from '@jest/globals';
import { haproxy } from './balancer.js';
import { type BalancedDeployment, startBalancedDeployment } from './deployment.js';
import { type Load, startLoad } from './load.js';
import { openRecords } from './records.js';
import { within } from '../restart/crash.js';
import { describeWhere } from '../support/programs.js';
import { expectExactCounters } from '../support/recount.js';
import { s3IsAvailable } from '../support/stores.js';

const PATIENCE_MS = 120_000;
/** Images to be acknowledged between one restart and the next. */
const PROGRESS = 8;

describeWhere(
  s3IsAvailable() && haproxy() !== undefined,
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

    it.each([2, 4])(
      '%i replicas are restarted one after another and no request fails',
      async (count) => {
        await begin(count);
        for (const replica of deployment!.replicas) {
          await progress();
          expect(await replica.kill('SIGTERM')).toBe(0);
          await replica.restart();
        }
        await progress();
        await expectNothingLost(`Rolling restart of ${count}`);
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
  },
  'REQUIRE_HAPROXY',
);
