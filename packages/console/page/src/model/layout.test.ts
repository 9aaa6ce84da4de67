import { describe, expect, it } from 'vitest';
import { layoutOf } from './layout.js';

const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `r${index}`);

describe.each([320, 560, 900, 1400])('in %i pixels', (width) => {
  it.each([1, 2, 3, 5, 9])('%i replicas and a primary overlap nowhere, and fit', (count) => {
    const { nodes, height } = layoutOf(width, 'p', ids(count));
    expect(nodes.map(({ id }) => id)).toEqual(['p', ...ids(count)]);
    for (const node of nodes) {
      expect(node.x).toBeGreaterThanOrEqual(0);
      expect(node.x + node.width).toBeLessThanOrEqual(width);
      expect(node.y + node.height).toBeLessThanOrEqual(height);
      for (const other of nodes)
        if (other !== node)
          expect(
            node.x + node.width <= other.x ||
              other.x + other.width <= node.x ||
              node.y + node.height <= other.y ||
              other.y + other.height <= node.y,
          ).toBe(true);
    }
  });
});

it('has nothing above the log where every replica writes', () => {
  const { nodes, log, direction } = layoutOf(1000, undefined, ids(3));
  expect(direction).toBe('across');
  expect(nodes.every(({ y }) => y > log.y1)).toBe(true);
});
