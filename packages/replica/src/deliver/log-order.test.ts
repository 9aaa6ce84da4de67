import { BatchOrder, encodeBatch, type LogEntry, type TransactionBatch, firstEpoch } from '@antiphon/core';
import { expect, it } from 'vitest';
import { LogOrder } from './log-order.js';
import { RULES, TABLE } from '../testing/intake-rules.js';

const NOW_MS = 1_000_000;

function entry(seq: number, origin: string, counter: number, v: string, aheadMs = 0): LogEntry {
  const time = (NOW_MS + aheadMs) * 1000;
  const batch: TransactionBatch = {
    ...{ kind: 'transactions', origin, firstCounter: counter, epoch: 0, time, context: {} },
    ...{ schemaVersion: 1, tables: [TABLE] },
    transactions: [{ counter, time, changes: [{ op: 'insert', table: 0, row: [1n, v] }] }],
  };
  return { seq, origin, data: encodeBatch(batch), storedAtMs: NOW_MS };
}

function counting(order: LogOrder, entries: readonly LogEntry[]): readonly number[] {
  return entries.filter((one) => order.counts(one)).map(({ seq }) => seq);
}

const ENTRIES = [
  entry(2, 'a', 1, 'first'),
  // Its predecessor comes later: everybody dropped it, and a lost power before it gave the number
  // again.
  entry(3, 'a', 3, 'lost with the power'),
  entry(4, 'b', 1, 'of another'),
  entry(5, 'a', 2, 'second'),
  entry(6, 'a', 3, 'third'),
  entry(7, 'a', 3, 'repeated'),
  entry(8, 'a', 4, 'refused', 5000),
  entry(9, 'a', 4, 'fourth'),
];

it('I2: of several transactions with one number, the one behind its predecessor in the log counts', () => {
  expect(counting(new LogOrder(RULES, new BatchOrder(), firstEpoch(undefined)), ENTRIES)).toEqual([
    2, 4, 5, 6, 9,
  ]);
});

it('I2: of a log of which entries are missing, what is applied counts as having stood there', () => {
  const rest = ENTRIES.slice(3);
  expect(counting(new LogOrder(RULES, new BatchOrder(), firstEpoch(undefined)), rest)).toEqual([]);
  expect(counting(new LogOrder(RULES, new BatchOrder({ a: 1 }), firstEpoch(undefined)), rest)).toEqual([
    5, 6, 9,
  ]);
  expect(counting(new LogOrder(RULES, new BatchOrder({}), firstEpoch(undefined)), rest)).toEqual([]);
});

it('I2: of a log that was trimmed, only what is in front of the first of an origin is missing', () => {
  const trimmed = { generation: 'g', firstSeq: 2, lastSeq: 9 };
  const counts = (from: number, applied: number): readonly number[] =>
    counting(
      new LogOrder(
        RULES,
        BatchOrder.of({ ...trimmed, firstSeq: from + 2 }, { a: applied }),
        firstEpoch(undefined),
      ),
      ENTRIES.slice(from),
    );
  // Of what is applied up to a:2, the early a:3 is behind a:1 and not behind a:2.
  expect(counts(0, 2)).toEqual([2, 4, 5, 6, 9]);
  expect(counts(2, 1)).toEqual([4, 5, 6, 9]);
});

it('I2: of a trimmed log, what is behind an entry of its origin does not count by what is applied', () => {
  const [first, early, , second, third] = ENTRIES as [LogEntry, LogEntry, LogEntry, LogEntry, LogEntry];
  const behind = [first, early, second, third].map((one) => ({ ...one, seq: one.seq + 10 }));
  const identity = { generation: 'g', firstSeq: 12, lastSeq: 16 };
  // a:2 is applied, and stands behind the early a:3: that one was dropped, whoever reads it later.
  expect(
    counting(new LogOrder(RULES, BatchOrder.of(identity, { a: 2 }), firstEpoch(undefined)), behind),
  ).toEqual([12, 15, 16]);
});
