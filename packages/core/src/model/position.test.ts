import { describe, expect, it } from 'vitest';
import { describeEntry, formatPosition, isSameEntry, movedTo } from './position.js';

const read = { seq: 7, storedAtMs: 1_700_000_000_000.25 };
const appended = { seq: 7, attempt: 'a:1-2~x' };
const asked = { ...read, ...appended };

describe('I14: an entry that is known', () => {
  it('is recognized by what both sides know of it', () => {
    expect(isSameEntry(read, asked)).toBe(true);
    expect(isSameEntry(appended, asked)).toBe(true);
    expect(isSameEntry(read, { ...asked, storedAtMs: read.storedAtMs + 0.001 })).toBe(false);
    expect(isSameEntry(appended, { ...asked, attempt: 'a:1-2~y' })).toBe(false);
    expect(isSameEntry(asked, { ...asked, storedAtMs: read.storedAtMs + 0.001 })).toBe(false);
  });

  it('is not compared with what tells nothing', () => {
    expect(isSameEntry(read, appended)).toBeUndefined();
    expect(isSameEntry(read, { ...read, seq: 8 })).toBeUndefined();
    expect(isSameEntry({ seq: 7 }, asked)).toBeUndefined();
  });

  it('stays known when the position goes on without one', () => {
    const position = { generation: 'g', seq: 7, entry: read };
    expect(movedTo(position, { generation: 'g', seq: 9 })).toEqual({ ...position, seq: 9 });
    const next = { generation: 'g', seq: 8, entry: { seq: 8, attempt: 'x' } };
    expect(movedTo(position, next)).toEqual(next);
    expect(movedTo(position, { generation: 'other', seq: 9 })).toEqual({ generation: 'other', seq: 9 });
    expect(movedTo(position, { generation: 'g', seq: 6 })).toEqual({ generation: 'g', seq: 6 });
  });

  it('is told by its time and its append', () => {
    expect(describeEntry(asked)).toBe('stored at 2023-11-14T22:13:20.000Z by append a:1-2~x');
    expect(describeEntry(appended)).toBe('stored by append a:1-2~x');
  });
});

it('a place shows enough of its log to tell it from the one that was made a millisecond later', () => {
  const of = (generation: string): string => formatPosition({ generation, seq: 42 });
  expect(of('0192f3a4-b5c6-7d8e-9f00-112233445566')).toBe('0192f3a4-b5c6/42');
  expect(of('0192f3a4-b5c7-7d8e-9f00-112233445566')).toBe('0192f3a4-b5c7/42');
});
