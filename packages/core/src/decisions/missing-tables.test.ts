import { describe, expect, it } from 'vitest';
import type { InspectedTable } from '../ports/store.js';
import { missingTables } from './missing-tables.js';

function inspected(...names: string[]): { tables: readonly InspectedTable[] } {
  return { tables: names.map((name) => ({ schema: { name, columns: [] }, rowCount: 0 }) as never) };
}

describe('missingTables', () => {
  it('finds nothing missing, in whatever case SQL names are written', () => {
    expect(missingTables(inspected('Orders'), ['orders'])).toBeUndefined();
  });

  it('says what was likely meant', () => {
    const inspection = { ...inspected('stock'), otherTables: ['orders', 'order_lines', 'log'] };
    expect(missingTables(inspection, ['stock', 'ordres'])).toBe('ordres (did you mean orders?)');
    expect(missingTables(inspection, ['Ordres', 'people'])).toBe('Ordres (did you mean orders?), people');
  });

  it('lists some of what there is when nothing is alike', () => {
    const inspection = { ...inspected(), otherTables: ['a', 'b', 'c', 'd', 'e', 'f'] };
    expect(missingTables(inspection, ['orders'])).toBe('orders (it has a, b, c, d, e, …)');
    expect(missingTables(inspected(), ['orders'])).toBe('orders');
  });
});
