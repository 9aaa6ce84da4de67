import { describe, expect, it } from 'vitest';
import { compareCursors, decodeCursor, encodeCursor, type ChangeCursor } from '../changes/change-cursor.js';
import { DeliveryWindow } from './delivery-window.js';

/** The n-th change (from 1) of the transaction after `before`, which stands in entry `seq`. */
function cursor(seq: number, before: Record<string, number>, skip = 1, generation = 'g'): string {
  return encodeCursor({ generation, seq, vector: before, inside: skip === 0 ? {} : { a: skip } });
}

const BEGIN = encodeCursor({ generation: 'g', seq: 5, vector: { a: 1 }, inside: {} });
/** Two transactions, the first with two changes. */
const [FIRST, SECOND, THIRD] = [cursor(5, { a: 1 }, 1), cursor(5, { a: 1 }, 2), cursor(6, { a: 2 }, 1)];
const after = (seq: number, vector: Record<string, number>): ChangeCursor => {
  return { generation: 'g', seq, vector, inside: {} };
};

function windowOf(...delivered: readonly string[]): DeliveryWindow {
  const window = new DeliveryWindow(BEGIN);
  for (const one of delivered) window.delivered(one);
  return window;
}

describe('acknowledging', () => {
  it('is cumulative', () => {
    const window = windowOf(FIRST, SECOND, THIRD);
    expect(window.place).toBe(BEGIN);
    expect(window.ack(SECOND)).toBe('new');
    expect(window.place).toBe(SECOND);
    expect(window.ack(FIRST)).toBe('old');
    expect(window.ack(SECOND)).toBe('old');
    expect(window.place).toBe(SECOND);
    expect(window.ack(THIRD)).toBe('new');
  });

  it('I16: takes nothing that was not delivered', () => {
    const window = windowOf(FIRST, SECOND);
    expect(window.ack(THIRD)).toBe('unknown');
    expect(window.ack(cursor(5, { a: 1 }, 3))).toBe('unknown');
    expect(window.ack(cursor(4, { b: 7 }))).toBe('unknown');
    expect(window.ack(cursor(5, { a: 1 }, 1, 'other'))).toBe('unknown');
    expect(() => window.ack('nonsense')).toThrow(/not a cursor/);
    expect(window.place).toBe(BEGIN);
  });

  it('of what another instance delivered before is old', () => {
    const window = new DeliveryWindow(SECOND);
    expect(window.ack(FIRST)).toBe('old');
    expect(window.ack(SECOND)).toBe('old');
    expect(window.ack(THIRD)).toBe('unknown');
  });
});

describe('the place', () => {
  it('follows what was read while nothing waits for an acknowledgement', () => {
    const window = windowOf();
    window.passed(after(80, { a: 40 }));
    expect(decodeCursor(window.place)).toEqual(after(80, { a: 40 }));
    expect(window.seq).toBe(80);
  });

  it('I16: stays before what was delivered and is not acknowledged', () => {
    const window = windowOf(FIRST, SECOND);
    window.passed(after(6, { a: 2 }));
    expect(window.place).toBe(BEGIN);
    window.ack(FIRST);
    expect([window.place, window.seq]).toEqual([FIRST, 5]);
    window.ack(SECOND);
    expect(decodeCursor(window.place)).toEqual(after(6, { a: 2 }));
    // It does not go back to the last change for that: what lies between may be trimmed by now.
    window.delivered(THIRD);
    expect(decodeCursor(window.place)).toEqual(after(6, { a: 2 }));
    expect(window.ack(SECOND)).toBe('old');
    expect(window.ack(THIRD)).toBe('new');
    expect(window.place).toBe(THIRD);
  });

  it('to read on from is behind what was delivered, acknowledged or not', () => {
    const window = windowOf(FIRST);
    expect(encodeCursor(window.readOn)).toBe(FIRST);
    window.passed(after(6, { a: 2 }));
    expect(window.readOn).toEqual(after(6, { a: 2 }));
    expect(new DeliveryWindow(BEGIN).readOn).toEqual(decodeCursor(BEGIN));
  });
});

it('cursors of one stream are in order, those of two logs are not', () => {
  const order = (a: string, b: string) => compareCursors(decodeCursor(a), decodeCursor(b));
  expect(order(FIRST, SECOND)).toBe('before');
  expect(order(THIRD, SECOND)).toBe('after');
  expect(order(SECOND, SECOND)).toBe('equal');
  expect(order(cursor(1, { a: 1, b: 2 }), cursor(1, { a: 2, b: 1 }))).toBe('unrelated');
  expect(order(FIRST, cursor(5, { a: 1 }, 1, 'other'))).toBe('unrelated');
});
