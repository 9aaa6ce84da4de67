import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareVersions, wins, type Version } from './version.js';

/** Few values, so that ties on every field are frequent. */
const version: fc.Arbitrary<Version> = fc.record({
  time: fc.nat({ max: 2 }),
  origin: fc.constantFrom('a', 'b', 'B', '-'),
  counter: fc.integer({ min: 1, max: 3 }),
});

describe('versions', () => {
  it('I4: are totally ordered', () => {
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        expect(compareVersions(a, b)).toBe(0 - compareVersions(b, a) === 0 ? 0 : -compareVersions(b, a));
        if (compareVersions(a, b) === 0) expect({ ...a }).toEqual({ ...b });
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0)
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
    );
  });

  it('I4: leave the same winner in whatever order they come', () => {
    fc.assert(
      fc.property(fc.array(version, { minLength: 1 }), fc.array(fc.nat()), (versions, seed) => {
        const shuffled = versions
          .map((each, i) => ({ each, at: seed[i % (seed.length || 1)] ?? i }))
          .sort((a, b) => a.at - b.at)
          .map(({ each }) => each);
        const last = (list: readonly Version[]): Version | undefined =>
          list.reduce<Version | undefined>(
            (current, each) => (wins(each, current) ? each : current),
            undefined,
          );
        expect({ ...last(versions) }).toEqual({ ...last(shuffled) });
      }),
    );
  });

  it('compare time, then origin by code unit, then counter', () => {
    const at = (time: number, origin: string, counter: number): Version => ({ time, origin, counter });
    expect(compareVersions(at(1, 'z', 9), at(2, 'a', 1))).toBe(-1);
    expect(compareVersions(at(1, 'B', 1), at(1, 'a', 1))).toBe(-1);
    expect(compareVersions(at(1, 'a', 2), at(1, 'a', 10))).toBe(-1);
    expect(compareVersions(at(1, 'a', 2), at(1, 'a', 2))).toBe(0);
  });

  it('let a transaction overwrite itself, and anything overwrite nothing', () => {
    const one = { time: 1, origin: 'a', counter: 1 };
    expect(wins(one, one)).toBe(true);
    expect(wins(one, undefined)).toBe(true);
    expect(wins(one, { ...one, counter: 2 })).toBe(false);
  });
});
