import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { advance, compareVectors, counterOf, covers, dominates, merge } from './vector-clock.js';

/**
 * Few origins and low counters, so that every order between two vectors is frequent. `constructor`
 * is a valid id.
 */
const origin = fc.constantFrom('a', 'b', 'constructor');
const vector = fc.dictionary(origin, fc.nat({ max: 3 }), { noNullPrototype: true });

function normalized(input: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(input).filter(([, counter]) => counter > 0));
}

describe('a vector clock', () => {
  it('merges commutatively, associatively and idempotently', () => {
    fc.assert(
      fc.property(vector, vector, vector, (a, b, c) => {
        expect(normalized(merge(a, b))).toEqual(normalized(merge(b, a)));
        expect(normalized(merge(merge(a, b), c))).toEqual(normalized(merge(a, merge(b, c))));
        expect(merge(a, a)).toEqual(a);
      }),
    );
  });

  it('merges to the least vector that dominates both', () => {
    fc.assert(
      fc.property(vector, vector, vector, (a, b, c) => {
        const merged = merge(a, b);
        expect(dominates(merged, a) && dominates(merged, b)).toBe(true);
        if (dominates(c, a) && dominates(c, b)) expect(dominates(c, merged)).toBe(true);
      }),
    );
  });

  it('is partially ordered', () => {
    fc.assert(
      fc.property(vector, vector, vector, (a, b, c) => {
        expect(dominates(a, a)).toBe(true);
        if (dominates(a, b) && dominates(b, a)) expect(normalized(a)).toEqual(normalized(b));
        if (dominates(a, b) && dominates(b, c)) expect(dominates(a, c)).toBe(true);
      }),
    );
  });

  it('compares as it dominates', () => {
    fc.assert(
      fc.property(vector, vector, (a, b) => {
        const turned = {
          equal: 'equal',
          before: 'after',
          after: 'before',
          concurrent: 'concurrent',
        } as const;
        const order = compareVectors(a, b);
        expect(compareVectors(b, a)).toBe(turned[order]);
        expect(order === 'equal' || order === 'after').toBe(dominates(a, b));
      }),
    );
    expect(compareVectors({ a: 1 }, { a: 1, b: 0 })).toBe('equal');
    expect(compareVectors({ a: 1 }, { a: 2 })).toBe('before');
    expect(compareVectors({ a: 1 }, { b: 1 })).toBe('concurrent');
  });

  it('covers what it was advanced to, and everything before', () => {
    fc.assert(
      fc.property(
        vector,
        origin,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        (before, of, counter, other) => {
          const after = advance(before, of, counter);
          expect(dominates(after, before)).toBe(true);
          expect(counterOf(after, of)).toBe(Math.max(counterOf(before, of), counter));
          expect(covers(after, { origin: of, counter: other })).toBe(other <= counterOf(after, of));
        },
      ),
    );
  });

  it('gives 0 for an origin that it does not hold, also for one that every object inherits', () => {
    for (const name of ['a', 'constructor', 'toString', '__proto__']) expect(counterOf({}, name)).toBe(0);
  });

  it('never changes its arguments', () => {
    const a = Object.freeze({ a: 1 });
    expect(merge(a, Object.freeze({ b: 1 }))).toEqual({ a: 1, b: 1 });
    expect(advance(a, 'a', 2)).toEqual({ a: 2 });
    expect(advance(a, 'a', 1)).toBe(a);
  });
});
