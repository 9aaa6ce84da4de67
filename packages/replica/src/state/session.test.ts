import type { StoreState } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { isReached, parseSessionToken, sessionPosition } from './session.js';

const state = { position: { generation: 'g', seq: 10 }, vector: { a: 5, b: 2 } } as unknown as StoreState;

describe('session tokens', () => {
  it('I12: are reached by place in the log and by counters', () => {
    expect(isReached({ generation: 'g', seq: 10 }, state, 10)).toBe(true);
    // The position is there, but something before it is missing.
    expect(isReached({ generation: 'g', seq: 10 }, state, 9)).toBe(false);
    expect(isReached({ generation: 'g', seq: 11 }, state, 10)).toBe(false);
    expect(isReached({ generation: 'g', seq: 11 }, state, 11)).toBe(true);
    expect(isReached(sessionPosition('g', 3, { origin: 'a', counter: 5 }), state, 3)).toBe(true);
    expect(isReached(sessionPosition('g', 3, { origin: 'a', counter: 6 }), state, 3)).toBe(false);
    expect(isReached(parseSessionToken({ a: 5, b: 2 }), state, 0)).toBe(true);
    expect(isReached(parseSessionToken({ c: 1 }), state, 0)).toBe(false);
  });

  it('of another log are refused', () => {
    expect(() => isReached({ generation: 'h', seq: 1 }, state, 0)).toThrow(/another|of log h/);
  });

  it('I15: that are none are refused', () => {
    for (const input of [
      null,
      7,
      'g/10',
      [],
      { a: -1 },
      { a: 1.5 },
      { generation: 'g', seq: 1, vector: 3 },
    ]) {
      expect(() => parseSessionToken(input)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    }
    expect(parseSessionToken({ generation: 'g', seq: 4n, vector: { a: 1n } })).toEqual({
      generation: 'g',
      seq: 4,
      vector: { a: 1 },
    });
  });
});
