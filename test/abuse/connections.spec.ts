import { afterEach, describe, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import { slices, streamed } from '../budget/stream.js';
import { layer } from '../support/images.js';
import { createRepository, MEBIBYTE } from '../support/pushes.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';
import { type Attacker, attack, attackMany, dribble, head, leave, ociHead } from './attackers.js';
import { expectBounded, memory, pushAndPull } from './witness.js';

let registry: RegistryProcess;
let attackers: Attacker[] = [];
let stop = (): void => undefined;

afterEach(async () => {
  stop();
  leave(attackers);
  attackers = [];
  await registry?.close();
});

/** One answered request, and then nothing. */
async function idle(): Promise<Attacker> {
  const attacker = await attack(registry.url, ociHead(registry, 'GET', '/v2/'));
  await answered(attacker);
  return attacker;
}

/** Resolves once the service said something or hung up. */
async function answered(attacker: Attacker): Promise<void> {
  if (attacker.answer === '')
    await Promise.race([attacker.over, new Promise((resolve) => attacker.socket.once('data', resolve))]);
}

/** Resolves once the service says that it is at work on so many. */
async function requestsRunning(count: number): Promise<void> {
  for (let running = 0; running < count;) {
    const metrics = await (await fetch(`${registry.environment.operatorUrl}/metrics`)).text();
    running = Number(/^stowage_requests_running (\d+)/m.exec(metrics)?.[1]);
  }
}

describe('connections nobody uses', () => {
  it('are borne by the thousand, silent from the beginning or after a request', async () => {
    registry = await startRegistryProcess({ store: 'filesystem' });
    await pushAndPull(registry, 'before');
    const before = memory(registry.pid, 'VmRSS');
    attackers = await attackMany(3_000, (n) => (n % 3 === 0 ? attack(registry.url) : idle()));
    await pushAndPull(registry, 'meanwhile');
    expectBounded(registry.pid, before, '3000 idle connections');
  }, 60_000);

  it('make room for new ones where there may be no more of them', async () => {
    registry = await startRegistryProcess({
      store: 'filesystem',
      config: { STOWAGE_MAX_CONNECTIONS: '64' },
    });
    attackers = await attackMany(300, (n) => (n % 3 === 0 ? attack(registry.url) : idle()));
    await pushAndPull(registry, 'meanwhile');
    await Promise.all(attackers.slice(0, 200).map(({ over }) => over));
  }, 60_000);

  it('never take the place of one that is at work', async () => {
    registry = await startRegistryProcess({
      store: 'filesystem',
      config: { STOWAGE_MAX_CONNECTIONS: '64' },
    });
    const repository = await createRepository(registry.ecr);
    const begun = await registry.fetchOci(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    const location = begun.headers.get('location')!;
    const blob = layer(3 * MEBIBYTE, 'at work');
    const digest = `sha256:${createHash('sha256').update(blob.bytes).digest('hex')}`;
    let rushed = false;
    async function* whileOthersRush(): AsyncGenerator<Buffer> {
      for (const slice of slices(blob.bytes)) {
        yield slice;
        if (rushed) continue;
        rushed = true;
        await requestsRunning(1);
        attackers = await attackMany(300, () => attack(registry.url));
      }
    }
    const patched = await registry.fetchOci(location, {
      method: 'PATCH',
      body: streamed(whileOthersRush()),
    });
    expect([patched.status, attackers.length]).toEqual([202, 300]);
    expect((await registry.fetchOci(`${location}?digest=${digest}`, { method: 'PUT' })).status).toBe(201);
  }, 60_000);
});

describe('heads of requests', () => {
  it('that come a byte at a time are refused in the end, and keep nobody out', async () => {
    registry = await startRegistryProcess({ store: 'filesystem' });
    await pushAndPull(registry, 'before');
    const before = memory(registry.pid, 'VmRSS');
    attackers = await attackMany(1_000, (n) =>
      attack(
        registry.url,
        n % 2 === 0
          ? head('GET', '/v2/', { host: 'registry' }, { open: true })
          : head('POST', '/', { 'x-amz-target': 'AmazonEC2ContainerRegistry_V20150921.X' }, { open: true }),
      ),
    );
    stop = dribble(attackers, 'x-a: b\r\n', 200);
    await pushAndPull(registry, 'meanwhile');
    await Promise.all(attackers.map(({ over }) => over));
    for (const { answer } of attackers) expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    expectBounded(registry.pid, before, '1000 heads a byte at a time');
  }, 90_000);

  it('that are too large are refused, a thousand at a time', async () => {
    registry = await startRegistryProcess({ store: 'filesystem' });
    await pushAndPull(registry, 'before');
    const before = memory(registry.pid, 'VmRSS');
    const one = head('GET', '/v2/', { host: 'registry', authorization: 'A'.repeat(40_000) });
    const many = Object.fromEntries(Array.from({ length: 6_000 }, (_, n) => [`x-${n}`, 'y']));
    attackers = await attackMany(1_000, (n) =>
      attack(registry.url, n % 2 === 0 ? one : head('GET', '/v2/', { host: 'registry', ...many })),
    );
    await pushAndPull(registry, 'meanwhile');
    await Promise.all(attackers.map(({ over }) => over));
    for (const { answer } of attackers) expect(answer).toMatch(/^HTTP\/1\.1 431 |^$/);
    expectBounded(registry.pid, before, '1000 huge heads');
  }, 60_000);

  it('that are sent without waiting for answers end their connection', async () => {
    registry = await startRegistryProcess({ store: 'filesystem' });
    await pushAndPull(registry, 'before');
    const repository = await createRepository(registry.ecr);
    const before = memory(registry.pid, 'VmRSS');
    const request = ociHead(registry, 'GET', `/v2/${repository}/manifests/latest`);
    const flood = Buffer.from(request.repeat(2_000));
    attackers = await attackMany(100, () => attack(registry.url, flood));
    await pushAndPull(registry, 'meanwhile');
    await Promise.all(attackers.map(({ over }) => over));
    expectBounded(registry.pid, before, '100 connections of 2000 requests each');
  }, 60_000);
});
