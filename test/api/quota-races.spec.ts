import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { LayerAlreadyExistsException, LimitExceededException } from '@aws-sdk/client-ecr';
import type { QuotaName } from '../../src/registry/quotas/quotas.js';
import { type Blob, imageManifest, layer, type Manifest } from '../support/images.js';
import {
  beginUpload,
  createRepository,
  pushLayer,
  pushLayersOfImage,
  putImage,
  uploadOf,
} from '../support/pushes.js';
import { countedIn, expectExactCounters } from '../support/recount.js';
import { startRegistry, startReplica, type TestRegistry } from '../support/registry.js';

const CLIENTS = 32;
const PLACES = 5;

describe(`When ${CLIENTS} clients of two processes want the last ${PLACES} places, exactly ${PLACES} get one`, () => {
  let registry: TestRegistry;
  let replica: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ store: 'filesystem' });
    replica = await startReplica(registry);
  });
  afterAll(async () => {
    await replica?.close();
    await registry?.close();
  });
  afterEach(async () => {
    await expectExactCounters(registry.prisma);
    await registry.prisma.quota.deleteMany();
  });

  const at = (client: number): TestRegistry => (client % 2 === 0 ? registry : replica);
  const everyClient = <Result>(work: (client: number) => Promise<Result>): Promise<Result[]> =>
    Promise.all(Array.from({ length: CLIENTS }, (_, client) => work(client)));
  const limit = async (name: QuotaName, value: number): Promise<void> => {
    const { id } = await registry.prisma.registry.upsert({
      where: { accountId_region: { accountId: '000000000000', region: 'us-east-1' } },
      create: { accountId: '000000000000', region: 'us-east-1' },
      update: {},
    });
    await registry.prisma.quota.create({ data: { registryId: id, name, value: BigInt(value) } });
  };
  /** @returns whether the call was accepted; any refusal but that of a quota fails the test */
  const accepted = async (call: Promise<unknown>): Promise<boolean> => {
    try {
      await call;
      return true;
    } catch (error) {
      if (error instanceof LimitExceededException) return false;
      throw error;
    }
  };
  const acceptedAtOci = async (call: Promise<Response>): Promise<boolean> => {
    const response = await call;
    if (!response.ok && response.status !== 403)
      throw new Error(`${response.status}: ${await response.text()}`);
    return response.ok;
  };
  const winners = (outcomes: boolean[]): number => outcomes.filter(Boolean).length;
  const storedBytes = async (): Promise<number> => {
    const { _sum } = await registry.prisma.repositoryCounter.aggregate({ _sum: { storedBytes: true } });
    return Number(_sum.storedBytes);
  };
  /** An upload whose bytes are all there, for each client. */
  const uploads = (blobs: Blob[], repositoryOf: (client: number) => string): Promise<string[]> =>
    everyClient(async (client) => {
      const session = await beginUpload(at(client).ecr, repositoryOf(client));
      await session.part(blobs[client % blobs.length]!.bytes, 0);
      return session.id;
    });
  /** Completes at alternating doors. */
  const complete = (
    client: number,
    repository: string,
    upload: string,
    { digest }: Blob,
  ): Promise<boolean> =>
    client % 4 < 2
      ? accepted(uploadOf(at(client).ecr, repository, upload).complete(digest))
      : acceptedAtOci(
          at(client).fetchOci(`/v2/${repository}/blobs/uploads/${upload}?digest=${digest}`, {
            method: 'PUT',
          }),
        );
  const layers = (size: number, seed: string): Blob[] =>
    Array.from({ length: CLIENTS }, (_, client) => layer(size, `${seed} ${client}`));
  const rivals = async (repository: string): Promise<Manifest[]> => {
    const { config, layers: blobs } = await pushLayersOfImage(registry.ecr, repository, 'rivals');
    return Array.from({ length: CLIENTS }, (_, client) =>
      imageManifest(config, blobs, { annotations: { client: String(client) } }),
    );
  };

  it('for a repository', async () => {
    const { repositoryCount } = (await registry.prisma.registry.findFirst()) ?? { repositoryCount: 0n };
    await limit('repositoriesPerRegistry', Number(repositoryCount) + PLACES);
    const outcomes = await everyClient((client) => accepted(createRepository(at(client).ecr)));
    expect(winners(outcomes)).toBe(PLACES);
  });

  it('for an image', async () => {
    const name = await createRepository(registry.ecr);
    const manifests = await rivals(name);
    await limit('imagesPerRepository', PLACES);
    const outcomes = await everyClient((client) =>
      accepted(putImage(at(client).ecr, name, manifests[client]!, client % 3 === 0 ? 'moving' : undefined)),
    );
    expect(winners(outcomes)).toBe(PLACES);
  });

  it('for a tag', async () => {
    const name = await createRepository(registry.ecr);
    const [manifest] = await rivals(name);
    await putImage(registry.ecr, name, manifest!);
    await limit('tagsPerImage', PLACES);
    const outcomes = await everyClient((client) =>
      accepted(putImage(at(client).ecr, name, manifest!, `tag-${client}`)),
    );
    expect(winners(outcomes)).toBe(PLACES);
    expect(await registry.prisma.imageTag.count({ where: { image: { repository: { name } } } })).toBe(PLACES);
  });

  it('for a tag, when tags move to the image as well', async () => {
    const name = await createRepository(registry.ecr);
    const [target, ...others] = await rivals(name);
    await putImage(registry.ecr, name, target!);
    for (const [index, manifest] of others.slice(0, 16).entries())
      await putImage(registry.ecr, name, manifest, `tag-${index}`);
    await limit('tagsPerImage', PLACES);
    const outcomes = await everyClient((client) =>
      accepted(putImage(at(client).ecr, name, target!, `tag-${client}`)),
    );
    expect(winners(outcomes)).toBe(PLACES);
  });

  it('for an open upload, at both doors', async () => {
    const name = await createRepository(registry.ecr);
    await limit('openUploadsPerRepository', PLACES);
    const outcomes = await everyClient((client) =>
      client % 4 < 2
        ? accepted(beginUpload(at(client).ecr, name))
        : acceptedAtOci(at(client).fetchOci(`/v2/${name}/blobs/uploads/`, { method: 'POST' })),
    );
    expect(winners(outcomes)).toBe(PLACES);
  });

  it('for the bytes of a layer in a repository', async () => {
    const name = await createRepository(registry.ecr);
    const blobs = layers(1_000, 'repository bytes');
    const ids = await uploads(blobs, () => name);
    await limit('repositoryBytes', PLACES * 1_000 + 999);
    const outcomes = await everyClient((client) => complete(client, name, ids[client]!, blobs[client]!));
    expect(winners(outcomes)).toBe(PLACES);
    expect(await countedIn(registry.prisma, name, 'bytes')).toBe(PLACES * 1_000);
  });

  it('for the bytes of a layer in a registry, whichever of its repositories they go to', async () => {
    const names: string[] = [];
    for (let index = 0; index < 4; index += 1) names.push(await createRepository(registry.ecr));
    const repositoryOf = (client: number): string => names[(client >> 1) % names.length]!;
    const blobs = layers(1_000, 'registry bytes');
    const ids = await uploads(blobs, repositoryOf);
    const before = await storedBytes();
    await limit('registryBytes', before + PLACES * 1_000);
    const outcomes = await everyClient((client) =>
      complete(client, repositoryOf(client), ids[client]!, blobs[client]!),
    );
    expect(winners(outcomes)).toBe(PLACES);
    expect(await storedBytes()).toBe(before + PLACES * 1_000);
  });

  it.each(['repositoryBytes', 'registryBytes'] as const)(
    'for a layer that is mounted, under %s',
    async (quota) => {
      const [source, target] = [await createRepository(registry.ecr), await createRepository(registry.ecr)];
      const blobs = layers(1_000, quota);
      for (const blob of blobs) await pushLayer(registry.ecr, source, blob);
      await limit(quota, (quota === 'registryBytes' ? await storedBytes() : 0) + PLACES * 1_000);
      const outcomes = await everyClient((client) =>
        acceptedAtOci(
          at(client).fetchOci(`/v2/${target}/blobs/uploads/?mount=${blobs[client]!.digest}&from=${source}`, {
            method: 'POST',
          }),
        ),
      );
      expect(winners(outcomes)).toBe(PLACES);
    },
  );

  it('but all do who bring the one layer or the one image that fits', async () => {
    const name = await createRepository(registry.ecr);
    const blob = layer(1_000, 'the one that fits');
    const ids = await uploads([blob], () => name);
    await limit('repositoryBytes', 1_000);
    const outcomes = await everyClient((client) =>
      complete(client, name, ids[client]!, blob).catch((error: unknown) => {
        if (error instanceof LayerAlreadyExistsException) return true;
        throw error;
      }),
    );
    expect(winners(outcomes)).toBe(CLIENTS);
    await registry.prisma.quota.deleteMany();
    const [manifest] = await rivals(name);
    await limit('imagesPerRepository', 1);
    const pushed = await everyClient((client) =>
      accepted(putImage(at(client).ecr, name, manifest!, `tag-${client}`)),
    );
    expect(winners(pushed)).toBe(CLIENTS);
  });

  it('and those who leave make room, however many come and go', async () => {
    const name = await createRepository(registry.ecr);
    await limit('openUploadsPerRepository', PLACES);
    for (let round = 0; round < 3; round += 1) {
      const opened = await everyClient(async (client) => {
        const response = await at(client).fetchOci(`/v2/${name}/blobs/uploads/`, { method: 'POST' });
        return response.ok ? response.headers.get('location')! : undefined;
      });
      const locations = opened.filter((location) => location !== undefined);
      expect(locations).toHaveLength(PLACES);
      // Twice each: a session that is cancelled twice makes room for one.
      const cancelled = await Promise.all(
        [...locations, ...locations].map((location) => replica.fetchOci(location, { method: 'DELETE' })),
      );
      expect(cancelled.filter(({ ok }) => ok)).toHaveLength(PLACES);
    }
  });
});
