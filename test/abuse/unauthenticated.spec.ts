import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { MEBIBYTE } from '../support/pushes.js';
import { type RegistryProcess, startRegistryProcess } from '../support/registry-process.js';
import {
  type Attacker,
  attack,
  attackMany,
  CHUNKED,
  dribble,
  ecrHead,
  type Framing,
  head,
  leave,
} from './attackers.js';
import { expectBounded, memory, pushAndPull } from './witness.js';

const UPLOAD = '/v2/team/app/blobs/uploads/6c4f9a5e-1f0b-4f5e-8f0e-000000000000';
const TARGET = 'AmazonEC2ContainerRegistry_V20150921.UploadLayerPart';
const ENDLESS: Framing = { 'content-length': 100 * 1024 * MEBIBYTE };
/** What is read of a refused body, and what the systems of both sides buffer beside it. */
const MOST_SENT = 24 * MEBIBYTE;

let registry: RegistryProcess;
let attackers: Attacker[] = [];
let stop = (): void => undefined;

afterEach(async () => {
  stop();
  leave(attackers);
  attackers = [];
  await registry?.close();
});

const STRANGERS: [string, (framing: Framing) => Promise<string>][] = [
  [
    'POST / without a credential',
    async (framing) => head('POST', '/', { host: 'x', 'x-amz-target': TARGET, ...framing }),
  ],
  [
    'POST / of an unknown key',
    (framing) =>
      ecrHead(
        { ...registry, credentials: { accessKeyId: 'AKIAUNKNOWN', secretAccessKey: 'x'.repeat(40) } },
        'UploadLayerPart',
        framing,
      ),
  ],
  ['PATCH without a credential', async (framing) => head('PATCH', UPLOAD, { host: 'x', ...framing })],
  [
    'PUT with a token that is none',
    async (framing) =>
      head('PUT', `${UPLOAD}?digest=sha256:${'0'.repeat(64)}`, {
        host: 'x',
        authorization: `Basic ${Buffer.from('AWS:guess').toString('base64')}`,
        ...framing,
      }),
  ],
  [
    'PUT of a manifest without a credential',
    async (framing) => head('PUT', '/v2/team/app/manifests/latest', { host: 'x', ...framing }),
  ],
  ['POST to nowhere', async (framing) => head('POST', '/nowhere', { host: 'x', ...framing })],
];

describe('bodies of strangers', () => {
  it.each([
    ['a hundred gigabytes long', ENDLESS, Buffer.alloc(65_536, 'A')],
    ['without an end', CHUNKED, Buffer.from(`10000\r\n${'A'.repeat(65_536)}\r\n`)],
    ['in chunks of a byte', CHUNKED, Buffer.from('1\r\nA\r\n'.repeat(10_000))],
  ])(
    '%s are refused, hardly read, and keep nobody out',
    async (_what, framing, piece) => {
      registry = await startRegistryProcess({ store: 'filesystem' });
      await pushAndPull(registry, 'before');
      const before = memory(registry.pid, 'VmRSS');
      const heads = await Promise.all(STRANGERS.map(([, request]) => request(framing)));
      attackers = await attackMany(120, (n) => attack(registry.url, heads[n % heads.length]));
      const floods = attackers.map((attacker) => flood(attacker, piece));
      await pushAndPull(registry, 'meanwhile');
      const sent = await Promise.all(floods);
      expect(Math.max(...sent)).toBeLessThan(MOST_SENT);
      // A connection that is cut while bytes come takes answers that were not read yet along.
      for (const { answer } of attackers) expect(answer).toMatch(/^$|^HTTP\/1\.1 40[0134] /);
      expectBounded(registry.pid, before, `120 bodies ${_what}`);
    },
    120_000,
  );

  it.each(STRANGERS)(
    'that come a byte at a time do not hold a connection: %s',
    async (_what, request) => {
      registry = await startRegistryProcess({ store: 'filesystem' });
      await pushAndPull(registry, 'before');
      const before = memory(registry.pid, 'VmRSS');
      const opening = await request({ 'content-length': 20 * MEBIBYTE });
      attackers = await attackMany(200, () => attack(registry.url, opening));
      stop = dribble(attackers, 'A', 100);
      await pushAndPull(registry, 'meanwhile');
      await Promise.all(attackers.map(({ over }) => over));
      for (const { answer } of attackers) expect(answer).toMatch(/^HTTP\/1\.1 40[0134] /);
      expectBounded(registry.pid, before, `200 slow bodies, ${_what}`);
    },
    60_000,
  );
});

/** Sends for as long as it is let. @returns bytes the system took */
async function flood({ socket, over }: Attacker, piece: Buffer): Promise<number> {
  let sent = 0;
  while (!socket.destroyed && socket.writable) {
    sent += piece.length;
    if (!socket.write(piece)) await Promise.race([once(socket, 'drain').catch(() => undefined), over]);
  }
  return sent;
}
