import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ByteBudget, type Reservation } from './byte-budget.js';

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
});
