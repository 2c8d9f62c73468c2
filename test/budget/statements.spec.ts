import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  BatchCheckLayerAvailabilityCommand,
  BatchDeleteImageCommand,
  type ImageIdentifier,
} from '@aws-sdk/client-ecr';
import { imageManifest, layer } from '../support/images.js';
import { createRepository, pushImage, pushLayer, putImage } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { askedDuring } from './statements.js';

let registry: TestRegistry;

beforeAll(async () => {
  registry = await startRegistry({ store: 'filesystem', config: { STOWAGE_ROLE: 'api' } });
});

afterAll(() => registry.close());

describe('the cost of a question at the database', () => {
  it('asks for 100 layers in one statement', async () => {
    const repositoryName = await createRepository(registry.ecr);
    const there = [1, 2, 3].map((seed) => layer(100, seed));
    for (const blob of there) await pushLayer(registry.ecr, repositoryName, blob);
    const missing = Array.from({ length: 97 }, (_, seed) => layer(10, `missing ${seed}`));
    const layerDigests = [...there, ...missing].map(({ digest }) => digest);
    const ask = (): Promise<unknown> =>
      registry.ecr.send(new BatchCheckLayerAvailabilityCommand({ repositoryName, layerDigests }));
    await ask();
    const { statements } = await askedDuring(ask);
    expect(statements).toHaveLength(1);
  });

  it('deletes 100 images, and keeps them to be brought back, in 6 statements, as it deletes one', async () => {
    const repositoryName = await createRepository(registry.ecr);
    const { config, layers } = await pushImage(registry.ecr, repositoryName, 'many');
    const pushed: ImageIdentifier[] = [];
    for (let index = 0; index < 101; index += 1) {
      const manifest = imageManifest(config, layers, { annotations: { index: String(index) } });
      await putImage(registry.ecr, repositoryName, manifest, `v${index}`);
      pushed.push({ imageDigest: manifest.digest });
    }
    const remove = (imageIds: ImageIdentifier[]) => async (): Promise<void> => {
      const { failures } = await registry.ecr.send(new BatchDeleteImageCommand({ repositoryName, imageIds }));
      expect(failures).toEqual([]);
    };
    const one = await askedDuring(remove(pushed.slice(0, 1)));
    const hundred = await askedDuring(remove(pushed.slice(1)));
    expect(one.statements).toHaveLength(6);
    expect(hundred.statements).toHaveLength(6);
    expect(await registry.prisma.deletedImage.count()).toBe(101);
  });
});
