import { describe, expect, it } from 'vitest';
import { neededFirst, needsOf } from './needed-first.js';

const order = (
  count: number,
  pairs: readonly (readonly [number, number])[],
): readonly (readonly number[])[] => neededFirst(needsOf(count, pairs));

describe('neededFirst', () => {
  it('leaves what needs nothing as it is', () => {
    expect(order(3, [])).toEqual([[0], [1], [2]]);
    expect(order(0, [])).toEqual([]);
  });

  it('puts what is needed first, and what needs itself where it is', () => {
    expect(
      order(4, [
        [0, 2],
        [2, 3],
        [1, 1],
      ]),
    ).toEqual([[3], [2], [0], [1]]);
  });

  it('keeps what needs each other together, between what it needs and what needs it', () => {
    const groups = order(6, [
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 1],
      [3, 4],
      [5, 2],
    ]);
    expect(groups.map((group) => [...group].sort())).toEqual([[4], [1, 2, 3], [0], [5]]);
  });

  it('orders random graphs, and a chain of any length', () => {
    let seed = 1;
    const random = (limit: number): number => (seed = (seed * 48_271) % 2_147_483_647) % limit;
    for (let run = 0; run < 200; run++) {
      const count = 1 + random(20);
      const needs = Array.from({ length: random(40) }, () => [random(count), random(count)] as const);
      const groups = order(count, needs);
      const place = new Map(groups.flatMap((group, index) => group.map((node) => [node, index] as const)));
      expect(place.size).toBe(count);
      for (const [node, needed] of needs) expect(place.get(needed)).toBeLessThanOrEqual(place.get(node)!);
      const reach = reachable(count, needs);
      for (const group of groups)
        for (const one of group) for (const other of group) expect(reach[one]![other]).toBe(true);
    }
    const length = 200_000;
    const chain = order(
      length,
      Array.from({ length: length - 1 }, (_, node) => [node, node + 1] as const),
    );
    expect(chain.length).toBe(length);
    expect(chain[0]).toEqual([length - 1]);
  });
});

function reachable(count: number, needs: readonly (readonly [number, number])[]): boolean[][] {
  const reach = Array.from({ length: count }, (_, from) =>
    Array.from({ length: count }, (__, to) => from === to),
  );
  for (const [from, to] of needs) reach[from]![to] = true;
  for (let over = 0; over < count; over++)
    for (let from = 0; from < count; from++)
      for (let to = 0; to < count; to++) reach[from]![to] ||= reach[from]![over]! && reach[over]![to]!;
  return reach;
}
