import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RegistryError } from '../domain/registry-error.js';
import { ByteBudget, type Reservation } from './byte-budget.js';

const MEBIBYTE = 1024 * 1024;
/** Milliseconds. */
const LOOK_MS = 10;
/** What a slow client may have beyond what it holds. Bytes. */
const SLACK = 64 * 1024;
const never = new AbortController().signal;

describe('the byte budget', () => {
  it('is given out and given back, once', async () => {
    const budget = new ByteBudget(10);
    const reservation = await budget.reserve(6);
    expect([budget.heldBytes, reservation.bytes]).toEqual([6, 6]);
    expect(reservation.tryGrow(5)).toBe(false);
    expect(reservation.tryGrow(4)).toBe(true);
    reservation.shrink(3);
    expect(budget.heldBytes).toBe(7);
    reservation.shrink(100);
    reservation.release();
    reservation.release();
    expect([budget.heldBytes, reservation.bytes]).toEqual([0, 0]);
  });

  it('lets requests wait and admits them in the order of their arrival, small ones not before large ones', async () => {
    const budget = new ByteBudget(10);
    const first = await budget.reserve(8);
    const order: string[] = [];
    const large = budget.reserve(9).then((reservation) => (order.push('large'), reservation));
    const small = budget.reserve(1).then((reservation) => (order.push('small'), reservation));
    await turn();
    expect([order, budget.waitingRequests]).toEqual([[], 2]);
    first.release();
    await Promise.all([large, small]);
    expect([order, budget.heldBytes, budget.waitingRequests]).toEqual([['large', 'small'], 10, 0]);
  });

  it('does not grow for one while another one waits', async () => {
    const budget = new ByteBudget(10);
    const holder = await budget.reserve(5);
    const waiting = budget.reserve(6);
    expect(holder.tryGrow(1)).toBe(false);
    holder.release();
    expect((await waiting).tryGrow(1)).toBe(true);
  });

  it('forgets who gives up waiting, and admits who waited behind', async () => {
    const budget = new ByteBudget(10);
    await budget.reserve(5);
    const giveUp = new AbortController();
    const large = budget.reserve(6, giveUp.signal);
    const small = budget.reserve(5);
    giveUp.abort(new Error('gone'));
    await expect(large).rejects.toThrow('gone');
    await small;
    expect([budget.heldBytes, budget.waitingRequests]).toEqual([10, 0]);
  });

  it('takes nothing back for an abort after admission, and gives nothing to the aborted', async () => {
    const budget = new ByteBudget(10);
    const controller = new AbortController();
    const waiting = budget.reserve(10, controller.signal);
    const reservation = await waiting;
    controller.abort();
    expect(budget.heldBytes).toBe(10);
    reservation.release();
    await expect(budget.reserve(1, controller.signal)).rejects.toBe(controller.signal.reason);
    expect(budget.heldBytes).toBe(0);
  });

  it('refuses at once what it can never give', async () => {
    await expect(new ByteBudget(10).reserve(11)).rejects.toBeInstanceOf(RangeError);
  });

  it('never holds more than its capacity, and all of it is free in the end', async () => {
    const step = fc.tuple(fc.constantFrom('reserve', 'grow', 'shrink', 'release', 'abort'), fc.nat(100));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const budget = new ByteBudget(100);
        const held: Reservation[] = [];
        const waiters: { controller: AbortController; done: Promise<void> }[] = [];
        for (const [action, number] of steps) {
          const one = held[number % Math.max(held.length, 1)];
          if (action === 'reserve') {
            const controller = new AbortController();
            const done = budget.reserve(number, controller.signal).then(
              (reservation) => void held.push(reservation),
              () => undefined,
            );
            waiters.push({ controller, done });
          }
          if (action === 'grow') one?.tryGrow(number);
          if (action === 'shrink') one?.shrink(number);
          if (action === 'release') one?.release();
          if (action === 'abort') waiters[number % Math.max(waiters.length, 1)]?.controller.abort();
          await turn();
          expect(budget.heldBytes).toBeGreaterThanOrEqual(0);
          expect(budget.heldBytes).toBeLessThanOrEqual(100);
          expect(budget.heldBytes).toBe(held.reduce((sum, { bytes }) => sum + bytes, 0));
        }
        while (budget.waitingRequests > 0 || budget.heldBytes > 0) {
          held.forEach((reservation) => reservation.release());
          await turn();
        }
        await Promise.all(waiters.map(({ done }) => done));
      }),
    );
  });

  it('keeps for a slow client only what has come while others wait, and lets it take more as it comes', async () => {
    const budget = new ByteBudget(MEBIBYTE, LOOK_MS);
    const { reservation: slow, client } = filled(budget, await budget.reserve(MEBIBYTE));
    client.send(1_000);
    const waiting = await budget.reserve(600_000);
    expect(slow.bytes).toBe(1_000);
    client.send(SLACK);
    expect(slow.missingBytes).toBe(0);
    client.send(100_000);
    expect(slow.missingBytes).toBe(100_000 + SLACK);
    await slow.catchUp(never);
    expect([slow.missingBytes, client.ended]).toEqual([0, undefined]);
    waiting.release();
    slow.release();
    expect(budget.heldBytes).toBe(0);
  });

  it('takes nothing from a slow client while nobody waits, nor from one that keeps on sending', async () => {
    const budget = new ByteBudget(MEBIBYTE, LOOK_MS);
    const { reservation: alone } = filled(budget, await budget.reserve(MEBIBYTE / 2));
    await sleep(LOOK_MS * 5);
    expect(alone.bytes).toBe(MEBIBYTE / 2);
    const busy = filled(budget, await budget.reserve(MEBIBYTE / 2));
    const waiting = budget.reserve(MEBIBYTE / 2);
    const feeding = setInterval(() => busy.client.send(5_000), 1);
    alone.release();
    await waiting;
    clearInterval(feeding);
    expect([busy.reservation.bytes, busy.client.ended]).toEqual([MEBIBYTE / 2, undefined]);
  });

  it('blames no client for the time its bytes are worked on', async () => {
    const budget = new ByteBudget(MEBIBYTE, LOOK_MS);
    const worked = filled(budget, await budget.reserve(MEBIBYTE / 2));
    worked.reservation.arrived(1);
    const whole = filled(budget, await budget.reserve(MEBIBYTE / 2));
    whole.reservation.filled();
    const gone = new AbortController();
    const waiting = budget.reserve(1, gone.signal);
    await sleep(LOOK_MS * 30);
    for (const { reservation, client } of [worked, whole])
      expect([reservation.bytes, client.ended]).toEqual([MEBIBYTE / 2, undefined]);
    gone.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
  });

  it('ends clients that stopped when nothing else makes room, for everybody who waits', async () => {
    const budget = new ByteBudget(MEBIBYTE, LOOK_MS);
    const holders = [];
    for (let n = 0; n < 4; n += 1) {
      const holder = filled(budget, await budget.reserve(MEBIBYTE / 4));
      holder.client.send(MEBIBYTE / 4);
      holder.client.onEnd = () => holder.reservation.release();
      holders.push(holder);
    }
    await Promise.all([budget.reserve(MEBIBYTE / 4), budget.reserve(MEBIBYTE / 2)]);
    const ended = holders.filter(({ client }) => client.ended !== undefined);
    expect(ended).toHaveLength(3);
    for (const { client } of ended) expect(client.ended?.code).toBe('ServiceUnavailable');
  });

  it('ends one of those that all wait for the memory the others have', async () => {
    const budget = new ByteBudget(MEBIBYTE, LOOK_MS);
    const one = filled(budget, await budget.reserve(MEBIBYTE / 2));
    const other = filled(budget, await budget.reserve(MEBIBYTE / 2));
    const waiting = budget.reserve(MEBIBYTE / 8);
    // Both were slow, the newcomer got what they gave back, and now both have more.
    one.client.send(MEBIBYTE / 2 - 100_000);
    other.client.send(MEBIBYTE / 2 - 200_000);
    await waiting;
    one.client.send(200_000, { worked: true });
    other.client.send(300_000, { worked: true });
    const catchUp = ({ reservation }: typeof one): Promise<string> =>
      reservation.catchUp(never).then(
        () => 'goes on',
        (error: RegistryError) => {
          reservation.release();
          return error.code;
        },
      );
    expect(await Promise.all([catchUp(one), catchUp(other)])).toEqual(['goes on', 'ServiceUnavailable']);
  });
});

/** A reservation that a client fills. */
function filled(budget: ByteBudget, reservation: Reservation) {
  let used = 0;
  const client = {
    ended: undefined as RegistryError | undefined,
    onEnd: (): void => undefined,
    send(bytes: number, { worked = false } = {}): void {
      used += bytes;
      reservation.arrived(bytes);
      if (!worked) reservation.await();
    },
  };
  reservation.follow({
    usedBytes: () => used,
    end(reason) {
      client.ended = reason;
      client.onEnd();
    },
  });
  return { reservation, client };
}
