import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type Blob, layer } from '../support/images.js';
import { createRepository, pushLayer } from '../support/pushes.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';
import { flipped, type StoredObjects, storedObjects } from '../support/stored-objects.js';

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

// Every run is a process that joins or starts the database.
jest.setTimeout(120_000);

describe('npm run fsck', () => {
  let registry: RegistryProcess;
  let objects: StoredObjects;
  let repository: string;
  const [rotten, other] = [layer(200_000, 'rotten'), layer(3_000, 'other')];

  beforeAll(async () => {
    registry = await startRegistryProcess({ store: 'filesystem', embeddedDatabase: true });
    objects = storedObjects(registry.environment);
    repository = await createRepository(registry.ecr);
    for (const blob of [rotten, other]) await pushLayer(registry.ecr, repository, blob);
  });
  afterAll(() => registry?.close());

  /** @param whenItSpeaks is called with the process at its first line */
  const run = async (args: string[], whenItSpeaks?: (kill: () => void) => void): Promise<Ran> => {
    const { PATH, HOME } = process.env;
    const child = spawn(resolve('node_modules/.bin/node'), [resolve('dist/commands/fsck.js'), ...args], {
      env: { PATH, HOME, ...registry.environment.settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    if (whenItSpeaks) child.stdout.once('data', () => whenItSpeaks(() => child.kill('SIGTERM')));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, stdout, stderr };
  };
  const flip = async (blob: Blob): Promise<void> => {
    const names = await readdir(join(registry.environment.dataDir, 'layers/blobs'), { recursive: true });
    for (const key of names.map((name) => basename(name)).filter((name) => name.length > 2))
      if ((await objects.read(key)).equals(blob.bytes)) await objects.change(key, flipped);
  };
  const summaryOf = ({ stdout }: Ran): unknown =>
    (JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as { summary: unknown }).summary;

  it('finds nothing beside a service in order, and says so by its exit code', async () => {
    const { code, stdout, stderr } = await run(['--all', '--rate', '0']);
    expect(stderr).toBe('');
    expect(stdout).toContain('Hashed 2 layers, 203000 bytes.');
    expect(stdout).toContain('Nothing was found.');
    expect(code).toBe(0);
  });

  it('shows its findings to people and to programs', async () => {
    await flip(rotten);
    const text = await run(['--hash', 'all']);
    expect(text.code).toBe(1);
    expect(text.stdout).toContain('wrong-bytes: The object of the layer has other bytes than recorded');
    expect(text.stdout).toContain(rotten.digest);
    expect(text.stdout).toContain(`:repository/${repository}`);
    expect(text.stdout).toContain('--repair marks the layer damaged');
    const json = await run(['--all', '--json']);
    expect(json.code).toBe(1);
    expect(summaryOf(json)).toMatchObject({ findings: { 'wrong-bytes': 1 }, repaired: 0, damagedLayers: 0 });
    const sample = await run(['--sample', '100%', '--seed', '3', '--json']);
    expect(summaryOf(sample)).toMatchObject({ hashedLayers: 2, hashing: { percent: 100, seed: 3 } });
    expect((await run([])).code).toBe(0);
  });

  it('repairs with the service stopped, and finds nothing new afterwards', async () => {
    await registry.kill('SIGTERM');
    const repaired = await run(['--all', '--repair']);
    expect(repaired.stdout).toContain('repaired: marks the layer damaged');
    expect(repaired.code).toBe(1);
    const again = await run(['--all']);
    expect(again.stdout).toContain('damaged-layer');
    expect(again.stdout).toContain('1 layers are marked damaged and wait to be pushed again.');
    expect(again.code).toBe(0);
    await registry.restart();
    await pushLayer(registry.ecr, repository, rotten);
    expect((await run(['--all'])).stdout).toContain('Nothing was found.');
  });

  it('says when it could not come to an end', async () => {
    expect(await run(['--hash', 'some'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--hash is none'),
    });
    for (const args of [
      ['--sample', '101%'],
      ['--sample', '1.5'],
      ['--all', '--sample', '1%'],
      ['--rate', '-1'],
      ['--nothing'],
    ])
      expect((await run(args)).code).toBe(2);
    await flip(rotten);
    await run(['--all', '--repair']);
    // At this rate it would read for an hour; it has begun when it speaks of what it knows already.
    const stopped = await run(['--all', '--rate', '0.00005'], (kill) => kill());
    expect(stopped.stderr).toContain('Stopped before the end');
    expect(stopped.code).toBe(2);
    const name = await objects.rename('00000000-0000-0000-0000-000000000000');
    const foreign = await run(['--repair']);
    expect(foreign.stderr).toContain('belongs to another database');
    expect(foreign.code).toBe(2);
    await objects.rename(name);
  });

  it('explains itself', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('--repair');
  });
});
