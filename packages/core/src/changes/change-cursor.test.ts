import { describe, expect, it } from 'vitest';
import { decodeCursor, encodeCursor } from './change-cursor.js';

describe('change cursor', () => {
  it('comes back as it went', () => {
    const cursor = { generation: 'g-1', seq: 42, vector: { a: 7, b: 2 ** 40 }, skip: 3 };
    expect(decodeCursor(encodeCursor(cursor))).toEqual(cursor);
    expect(encodeCursor(cursor)).toMatch(/^[\w.-]+$/);
  });

  it('says when nobody could tell what lies before it', () => {
    const cursor = { generation: 'g-1', seq: 42, vector: { a: 7 }, skip: 0, isPartial: true } as const;
    expect(decodeCursor(encodeCursor(cursor))).toEqual(cursor);
  });

  it.each(['', 'later', 'AAAA.1', 'a.b.c', '.0'])('refuses %j', (text) => {
    expect(() => decodeCursor(text)).toThrow(/not a cursor/);
  });
});
