import type { RowDigest } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { comparePages } from './row-differences.js';

const rows = (...ids: (number | string)[]): RowDigest[] =>
  ids.map((id) => {
    const [key = '', digest = 'same'] = String(id).split(':');
    return { key: [BigInt(key)], digest };
  });

describe('comparePages', () => {
  it('names rows that differ, and rows that one side misses', () => {
    const { rows: found } = comparePages(rows(1, '2:x', 3, 5), rows(1, 2, 4, 5));
    expect(found.map(({ key, kind }) => `${String(key[0])} ${kind}`)).toEqual([
      '2 differs',
      '3 only-left',
      '4 only-right',
    ]);
  });

  it('goes on after what was compared', () => {
    const compared = comparePages(rows(1, 2, 3), rows(2, 3, 4));
    expect(compared.rows).toEqual([{ key: [1n], kind: 'only-left' }]);
    expect([compared.leftAfter, compared.rightAfter]).toEqual([[3n], [3n]]);
    expect(comparePages(rows(), rows(4, 5)).rows).toHaveLength(2);
  });
});
