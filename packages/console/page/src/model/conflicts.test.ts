import { expect, it } from 'vitest';
import { conflictsOf, reasonOf } from './conflicts.js';

const winner = { origin: 'b', counter: 4, time: 2_001_500 };
const loser = { origin: 'a', counter: 9, time: 2_000_000 };
const one = { id: 1, table: 't', key: [7], columns: ['id', 'x'], winner, loser, atMs: 20 };
const conflict = { ...one, kept: [7, 'b'], here: [7, 'b'] };

it('what several replicas have decided alike is one conflict, with every row that one of them has', () => {
  const list = (id: string, conflicts: readonly object[]) => ({ id, conflicts, total: 1, more: false });
  const replicas = [
    list('a', [{ ...conflict, lost: [7, 'a'] }]),
    list('b', [
      { ...conflict, id: 3, atMs: 10, here: [7, 'c'] },
      { ...conflict, id: 2, key: [8], atMs: 5 },
    ]),
    { id: 'c', error: { code: 'TIMEOUT', message: 'No answer.' } },
  ];
  const found = conflictsOf({ replicas } as never);
  expect(found).toHaveLength(2);
  expect(found[0]).toMatchObject({ key: [7], atMs: 10, kept: [7, 'b'], lost: [7, 'a'] });
  expect(found[0]?.by).toEqual([
    { replica: 'a', here: [7, 'b'] },
    { replica: 'b', here: [7, 'c'] },
  ]);
});

it('why a change stays is said: it is later, or the name decides', () => {
  const shown = (ms: number): string => `${ms} ms`;
  expect(reasonOf(conflict, shown)).toMatch(/b wrote 1\.5 ms later/);
  expect(reasonOf({ ...conflict, loser: { ...loser, time: winner.time } }, shown)).toMatch(
    /the name decides/,
  );
});
