import { describe, expect, it } from 'vitest';
import { MAX_GAPS, type Gap } from '../ports/store.js';
import { withGap, withoutArrived, withoutGap } from './gaps.js';

const gap = (origin: string, expected: number, seq = 10): Gap => ({
  ...{ origin, expected, found: expected + 1, seq },
  reason: 'it has not come',
});

describe('gaps', () => {
  it('I2: are kept one per origin, the earliest', () => {
    const gaps = withGap(withGap([], gap('a', 3, 10), {}), gap('b', 1, 12), {});
    expect(gaps.map(({ origin }) => origin)).toEqual(['a', 'b']);
    expect(withGap(gaps, gap('a', 3, 20), {})).toBe(gaps);
  });

  it('are none where the origin has got further', () => {
    expect(withGap([], gap('a', 3), { a: 3 })).toEqual([]);
    expect(withGap([], gap('a', 3), { a: 2 })).toHaveLength(1);
  });

  it('are closed by the transaction that was missing, and by nothing before it', () => {
    const gaps = [gap('a', 3), gap('b', 1)];
    expect(withoutArrived(gaps, 'a', 2)).toBe(gaps);
    expect(withoutArrived(gaps, 'c', 9)).toBe(gaps);
    expect(withoutArrived(gaps, 'a', 4)).toEqual([gaps[1]]);
    expect(withoutGap(gaps, 'b')).toEqual([gaps[0]]);
    expect(withoutGap(gaps, 'c')).toBe(gaps);
  });

  it('I6: last until everything that was dropped behind them has come again', () => {
    const three = withGap([gap('a', 3, 10)], { ...gap('a', 3, 12), found: 6 }, { a: 2 });
    expect(three).toEqual([{ ...gap('a', 3, 10), found: 6 }]);
    expect(withGap(three, { ...gap('a', 3, 11), found: 5 }, { a: 2 })).toBe(three);
    const less = withoutArrived(three, 'a', 4);
    expect(less).toEqual([{ ...three[0], expected: 5 }]);
    expect(withoutArrived(less, 'a', 6)).toEqual([]);
  });

  it('are bounded', () => {
    const many = Array.from({ length: MAX_GAPS }, (_, n) => gap(`o${n}`, 1));
    expect(withGap(many, gap('late', 1), {})).toBe(many);
  });
});
