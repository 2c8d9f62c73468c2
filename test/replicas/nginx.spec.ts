import { afterEach, expect, it } from '@jest/globals';
import { DescribeRegistryCommand, ServerException } from '@aws-sdk/client-ecr';
import { balancerProgram } from './balancer.js';
import { type BalancedDeployment, startBalancedDeployment } from './deployment.js';
import { type Load, startLoad } from './load.js';
import { within } from '../restart/crash.js';
import { describeWhere } from '../support/programs.js';
import { s3IsAvailable } from '../support/stores.js';

const PATIENCE_MS = 120_000;
/** Images to be acknowledged between one restart and the next. */
const PROGRESS = 4;

describeWhere(
  s3IsAvailable() && balancerProgram('nginx') !== undefined,
  'Behind nginx as an HTTP proxy, with clients pushing and pulling at both doors,',
  'nginx or an S3 server',
  () => {
    let deployment: BalancedDeployment | undefined;
    let load: Load | undefined;
    afterEach(async () => {
      await load?.stop().catch(() => undefined);
      await deployment?.close();
    });

    it(
      'a request that no replica answers is refused so that clients of both doors understand it and try again',
      async () => {
        deployment = await startBalancedDeployment(2, {}, 'nginx');
        const { client, replicas } = deployment;
        for (const replica of replicas) await replica.kill('SIGKILL');
        const refused = await client.ecr
          .send(new DescribeRegistryCommand({}))
          .catch((error: unknown) => error);
        expect(refused).toBeInstanceOf(ServerException);
        expect((refused as ServerException).$metadata.httpStatusCode).toBe(503);
        const answer = await client.fetchOci('/v2/');
        expect(answer.status).toBe(503);
        expect(answer.headers.get('retry-after')).toBe('1');
        expect(await answer.json()).toMatchObject({ errors: [{ code: 'UNKNOWN' }] });
      },
      PATIENCE_MS,
    );

    it(
      'two replicas are restarted one after another and no request fails',
      async () => {
        deployment = await startBalancedDeployment(2, { STOWAGE_BLOB_DELIVERY: 'stream' }, 'nginx');
        load = startLoad(deployment.client);
        const progress = async (): Promise<void> => {
          const { length } = load!.images;
          await within(60_000, () => load!.images.length >= length + PROGRESS);
        };
        for (const replica of deployment.replicas) {
          await progress();
          expect(await replica.kill('SIGTERM')).toBe(0);
          await progress();
          await replica.restart();
        }
        await progress();
        await load.stop();
        process.stdout.write(`nginx: ${load.images.length} images, ${load.retries} attempts made again\n`);
        await load.verify(deployment.client);
      },
      PATIENCE_MS,
    );
  },
);
