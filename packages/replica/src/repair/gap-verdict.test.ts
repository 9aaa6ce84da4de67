import { describe, expect, it } from 'vitest';
import { isUnfounded, type Witness } from './gap-verdict.js';

const gap = { origin: 'a', expected: 5, seq: 100 };

function witnesses(...list: readonly Witness[]): ReadonlyMap<string, Witness> {
  return new Map(list.map((witness) => [witness.id, witness]));
}

describe('a gap is unfounded', () => {
  it('I2: when its origin has read past it and never gave that counter', () => {
    const says = (seq: number, counter: number) =>
      isUnfounded(gap, witnesses({ id: 'a', seq, vector: { a: counter } }), undefined);
    expect(says(100, 4)).toBe(true);
    expect(says(99, 4)).toBe(false);
    expect(says(500, 5)).toBe(false);
    expect(isUnfounded(gap, witnesses(), undefined)).toBe(false);
  });

  it('I6: when no member that is in sync has it, whatever has become of its origin', () => {
    const b = { id: 'b', seq: 100, vector: { a: 4 } };
    const c = { id: 'c', seq: 120, vector: { a: 4 } };
    expect(isUnfounded(gap, witnesses(b, c), ['b', 'c'])).toBe(true);
    expect(isUnfounded(gap, witnesses(b, { ...c, vector: { a: 5 } }), ['b', 'c'])).toBe(false);
    expect(isUnfounded(gap, witnesses(b, { ...c, seq: 99 }), ['b', 'c'])).toBe(false);
    expect(isUnfounded(gap, witnesses(b), ['b', 'c'])).toBe(false);
    expect(isUnfounded(gap, witnesses(b, c), undefined)).toBe(false);
    // Nobody else is in sync: nobody else has acknowledged anything.
    expect(isUnfounded(gap, witnesses(), [])).toBe(true);
  });
});
