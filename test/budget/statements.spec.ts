import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import {
  BatchCheckLayerAvailabilityCommand,
  BatchDeleteImageCommand,
  type ImageIdentifier,
} from '@aws-sdk/client-ecr';
import pg from 'pg';
import { imageManifest, layer } from '../support/images.js';
import { createRepository, pushImage, pushLayer, putImage } from '../support/pushes.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

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
    const statements = await statementsDuring(ask);
    expect(statements.filter((text) => /"(blob|repository_layer)"|\bblob\b/.test(text))).toHaveLength(1);
    // The other one finds the repository.
    expect(statements.length).toBeLessThanOrEqual(2);
  });

  it('deletes 100 images, and keeps them to be brought back, in no more statements than it deletes one', async () => {
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
    const one = await statementsDuring(remove(pushed.slice(0, 1)));
    const hundred = await statementsDuring(remove(pushed.slice(1)));
    expect(hundred.length).toBe(one.length);
    expect(hundred.length).toBeLessThanOrEqual(6);
    expect(await registry.prisma.deletedImage.count()).toBe(101);
  });
});

/** What goes to PostgreSQL meanwhile, without the edges of transactions. */
async function statementsDuring(work: () => Promise<unknown>): Promise<string[]> {
  const query = jest.spyOn(pg.Client.prototype, 'query');
  try {
    await work();
    const texts = query.mock.calls.map(([first]: unknown[]) =>
      typeof first === 'string' ? first : String((first as { text?: unknown }).text),
    );
    return texts.filter((text) => !/^(BEGIN|COMMIT|ROLLBACK|SET TRANSACTION|SAVEPOINT)/i.test(text));
  } finally {
    query.mockRestore();
  }
}
