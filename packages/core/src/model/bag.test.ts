import { expect, it } from 'vitest';
import { Bag } from './bag.js';

it('holds what was added and not deleted since, whatever the order', () => {
  const bag = new Bag<{ place: number; readonly id: number }>();
  const items = Array.from({ length: 6 }, (_, id) => ({ place: 0, id }));
  const [first, second, third, , , last] = items;
  for (const item of items) bag.add(item);
  const ids = (): number[] => [...bag].map(({ id }) => id).sort();
  for (const item of [last, first, third]) if (item !== undefined) bag.delete(item);
  expect(ids()).toEqual([1, 3, 4]);
  if (first !== undefined) bag.delete(first);
  expect(bag.size, 'not twice').toBe(3);
  if (second !== undefined) bag.delete(second);
  if (last !== undefined) bag.add(last);
  expect(ids()).toEqual([3, 4, 5]);
  for (const item of [...bag]) bag.delete(item);
  expect(bag.size).toBe(0);
});
