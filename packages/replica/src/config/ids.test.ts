import { parseOutcomeId } from '@antiphon/core';
import { VirtualClock } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { idFrom, newId, tokensOf } from './ids.js';

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

it('ids for rows are UUIDs of version 7, which sort in the order of their making', () => {
  const ids = Array.from({ length: 10_000 }, newId);
  for (const id of ids) expect(id).toMatch(UUID_V7);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.toSorted()).toEqual(ids);
});

it('ids of a clock come again from the same seed, and hold its time', () => {
  const clock = (seed: number): VirtualClock => new VirtualClock({ seed, startMs: Date.UTC(2026, 0, 2) });
  const [first, again, other] = [idFrom(clock(1)), idFrom(clock(1)), idFrom(clock(2))];
  expect(first).toMatch(UUID_V7);
  expect(again).toBe(first);
  expect(other).not.toBe(first);
  expect(Number.parseInt(first.replace('-', '').slice(0, 12), 16)).toBe(Date.UTC(2026, 0, 2));
});

it('I8: tokens are new each time, name their process, and fit the wire format', () => {
  const instance = newId();
  const next = tokensOf(instance);
  const tokens = Array.from({ length: 100 }, next);
  expect(new Set(tokens).size).toBe(100);
  for (const token of tokens) {
    expect(parseOutcomeId(`eu-1:42~${token}`)).toEqual({ origin: 'eu-1', counter: 42, token });
    expect(token.startsWith(instance.replaceAll('-', ''))).toBe(true);
  }
  // Room for more attempts than a process ever makes.
  expect(instance.replaceAll('-', '').length + (1e12).toString(36).length).toBeLessThanOrEqual(40);
});
