import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { layer } from '../support/images.js';
import { createRepository, pushLayer } from '../support/pushes.js';
import { startRegistry, startReplica, type TestRegistry } from '../support/registry.js';

/** Starts on this registry's database with another data folder, and so on another store. */
async function startElsewhere(registry: TestRegistry, dataDir: string): Promise<TestRegistry> {
  return startReplica(registry, { STOWAGE_DATA_DIR: dataDir });
}

describe('A database and its blob store', () => {
  let mine: TestRegistry;
  let other: TestRegistry;
  let empty: string;

  beforeAll(async () => {
    mine = await startRegistry({ store: 'filesystem' });
    other = await startRegistry({ store: 'filesystem' });
    empty = await mkdtemp(join(tmpdir(), 'stowage-empty-'));
  });
  afterAll(async () => {
    await mine.close();
    await other.close();
    await rm(empty, { recursive: true, force: true });
  });

  it('may be joined anew while the database knows no layers', async () => {
    const replica = await startElsewhere(mine, empty);
    await replica.close();
    const back = await startReplica(mine);
    await back.close();
  });

  it('belong together once a layer is stored: an empty store is refused', async () => {
    const repository = await createRepository(mine.ecr);
    await pushLayer(mine.ecr, repository, layer(1000, 'bound'));
    const fresh = await mkdtemp(join(tmpdir(), 'stowage-empty-'));
    await expect(startElsewhere(mine, fresh)).rejects.toThrow('the configured blob store is empty');
    await rm(fresh, { recursive: true, force: true });
  });

  it('belong together once a layer is stored: the store of another database is refused', async () => {
    await expect(startElsewhere(mine, other.environment.dataDir)).rejects.toThrow(
      'belongs to another database',
    );
  });

  it('go on together after a restart', async () => {
    const replica = await startReplica(mine);
    await replica.close();
  });
});
