import { afterAll, beforeAll, expect, it } from '@jest/globals';
import {
  BatchDeleteImageCommand,
  BatchGetImageCommand,
  DeleteRepositoryCommand,
  DescribeRepositoriesCommand,
  GetDownloadUrlForLayerCommand,
  ImageTagAlreadyExistsException,
  LimitExceededException,
  PutImageTagMutabilityCommand,
  RepositoryNotFoundException,
} from '@aws-sdk/client-ecr';
import type { QuotaName } from '../../src/registry/quotas/quotas.js';
import { beginOciUpload } from '../restart/crash.js';
import { imageManifest, layer } from '../support/images.js';
import { describeWhere } from '../support/programs.js';
import {
  beginUpload,
  createRepository,
  pushImage,
  pushLayersOfImage,
  putImage,
  uploadOf,
} from '../support/pushes.js';
import { expectExactCounters } from '../support/recount.js';
import type { RegistryProcess } from '../support/registry-process.js';
import { s3IsAvailable } from '../support/stores.js';
import { type Deployment, startDeployment } from './deployment.js';
import { openRecords, type Records } from './records.js';

const REPLICAS = 4;
const CLIENTS = 24;
const PLACES = 5;

describeWhere(
  s3IsAvailable(),
  `What one of ${REPLICAS} replicas has acknowledged`,
  'S3 server',
  () => {
    let deployment: Deployment;
    let records: Records;
    let replicas: RegistryProcess[];
    let turn = 0;

    beforeAll(async () => {
      deployment = await startDeployment(REPLICAS, { STOWAGE_BLOB_DELIVERY: 'stream' });
      ({ replicas } = deployment);
      records = openRecords(deployment.environment);
    }, 120_000);

    afterAll(async () => {
      await records?.close();
      await deployment?.close();
    });

    /** Another replica with every call. */
    const next = (): RegistryProcess => replicas[(turn += 1) % REPLICAS]!;
    const everywhere = <Result>(work: (replica: RegistryProcess) => Promise<Result>): Promise<Result[]> =>
      Promise.all(replicas.map(work));
    const everyClient = <Result>(
      work: (replica: RegistryProcess, client: number) => Promise<Result>,
    ): Promise<Result[]> =>
      Promise.all(Array.from({ length: CLIENTS }, (_, client) => work(replicas[client % REPLICAS]!, client)));
    const all = <Value>(value: Value): Value[] => Array<Value>(REPLICAS).fill(value);
    const digestOf = (repository: string, tag: string) => (replica: RegistryProcess) =>
      replica
        .fetchOci(`/v2/${repository}/manifests/${tag}`)
        .then((response) => response.headers.get('docker-content-digest'));
    const statusOf = (path: string, method: string) => (replica: RegistryProcess) =>
      replica.fetchOci(path, { method }).then(({ status }) => status);
    const limit = async (name: QuotaName, value: number): Promise<void> => {
      const { id } = await records.prisma.registry.findFirstOrThrow({ where: { region: 'us-east-1' } });
      await records.prisma.quota.deleteMany();
      await records.prisma.quota.create({ data: { registryId: id, name, value: BigInt(value) } });
    };
    /** How many were accepted; any refusal but that of a quota fails the test. */
    const accepted = (outcomes: PromiseSettledResult<unknown>[]): number => {
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(LimitExceededException);
      return outcomes.filter(({ status }) => status === 'fulfilled').length;
    };

    it('is what all of them say of a moving tag', async () => {
      const repository = await createRepository(next().ecr);
      for (let n = 1; n <= 6; n += 1) {
        const { manifest } = await pushImage(next().ecr, repository, `moving ${n}`, ['latest']);
        expect(await everywhere(digestOf(repository, 'latest'))).toEqual(all(manifest.digest));
        const answers = await everywhere(({ ecr }) =>
          ecr.send(
            new BatchGetImageCommand({ repositoryName: repository, imageIds: [{ imageTag: 'latest' }] }),
          ),
        );
        expect(answers.map(({ images }) => images?.[0]?.imageId?.imageDigest)).toEqual(all(manifest.digest));
      }
    });

    it('is gone for all of them once it is deleted', async () => {
      const repository = await createRepository(next().ecr);
      const { manifest } = await pushImage(next().ecr, repository, 'deleted', ['v1']);
      await next().ecr.send(
        new BatchDeleteImageCommand({
          repositoryName: repository,
          imageIds: [{ imageDigest: manifest.digest }],
        }),
      );
      for (const reference of ['v1', manifest.digest])
        expect(await everywhere(statusOf(`/v2/${repository}/manifests/${reference}`, 'GET'))).toEqual(
          all(404),
        );

      const upload = await beginUpload(next().ecr, repository);
      const path = await beginOciUpload(next(), repository);
      await next().ecr.send(new DeleteRepositoryCommand({ repositoryName: repository, force: true }));
      for (const replica of replicas) {
        await expect(
          uploadOf(replica.ecr, repository, upload.id).part(layer(10).bytes, 0),
        ).rejects.toBeInstanceOf(RepositoryNotFoundException);
        await expect(beginUpload(replica.ecr, repository)).rejects.toBeInstanceOf(
          RepositoryNotFoundException,
        );
      }
      expect(await everywhere(statusOf(path, 'GET'))).toEqual(all(404));
      expect(await everywhere(statusOf(`/v2/${repository}/tags/list`, 'GET'))).toEqual(all(404));

      await createRepository(next().ecr, { repositoryName: repository });
      expect(await everywhere(statusOf(`/v2/${repository}/tags/list`, 'GET'))).toEqual(all(200));
      expect(await everywhere(statusOf(path, 'GET'))).toEqual(all(404));
    });

    it('binds all of them at once: tag mutability and quotas', async () => {
      const repositoryName = await createRepository(next().ecr);
      await pushImage(next().ecr, repositoryName, 'fixed', ['v1']);
      const other = await pushLayersOfImage(next().ecr, repositoryName, 'other');
      await next().ecr.send(
        new PutImageTagMutabilityCommand({ repositoryName, imageTagMutability: 'IMMUTABLE' }),
      );
      for (const { ecr } of replicas)
        await expect(putImage(ecr, repositoryName, other.manifest, 'v1')).rejects.toBeInstanceOf(
          ImageTagAlreadyExistsException,
        );

      await limit('imagesPerRepository', 1);
      for (const { ecr } of replicas)
        await expect(putImage(ecr, repositoryName, other.manifest, 'v2')).rejects.toBeInstanceOf(
          LimitExceededException,
        );
      await records.prisma.quota.deleteMany();
      await putImage(next().ecr, repositoryName, other.manifest, 'v2');
    });

    it('is honoured by all of them: login tokens, page tokens and download URLs', async () => {
      const repositoryName = await createRepository(next().ecr);
      const { layers } = await pushImage(next().ecr, repositoryName, 'tokens', ['v1']);
      const { token } = next();
      const headers = { authorization: `Basic ${token}` };
      const pulls = await everywhere((replica) =>
        replica.fetchOci(`/v2/${repositoryName}/manifests/v1`, { headers }),
      );
      expect(pulls.map(({ status }) => status)).toEqual(all(200));

      const { nextToken } = await next().ecr.send(new DescribeRepositoriesCommand({ maxResults: 1 }));
      const pages = await everywhere(({ ecr }) =>
        ecr.send(new DescribeRepositoriesCommand({ maxResults: 1, nextToken })),
      );
      const second = pages.map(({ repositories }) => repositories?.[0]?.repositoryName);
      expect(second).toEqual(all(second[0]));

      const { downloadUrl } = await next().ecr.send(
        new GetDownloadUrlForLayerCommand({ repositoryName, layerDigest: layers[0]!.digest }),
      );
      const { pathname, search } = new URL(downloadUrl!);
      const downloads = await everywhere(async ({ url }) =>
        Buffer.from(await (await fetch(url + pathname + search)).arrayBuffer()),
      );
      for (const bytes of downloads) expect(bytes.equals(layers[0]!.bytes)).toBe(true);
    });

    it(`leaves exactly ${PLACES} places to ${CLIENTS} clients of all of them: repositories, uploads, images, bytes`, async () => {
      const repository = await createRepository(next().ecr);
      const { repositoryCount } = await records.prisma.registry.findFirstOrThrow({
        where: { region: 'us-east-1' },
      });
      await limit('repositoriesPerRegistry', Number(repositoryCount) + PLACES);
      const created = await everyClient((replica) => settled(createRepository(replica.ecr)));
      expect(accepted(created)).toBe(PLACES);

      await limit('openUploadsPerRepository', PLACES);
      const begun = await everyClient((replica) => settled(beginUpload(replica.ecr, repository)));
      expect(accepted(begun)).toBe(PLACES);

      await records.prisma.quota.deleteMany();
      const { config, layers } = await pushLayersOfImage(next().ecr, repository, 'rivals');
      await limit('imagesPerRepository', PLACES);
      const put = await everyClient((replica, client) =>
        settled(
          putImage(
            replica.ecr,
            repository,
            imageManifest(config, layers, { annotations: { client: String(client) } }),
          ),
        ),
      );
      expect(accepted(put)).toBe(PLACES);

      await records.prisma.quota.deleteMany();
      const empty = await createRepository(next().ecr);
      const blobs = Array.from({ length: CLIENTS }, (_, client) => layer(1_000, `bytes ${client}`));
      const uploads = await everyClient(async (replica, client) => {
        const { id } = await beginUpload(replica.ecr, empty);
        // The bytes are at one replica, and the completion at the next.
        await uploadOf(replica.ecr, empty, id).part(blobs[client]!.bytes, 0);
        return id;
      });
      await limit('repositoryBytes', PLACES * 1_000 + 999);
      const completed = await everyClient((_, client) =>
        settled(
          uploadOf(replicas[(client + 1) % REPLICAS]!.ecr, empty, uploads[client]!).complete(
            blobs[client]!.digest,
          ),
        ),
      );
      expect(accepted(completed)).toBe(PLACES);
      await records.prisma.quota.deleteMany();
      await expectExactCounters(records.prisma);
    });
  },
  'REQUIRE_S3',
);

async function settled<Value>(call: Promise<Value>): Promise<PromiseSettledResult<Value>> {
  return (await Promise.allSettled([call]))[0];
}
