import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  DeleteRepositoryCommand,
  DescribeRepositoriesCommand,
  LimitExceededException,
} from '@aws-sdk/client-ecr';
import { QUOTAS, type QuotaName } from '../../src/registry/quotas/quotas.js';
import { createRepository, pushImage } from '../support/pushes.js';
import { type Place, QUOTA_NAMES, QUOTA_PROBES } from '../support/quota-probes.js';
import { refusal } from '../support/refusal.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

/** What is limited over the whole registry has no limit of one repository. */
const OF_REPOSITORIES = QUOTA_NAMES.filter(
  (name) => name !== 'repositoriesPerRegistry' && name !== 'registryBytes',
);

describe('A row of the quota table', () => {
  let registry: TestRegistry;
  let place: Place;
  beforeAll(async () => (registry = await startRegistry({ store: 'filesystem' })));
  afterAll(() => registry?.close());
  beforeEach(async () => (place = { registry, repository: await createRepository(registry.ecr) }));
  afterEach(async () => {
    await registry.prisma.quota.deleteMany();
    const { repositories } = await registry.ecr.send(new DescribeRepositoriesCommand({}));
    for (const { repositoryName } of repositories!)
      await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName, force: true }));
  });

  const setLimit = async (
    of: 'registry' | 'repository',
    name: string,
    value: number | null,
  ): Promise<void> => {
    const { id, registryId } = await registry.prisma.repository.findFirstOrThrow({
      where: { name: place.repository },
    });
    await registry.prisma.quota.create({
      data: {
        registryId,
        repositoryId: of === 'repository' ? id : null,
        name,
        value: value === null ? null : BigInt(value),
      },
    });
  };
  const refused = async (name: QuotaName, limit: number): Promise<void> => {
    const probe = QUOTA_PROBES[name];
    const error = await refusal(probe.exceed(place), LimitExceededException);
    expect(error.message).toBe(probe.refusal(place, limit));
  };

  it.each(QUOTA_NAMES)(
    'limits %s in the registry, at either door, and only while it is there',
    async (name) => {
      const probe = QUOTA_PROBES[name];
      await setLimit('registry', name, probe.limit);
      await probe.useUp(place);
      await refused(name, probe.limit);
      if (probe.exceedAtOci) expect((await probe.exceedAtOci(place)).status).toBe(403);
      await registry.prisma.quota.deleteMany();
      await probe.exceed(place);
    },
  );

  it.each(OF_REPOSITORIES)('limits %s in one repository, whatever the registry allows', async (name) => {
    const probe = QUOTA_PROBES[name];
    await setLimit('registry', name, null);
    await setLimit('repository', name, probe.limit);
    await probe.useUp(place);
    await refused(name, probe.limit);
    const other = { registry, repository: await createRepository(registry.ecr) };
    await probe.useUp(other);
    await probe.exceed(other);
  });

  it.each(OF_REPOSITORIES)('lifts the limit of %s for one repository', async (name) => {
    const probe = QUOTA_PROBES[name];
    await setLimit('registry', name, probe.limit);
    await setLimit('repository', name, null);
    await probe.useUp(place);
    await probe.exceed(place);
  });

  it('of a repository goes with it', async () => {
    await setLimit('repository', 'imagesPerRepository', 0);
    await refusal(pushImage(registry.ecr, place.repository, 'none'), LimitExceededException);
    await registry.ecr.send(new DeleteRepositoryCommand({ repositoryName: place.repository, force: true }));
    await createRepository(registry.ecr, { repositoryName: place.repository });
    await pushImage(registry.ecr, place.repository, 'one');
  });

  it('with a name that is no quota limits nothing', async () => {
    for (const name of ['images', 'constructor', 'toString', '']) await setLimit('registry', name, 0);
    await pushImage(registry.ecr, place.repository, 'any');
  });

  it('can stand once for the registry and once for each repository', async () => {
    for (const scope of ['registry', 'repository'] as const) {
      await setLimit(scope, 'imagesPerRepository', 1);
      await expect(setLimit(scope, 'imagesPerRepository', 2)).rejects.toMatchObject({ code: 'P2002' });
    }
  });

  it('lifts what the configuration limits', async () => {
    const settings = QUOTA_NAMES.map((name) => [QUOTAS[name].setting, String(QUOTA_PROBES[name].limit)]);
    const limited = await startRegistry({ store: 'filesystem', config: Object.fromEntries(settings) });
    try {
      await createRepository(limited.ecr);
      const { id } = await limited.prisma.registry.findFirstOrThrow();
      await limited.prisma.quota.createMany({
        data: QUOTA_NAMES.map((name) => ({ registryId: id, name, value: null })),
      });
      for (const name of QUOTA_NAMES) {
        const probe = QUOTA_PROBES[name];
        const target = { registry: limited, repository: await createRepository(limited.ecr) };
        await probe.useUp(target);
        await probe.exceed(target);
      }
    } finally {
      await limited.close();
    }
  });
});
