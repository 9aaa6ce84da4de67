import { expect, test } from 'vitest';
import { checkConservedTotal } from './conserved-total.js';

test('snapshots that keep the total', () => {
  expect(
    checkConservedTotal(
      [
        [10, 20],
        [30, 0],
        [-5, 35],
      ],
      30,
    ),
  ).toEqual([]);
});

test('snapshots that do not are named with the difference', () => {
  expect(checkConservedTotal([[10, 20], [10, 15], [15, 20], []], 30)).toEqual([
    {
      index: 1,
      total: 25,
      difference: -5,
      explanation: 'Snapshot 1 adds up to 25 instead of 30 (5 too little): [10, 15].',
    },
    {
      index: 2,
      total: 35,
      difference: 5,
      explanation: 'Snapshot 2 adds up to 35 instead of 30 (5 too much): [15, 20].',
    },
    {
      index: 3,
      total: 0,
      difference: -30,
      explanation: 'Snapshot 3 adds up to 0 instead of 30 (30 too little): [].',
    },
  ]);
});
