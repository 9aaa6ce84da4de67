import { systemClock } from '@antiphon/core';
import { expect, it } from 'vitest';
import { Health } from './health.js';
import { Conflicts } from './conflicts.js';
import { silentLogger } from '../config/logger.js';

const version = (origin: string) => ({ time: 1, origin, counter: 1 });

it('names table, key and both origins, and ends the alarm when there has been none for ten minutes', () => {
  let now = 1_000;
  const clock = { ...systemClock(), nowMs: () => now, monotonicMs: () => now };
  const health = new Health(() => 'peer', clock, silentLogger);
  const conflicts = new Conflicts(health, clock, 'async');
  conflicts.note({ transactions: 1, rows: 1, conflicts: 0 });
  expect(health.alarms).toEqual([]);

  const lastConflicts = [
    { table: 't', columns: [], key: [7n, "o'x", null], winner: version('eu-1'), loser: version('us-1') },
  ];
  conflicts.note({ transactions: 1, rows: 1, conflicts: 1, lastConflicts });
  expect(conflicts.reports).toEqual([
    { table: 't', key: ['7', "'o''x'", 'NULL'], winner: 'eu-1', loser: 'us-1', atMs: 1000 },
  ]);
  expect(health.alarms[0]?.message).toContain(
    "(once, the last one in table t, key 7, 'o''x', NULL: eu-1 won over us-1)",
  );

  now += 599_000;
  conflicts.note({
    transactions: 1,
    rows: 1,
    conflicts: 20,
    lastConflicts: Array(16).fill(lastConflicts[0]),
  });
  expect(conflicts.reports).toHaveLength(16);
  expect(health.alarms[0]?.message).toContain('(21 times');
  now += 599_000;
  conflicts.look();
  expect(health.alarms).toHaveLength(1);
  now += 1_000;
  conflicts.look();
  expect(health.alarms).toEqual([]);
  expect(conflicts.reports).toHaveLength(16);
});

it.each([
  ['async', /use synchronous updates/, /foreignWrites/],
  ['sync', /`foreignWrites: refuse`/, /use synchronous updates/],
] as const)('says what helps where updates are %s', (mode, says, doesNotSay) => {
  const clock = systemClock();
  const health = new Health(() => 'peer', clock, silentLogger);
  new Conflicts(health, clock, mode).note({ transactions: 1, rows: 1, conflicts: 1 });
  expect(health.alarms[0]?.message).toMatch(says);
  expect(health.alarms[0]?.message).not.toMatch(doesNotSay);
});
