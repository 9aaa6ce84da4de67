import { AntiphonError } from '@antiphon/core';
import { VirtualClock } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { retryingUntilAborted } from './deadline.js';

const busy = new AntiphonError('STORE_BUSY', 'Somebody else writes.');
const fatal = new AntiphonError('LOG_REPLACED', 'It is another log.');

/** Fails with these errors, one after the other, and succeeds then. */
function failing(...errors: readonly unknown[]): { readonly attempt: () => Promise<number>; tries: number } {
  const work = {
    tries: 0,
    attempt: () =>
      work.tries < errors.length ? Promise.reject(errors[work.tries++]) : Promise.resolve(++work.tries),
  };
  return work;
}

function outcomeOf(clock: VirtualClock, retried: Promise<unknown>): Promise<unknown> {
  return clock.run(retried.catch((error: unknown) => error));
}

describe('retryingUntilAborted', () => {
  const { signal } = new AbortController();

  it('tries again until the work succeeds, and waits longer each time', async () => {
    const clock = new VirtualClock();
    const work = failing(busy, busy, busy);
    expect(await outcomeOf(clock, retryingUntilAborted(clock, signal, work.attempt))).toBe(4);
    expect(clock.monotonicMs()).toBeGreaterThanOrEqual(10 + 20 + 40);
    expect(clock.monotonicMs()).toBeLessThanOrEqual(20 + 40 + 80);
  });

  it('throws what another try would not change', async () => {
    const clock = new VirtualClock();
    const work = failing(busy, fatal, busy);
    expect(await outcomeOf(clock, retryingUntilAborted(clock, signal, work.attempt))).toBe(fatal);
    expect(work.tries).toBe(2);
    const never = { again: () => false };
    expect(await outcomeOf(clock, retryingUntilAborted(clock, signal, failing(busy).attempt, never))).toBe(
      busy,
    );
  });

  it('keeps its shortest wait, and does not wait beyond its end', async () => {
    const clock = new VirtualClock();
    const options = { leastDelayMs: 1000, untilMs: 2500 };
    const work = failing(busy, busy, busy, busy);
    expect(await outcomeOf(clock, retryingUntilAborted(clock, signal, work.attempt, options))).toBe(busy);
    expect({ tries: work.tries, ms: clock.monotonicMs() }).toEqual({ tries: 3, ms: 2000 });
  });

  it('ends a wait with the reason of the signal', async () => {
    const clock = new VirtualClock();
    const closing = new AbortController();
    const closed = new AntiphonError('CLOSED', 'The replica is closing.');
    const retried = retryingUntilAborted(clock, closing.signal, failing(busy, busy).attempt);
    clock.setTimer(1, () => closing.abort(closed));
    expect(await outcomeOf(clock, retried)).toBe(closed);
  });
});
