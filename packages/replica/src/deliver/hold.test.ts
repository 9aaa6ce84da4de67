import { AntiphonError } from '@antiphon/core';
import { VirtualClock } from '@antiphon/testing';
import { expect, it } from 'vitest';
import type { Scope } from '../state/scope.js';
import { Hold } from './hold.js';

const FULL = new AntiphonError('STORE_FULL', 'The disk is full.');

/** After so many tries; the next wait is the longest. */
async function holding(tries: number): Promise<{
  readonly clock: VirtualClock;
  readonly commits: { failure: AntiphonError | undefined };
  readonly wait: (tookMs: number) => { over: boolean };
}> {
  const clock = new VirtualClock();
  const commits: { failure: AntiphonError | undefined } = { failure: FULL };
  const hold = new Hold({
    ...{ clock, commits, counters: { storeRetries: 0 }, progress: { moved: () => undefined } },
    ...{ store: { schemaCookie: () => 1 }, health: { hold: () => undefined, replicating: true } },
  } as unknown as Scope);
  const { signal } = new AbortController();
  const wait = (tookMs: number): { over: boolean } => {
    const state = { over: false };
    void hold.wait({ seq: 7 }, FULL, tookMs, signal).then(() => (state.over = true));
    return state;
  };
  for (let n = 0; n < tries; n++) {
    wait(0);
    await clock.advance(5000);
  }
  return { clock, commits, wait };
}

it('tries what is held again as soon as the disk takes commits, and not at the next time', async () => {
  const { clock, commits, wait } = await holding(8);
  const state = wait(10);
  await clock.advance(1000);
  expect(state.over).toBe(false);
  commits.failure = undefined;
  await clock.advance(250);
  expect(state.over).toBe(true);
});

it('lets the database rest all the same after a try that took long', async () => {
  const { clock, commits, wait } = await holding(8);
  const state = wait(1000);
  commits.failure = undefined;
  await clock.advance(3900);
  expect(state.over).toBe(false);
  await clock.advance(400);
  expect(state.over).toBe(true);
});

it('waits on where it was no disk that refused it', async () => {
  const { clock, commits, wait } = await holding(8);
  commits.failure = undefined;
  const state = wait(10);
  await clock.advance(4900);
  expect(state.over).toBe(false);
});
