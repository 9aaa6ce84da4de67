import { expect } from 'vitest';
import type { ChaosCluster } from './cluster.js';

/**
 * After everything has healed and converged: what a process saw committed is there, unless it was
 * deleted again; every effect of a trigger is there once; nothing is there that nobody wrote.
 */
export function checkNothingLostNothingTwice(cluster: ChaosCluster): number {
  const { committed, mayBeDeleted } = cluster.journal();
  for (const rows of cluster.read('SELECT id FROM entries ORDER BY id')) {
    const present = new Set((JSON.parse(rows) as [string][]).map(([id]) => id));
    const lost = committed.filter(({ id }) => !mayBeDeleted.has(id) && !present.has(id));
    expect(lost, 'committed rows that are gone').toEqual([]);
  }
  for (const rows of cluster.read('SELECT what, count(*) FROM audit GROUP BY 1 HAVING count(*) <> 1')) {
    expect(rows, 'orders whose trigger took effect more than once').toBe('[]');
  }
  for (const rows of cluster.read('SELECT id FROM orders EXCEPT SELECT what FROM audit')) {
    expect(rows, 'orders whose trigger effect is missing').toBe('[]');
  }
  const counters = committed.map(({ origin, counter }) => `${origin}:${counter}`);
  expect(new Set(counters).size, 'transaction ids given twice').toBe(counters.length);
  return committed.length;
}
