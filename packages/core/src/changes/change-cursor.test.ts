import { describe, expect, it } from 'vitest';
import { encodeControl } from '../codec/control.js';
import { compareCursors, decodeCursor, encodeCursor, type ChangeCursor } from './change-cursor.js';

describe('change cursor', () => {
  it('comes back as it went', () => {
    const cursor = {
      ...{ generation: 'g-1', seq: 42, openSeq: 7, vector: { a: 7, b: 2 ** 40 }, inside: { b: 3 } },
      entry: { seq: 42, storedAtMs: 1_764_400_000_000.125 },
    };
    expect(decodeCursor(encodeCursor(cursor))).toEqual(cursor);
    expect(encodeCursor(cursor)).toMatch(/^[\w.-]+$/);
  });

  it('names what was delivered of several transactions, whoever wrote them', () => {
    const inside = { constructor: 3, '7': 2, a: 1 };
    const cursor = { generation: 'g-1', seq: 42, vector: {}, inside };
    expect(decodeCursor(encodeCursor(cursor))).toEqual(cursor);
  });

  it('says when nobody could tell what lies before it', () => {
    const cursor = { generation: 'g-1', seq: 42, vector: { a: 7 }, inside: {}, isPartial: true } as const;
    expect(decodeCursor(encodeCursor(cursor))).toEqual(cursor);
  });

  it('compares places within a transaction', () => {
    const at = (inside: Record<string, number>): ChangeCursor => ({
      generation: 'g',
      seq: 1,
      vector: {},
      inside,
    });
    expect(compareCursors(at({ a: 1 }), at({ a: 2 }))).toBe('before');
    expect(compareCursors(at({ a: 1, b: 1 }), at({ a: 1 }))).toBe('after');
    expect(compareCursors(at({ b: 1 }), at({ a: 1 }))).toBe('unrelated');
  });

  const tampered = (...fields: unknown[]): string =>
    `${Buffer.from(encodeControl(fields)).toString('base64url')}.1`;

  it.each([
    ['too far back', tampered('g', 5, 6, {}, {}, 'a', [], false)],
    ['a vector that is none', tampered('g', 5, 0, { a: -1 }, {}, 'a', [], false)],
    ['an entry that is none', tampered('g', 5, 0, {}, {}, 'a', [1, 'x'], false)],
    ['half an entry', tampered('g', 5, 0, {}, {}, 'a', [1], false)],
    ['no origin', tampered('g', 5, 0, {}, {}, 7, [], false)],
    ['fields missing', tampered('g', 5, {})],
    ['a number too much', `${encodeCursor({ generation: 'g', seq: 5, vector: {}, inside: {} })}.1`],
  ])('refuses %s', (_, text) => {
    expect(() => decodeCursor(text)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }) as Error);
  });

  it.each(['', 'later', 'AAAA.1', 'a.b.c', '.0'])('refuses %j', (text) => {
    expect(() => decodeCursor(text)).toThrow(/not a cursor/);
  });
});
