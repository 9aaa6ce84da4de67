import { encodeBatch, firstEpoch, type LogEntry, type TransactionBatch } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { RULES, TABLE } from '../testing/intake-rules.js';
import { judgeAgain } from './judge-again.js';

const NOW_MS = 1_000_000;

function entry(counter: number, over: Partial<TransactionBatch> = {}): LogEntry {
  const time = NOW_MS * 1000;
  const batch: TransactionBatch = {
    ...{ kind: 'transactions', origin: 'a', firstCounter: counter, epoch: 0, time, context: {} },
    ...{ schemaVersion: 1, tables: [TABLE] },
    transactions: [{ counter, time, changes: [{ op: 'insert', table: 0, row: [1n, 'x'] }] }],
    ...over,
  };
  return { seq: 5, origin: 'a', data: encodeBatch(batch), storedAtMs: NOW_MS };
}

const GROUP = { sync: { token: 't', readSeq: 1, claims: [[]] } };

function verdict(late: LogEntry, known = true, rules = RULES) {
  const state = { vector: { a: 2 }, partial: {} };
  const { steps, obstacle } = judgeAgain(late, state, rules, {
    self: 'me',
    known,
    epoch: firstEpoch(rules.primary),
  });
  return obstacle ?? steps.map(({ type }) => type);
}

describe('what was passed, and is judged again', () => {
  it('I2: is applied when it is the next one of its origin, and not over what is missing', () => {
    expect(verdict(entry(3))).toEqual(['transactions']);
    expect(verdict(entry(4))).toMatch(/^a:3 comes before it/);
    expect(verdict(entry(2))).toEqual([]);
    expect(verdict(entry(3), false)).toMatch(/not a member/);
  });

  it('I4: is not applied where its place in the log has judged it, and later ones with it', () => {
    expect(verdict(entry(3, GROUP))).toMatch(/judged by its place in the log/);
    expect(verdict(entry(3, GROUP), true, { ...RULES, primary: 'a' })).toEqual(['transactions']);
  });

  it('I5: waits for what it builds on', () => {
    expect(verdict(entry(3, { context: { b: 1 } }))).toMatch(/builds on b:1/);
  });
});
