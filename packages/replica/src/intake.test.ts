import { AntiphonError, encodeBatch, type LogEntry, type TransactionBatch } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { Intake, type IntakeOptions } from './intake.js';
import type { IntakeRules } from './intake-check.js';

const TABLE = { name: 't', columns: ['id', 'v'], key: [0] };
const RULES: IntakeRules = {
  schema: {
    version: 1,
    tables: [
      {
        name: 't',
        columns: [
          { name: 'id', declaredType: '' },
          { name: 'v', declaredType: '' },
        ],
        key: [0],
      },
    ],
    ddl: { engine: 'test', statements: [] },
  },
  soleWriter: undefined,
  limits: { clockRefusalMs: 1000, clockAlarmMs: 100 },
};
const NOW = 1_000_000;

function batch(counter: number, count = 1, over: Partial<TransactionBatch> = {}): TransactionBatch {
  return {
    kind: 'transactions',
    origin: 'a',
    firstCounter: counter,
    epoch: 0,
    time: NOW * 1000,
    context: {},
    schemaVersion: 1,
    tables: [TABLE],
    transactions: Array.from({ length: count }, (_, index) => ({
      counter: counter + index,
      time: NOW * 1000 + index,
      changes: [{ op: 'insert' as const, table: 0, row: [BigInt(counter + index), 'x'] }],
    })),
    ...over,
  };
}

function entry(seq: number, ...batches: TransactionBatch[]): LogEntry {
  const data = Buffer.concat(batches.map((one) => encodeBatch(one)));
  return { seq, origin: batches[0]?.origin ?? 'a', data, storedAtMs: NOW };
}

function plan(
  entries: readonly LogEntry[],
  vector: Record<string, number> = {},
  over: Partial<IntakeOptions> = {},
  rules = RULES,
) {
  return Intake.plan(entries, { vector, partial: {} }, rules, {
    self: 'me',
    ownLog: { vector: { me: vector['me'] ?? 0 }, partial: {} },
    ownCounter: 0,
    ownPastUpTo: 0,
    causesMayBeMissing: false,
    isMember: (origin) => origin === 'a' || origin === 'b' || origin === 'me',
    refused: () => undefined,
    ...over,
  });
}

const kinds = (steps: readonly { type: string }[]) => steps.map(({ type }) => type);

