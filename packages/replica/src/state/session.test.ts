import type { StoreState } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { isReached, lostOf, parseSessionToken, sessionPosition } from './session.js';

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
    const many = Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`r${index}`, 1]));
    expect(() => parseSessionToken(many)).toThrow(/names 257 replicas/);
    expect(parseSessionToken({ generation: 'g', seq: 4n, vector: { a: 1n } })).toEqual({
      generation: 'g',
      seq: 4,
      vector: { a: 1 },
    });
  });

  describe('I12: that name what no database will ever show', () => {
    const epochs = [
      { number: 1, primary: 'a', instance: 'i', seq: 2, began: undefined, voided: undefined },
      { number: 2, primary: 'b', instance: 'j', seq: 8, began: undefined, voided: undefined },
    ];
    const knowing = (over: object): StoreState =>
      ({
        position: { generation: 'g', seq: 10 },
        vector: { a: 5 },
        gaps: [],
        epochs,
        ...over,
      }) as unknown as StoreState;
    const token = sessionPosition('g', 6, { origin: 'a', counter: 6 });

    it('are known where the epoch after it is', () => {
      expect(lostOf(token, knowing({}), 10)).toEqual({ origin: 'a', counter: 6 });
    });

    it.each([
      ['it is there', { vector: { a: 6 } }, 10],
      ['its origin is the primary', { epochs: epochs.slice(0, 1) }, 10],
      ['something of its origin is missing', { gaps: [{ origin: 'a' }] }, 10],
      ['its origin may have become the primary again by then', {}, 5],
      ['the log is another one', { position: { generation: 'h', seq: 10 } }, 10],
    ])('are not, while %s', (_, over, passed) => {
      expect(lostOf(token, knowing(over), passed)).toBeUndefined();
    });

    it('are not known of one that names a transaction and no place', () => {
      expect(lostOf(sessionPosition('g', 0, { origin: 'a', counter: 6 }), knowing({}), 10)).toBeUndefined();
    });

    it('are not known of a bare vector, but where it was undone', () => {
      expect(lostOf(parseSessionToken({ a: 6 }), knowing({}), 10)).toBeUndefined();
      const undone = [{ ...epochs[0], voided: { from: 6, to: 7 } }, epochs[1]];
      expect(lostOf(parseSessionToken({ a: 6 }), knowing({ epochs: undone }), 10)).toEqual({
        origin: 'a',
        counter: 6,
      });
    });
  });
});
