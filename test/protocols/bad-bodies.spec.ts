import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { connect } from 'node:net';
import { BareDoors } from './bare-doors.js';

let doors: BareDoors;

beforeAll(async () => {
  doors = await BareDoors.open();
});

afterAll(() => doors.close());

/** Sends a head and then one piece after the other, a few milliseconds apart, until the connection is gone. */
async function trickle(head: string, piece: string): Promise<{ answer: string; pieces: number }> {
  const socket = connect(doors.port, '127.0.0.1');
  let answer = '';
  let pieces = 0;
  socket.on('data', (chunk) => (answer += chunk.toString()));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(head);
  const timer = setInterval(() => {
    pieces += 1;
    if (socket.writable) socket.write(piece);
  }, 20);
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(timer);
  return { answer, pieces };
}

const put = (framing: string): string => `PUT /v2/a/b/manifests/v1 HTTP/1.1\r\nhost: x\r\n${framing}\r\n\r\n`;

describe('A body', () => {
  it('that trickles is refused like one that stopped', async () => {
    const { answer, pieces } = await trickle(put('content-length: 100000'), 'x');
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    expect(pieces).toBeGreaterThan(2);
  });

  it('that trickles into a stream ends with its connection', async () => {
    const head = 'PATCH /v2/a/b/blobs/uploads/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n';
    expect((await trickle(head, 'x')).answer).toBe('');
  });

  it('may come slowly, as long as it comes', async () => {
    const bytes = 60_000;
    const socket = connect(doors.port, '127.0.0.1');
    socket.write(put(`content-length: ${bytes}\r\nconnection: close`));
    let answer = '';
    socket.on('data', (chunk) => (answer += chunk.toString()));
    const closed = once(socket, 'close');
    for (let sent = 0; sent < bytes; sent += 1_000) {
      socket.write('x'.repeat(1_000));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await closed;
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    ['a few thousand pieces of a byte', '1\r\nx\r\n', 4_000],
    ['any number of pieces of a line', '20\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n', 100_000],
  ])('may come in %s', async (_what, piece, count) => {
    const answer = await doors.raw(
      `${put('connection: close\r\ntransfer-encoding: chunked')}${piece.repeat(count)}0\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('may not come in ever more pieces of a byte', async () => {
    const answer = doors.raw(`${put('transfer-encoding: chunked')}${'1\r\nx\r\n'.repeat(100_000)}`);
    expect(await answer.catch(() => 'cut')).toMatch(/^$|^cut$/);
    expect(await doors.budgetIsFree()).toBe(true);
  });

  it('that nobody asked for is read for a while and no longer', async () => {
    const socket = connect(doors.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.resume();
    socket.write('GET /v2/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n');
    const piece = Buffer.from(`10000\r\n${'x'.repeat(65_536)}\r\n`);
    let sent = 0;
    while (socket.writable && sent < 10 ** 9) {
      sent += piece.length;
      if (!socket.write(piece))
        await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => 0);
    }
    expect(sent).toBeLessThan(24 * 1024 * 1024);
  });
});