describe('Intake', () => {
  it('I2: applies each counter once and in order, dropping repetitions and holes', () => {
    const { steps, seq, notes } = plan([
      entry(2, batch(1), batch(2)),
      entry(3, batch(2, 2)),
      entry(4, batch(9)),
      entry(5, batch(4)),
    ]);
    expect(
      steps.map((step) =>
        step.type === 'transactions' ? [step.batch.firstCounter, step.skip, step.seq] : step.type,
      ),
    ).toEqual([
      [1, 0, 2],
      [2, 0, 2],
      [2, 1, 3],
      [4, 0, 5],
    ]);
    expect(seq).toBe(5);
    expect(notes).toContainEqual(
      expect.objectContaining({ type: 'hole', origin: 'a', expected: 4, found: 9 }),
    );
  });

  it('I15: puts garbage, strangers, false names and unknown tables aside, and goes on', () => {
    const garbage: LogEntry = { seq: 2, origin: 'a', data: Buffer.from('nonsense'), storedAtMs: NOW };
    const stranger = entry(3, batch(1, 1, { origin: 'stranger' }));
    const disguised = { ...entry(4, batch(1, 1, { origin: 'b' })), origin: 'a' };
    const unknownTable = entry(5, batch(1, 1, { tables: [{ ...TABLE, name: 'other' }] }));
    const otherColumns = entry(6, batch(1, 1, { tables: [{ ...TABLE, columns: ['id', 'w'] }] }));
    const { steps, seq } = plan([
      garbage,
      stranger,
      disguised,
      unknownTable,
      otherColumns,
      entry(7, batch(1)),
    ]);
    expect(kinds(steps)).toEqual([...Array.from({ length: 5 }, () => 'quarantine'), 'transactions']);
    const codes = steps.map((step) => (step.type === 'quarantine' ? step.error.code : undefined));
    expect(codes.slice(1, 5)).toEqual(['UNKNOWN_ORIGIN', 'UNKNOWN_ORIGIN', 'UNKNOWN_TABLE', 'UNKNOWN_TABLE']);
    expect(seq).toBe(7);
  });

  it("quarantines a hybrid time far ahead of the log, by the log's clock", () => {
    const ahead = batch(1, 1, { time: (NOW + 5000) * 1000, transactions: [] });
    const late = { ...batch(1), time: (NOW + 5000) * 1000 };
    const message = { ...late, transactions: late.transactions.map((one) => ({ ...one, time: late.time })) };
    expect(ahead.kind).toBe('transactions');
    expect(kinds(plan([entry(2, message)]).steps)).toEqual(['quarantine']);
  });

  it('accepts the primary only in primary-replica', () => {
    const { steps } = plan(
      [entry(2, batch(1)), entry(3, batch(1, 1, { origin: 'b' }))],
      {},
      {},
      { ...RULES, soleWriter: 'b' },
    );
    expect(kinds(steps)).toEqual(['quarantine', 'transactions']);
  });

  it('skips own messages, and halts when somebody else writes as us', () => {
    const own = batch(1, 2, { origin: 'me' });
    const ownLog = { vector: {}, partial: {} };
    const skipped = plan([entry(2, own)], { me: 2 }, { ownCounter: 2, ownLog });
    expect(skipped).toMatchObject({ steps: [], seq: 2, ownLog: { vector: { me: 2 } } });
    const entries = [entry(2, own), entry(3, batch(3, 1, { origin: 'me' })), entry(4, batch(1))];
    const halted = plan(entries, { me: 2 }, { ownCounter: 2, ownLog });
    expect(halted).toMatchObject({ seq: 2, ownLog: { vector: { me: 2 } } });
    expect(halted.halt).toMatchObject({ reason: 'foreign-writer', error: { code: 'DUPLICATE_REPLICA' } });
  });

  it('I2: drops own messages that the log has out of order, as everybody does', () => {
    const entries = [entry(2, batch(2, 1, { origin: 'me' })), entry(3, batch(1, 1, { origin: 'me' }))];
    const ownLog = { vector: {}, partial: {} };
    expect(plan(entries, { me: 1 }, { ownCounter: 1, ownLog })).toMatchObject({
      steps: [],
      seq: 3,
      ownLog: { vector: { me: 1 } },
    });
  });

  it("takes own past like anybody's", () => {
    const { steps } = plan(
      [entry(2, batch(1, 3, { origin: 'me' }))],
      { me: 1 },
      { ownCounter: 1, ownPastUpTo: 3 },
    );
    expect(steps).toMatchObject([{ type: 'transactions', skip: 1 }]);
  });

  it('I5: does not apply what builds on something that has not come', () => {
    const later = entry(2, batch(1, 1, { context: { b: 4 } }));
    expect(plan([later], { b: 4 }).steps).toHaveLength(1);
    expect(plan([later], { b: 3 })).toMatchObject({ steps: [], seq: 0, halt: { reason: 'cause-missing' } });
    expect(plan([later], { b: 3 }, { causesMayBeMissing: true })).toMatchObject({
      steps: [],
      seq: 2,
      notes: [{ type: 'hole' }],
    });
  });

  it('waits at a newer schema, before the entry', () => {
    const planned = plan([entry(2, batch(1)), entry(3, batch(2), batch(3, 1, { schemaVersion: 2 }))]);
    expect(planned).toMatchObject({ seq: 2, halt: { reason: 'newer-schema' } });
    expect(planned.steps).toHaveLength(1);
  });

  it('puts aside what the database refused, and waits for its origin', () => {
    const error = new AntiphonError('APPLY_REFUSED', 'no');
    const { steps, notes } = plan(
      [entry(2, batch(1), batch(2))],
      {},
      { refused: (_, index) => (index === 0 ? error : undefined) },
    );
    expect(kinds(steps)).toEqual(['quarantine']);
    expect(notes.filter(({ type }) => type === 'hole')).toHaveLength(2);
  });
});
