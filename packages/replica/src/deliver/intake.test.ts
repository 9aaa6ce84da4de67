import {
  AntiphonError,
  type ApplyStep,
  encodeBatch,
  type LogEntry,
  type TransactionBatch,
  encodeEpochRecord,
  firstEpoch,
} from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { Intake, type IntakeOptions } from './intake.js';
import { RULES, TABLE } from '../testing/intake-rules.js';

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

/** As `batch`, written at another time than now. */
function batchAt(timeMs: number, counter: number, over: Partial<TransactionBatch> = {}): TransactionBatch {
  const { transactions, ...rest } = batch(counter, 1, over);
  const time = timeMs * 1000;
  return { ...rest, time, transactions: transactions.map((one) => ({ ...one, time })) };
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
    epoch: firstEpoch(rules.primary),
    ...{ instance: 'mine', takesWrites: false },
    ownLog: { vector: { me: vector['me'] ?? 0 }, partial: {} },
    ownCounter: 0,
    recoverOwnUpTo: 0,
    ownLatestTime: 0,
    causesMayBeMissing: false,
    gaps: [],
    isMember: (origin) => origin === 'a' || origin === 'b' || origin === 'me',
    refused: () => undefined,
    ...over,
  });
}

const kinds = (steps: readonly { type: string }[]) => steps.map(({ type }) => type);

describe('Intake', () => {
  it('I6: what it cannot read of a member is missing, until its origin says that nothing is', () => {
    const newer: LogEntry = { ...entry(2, batch(3)), data: Buffer.from([0x9b, 0x03, 0xa1, 0x61]) };
    const { steps, seq } = plan([newer], { a: 2 });
    expect(steps).toMatchObject([
      { type: 'quarantine', seq: 2 },
      { type: 'gap', seq: 2, gap: { origin: 'a', expected: 3, found: 3, seq: 2 } },
    ]);
    expect(seq).toBe(2);
    expect(kinds(plan([{ ...newer, origin: 'me' }], { me: 2 }).steps)).toEqual(['quarantine']);
  });

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
    ).toEqual([[1, 0, 2], [2, 0, 2], [2, 1, 3], 'gap', [4, 0, 5]]);
    expect(seq).toBe(5);
    expect(notes).toContainEqual(
      expect.objectContaining({ type: 'hole', origin: 'a', expected: 4, found: 9 }),
    );
  });

  it('I15: quarantines garbage, strangers, false names and unknown tables, and continues', () => {
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
    const kept = [
      'quarantine',
      'gap',
      'quarantine',
      'quarantine',
      'quarantine',
      'quarantine',
      'transactions',
    ];
    expect(kinds(steps)).toEqual(kept);
    const codes = steps.flatMap((step) => (step.type === 'quarantine' ? step.error.code : []));
    expect(codes.slice(1, 5)).toEqual(['UNKNOWN_ORIGIN', 'UNKNOWN_ORIGIN', 'UNKNOWN_TABLE', 'UNKNOWN_TABLE']);
    expect(seq).toBe(7);
  });

  it("quarantines a hybrid time far ahead of the log, by the log's clock", () => {
    expect(kinds(plan([entry(2, batchAt(NOW + 5000, 1))]).steps)).toEqual(['quarantine', 'gap']);
    expect(kinds(plan([entry(999, batchAt(NOW + 5000, 1))]).steps)).toEqual(['quarantine', 'gap']);
    // The cluster has agreed on another limit from there on.
    expect(kinds(plan([entry(1000, batchAt(NOW + 5000, 1))]).steps)).not.toContain('quarantine');
  });

  it('I6: says what a member sent and nobody accepts is missing, once, until it or a later one is here', () => {
    const ahead = (counter: number) => batchAt(NOW + 5000, counter);
    const gapOf = (steps: readonly ApplyStep[]) =>
      steps.flatMap((step) => (step.type === 'gap' ? step.gap : []));
    const { steps } = plan([entry(2, ahead(3)), entry(3, batch(4)), entry(4, batch(5))], { a: 2 });
    expect(gapOf(steps)).toMatchObject([{ origin: 'a', expected: 3, found: 5, seq: 2 }]);
    expect(gapOf(plan([entry(3, batch(4))], { a: 2 }, { gaps: gapOf(steps) }).steps)).toEqual([]);
    // All of it has come: the next one that is missing is another gap.
    const all = entry(4, batch(3), batch(4), batch(5));
    const again = plan([all, entry(5, batch(9))], { a: 2 }, { gaps: gapOf(steps) });
    expect(gapOf(again.steps)).toMatchObject([{ origin: 'a', expected: 6, found: 9, seq: 5 }]);
    // A repetition of what is here is no news, however absurd its time.
    expect(kinds(plan([entry(2, ahead(2))], { a: 2 }).steps)).toEqual([]);
  });

  it('I6: a group of nobody may be one that others know, where replicas acknowledge', () => {
    const synchronous = { certification: undefined };
    const section = { token: 't', readSeq: 1, claims: [[]] };
    const group = entry(2, batch(1, 1, { origin: 'stranger', sync: section }));
    expect(kinds(plan([group], {}, { synchronous }).steps)).toEqual(['quarantine', 'gap']);
    expect(kinds(plan([group]).steps)).toEqual(['quarantine']);
    expect(kinds(plan([entry(2, batch(1, 1, { origin: 'stranger' }))], {}, { synchronous }).steps)).toEqual([
      'quarantine',
    ]);
    // Where one writes, nobody accepts anything of others.
    const rules = { ...RULES, primary: 'b' };
    expect(kinds(plan([group], {}, { synchronous }, rules).steps)).toEqual(['quarantine']);
  });

  it("judges own messages by everybody's rules: what is refused counts as not published", () => {
    const late = (NOW + 5000) * 1000;
    const own = batchAt(NOW + 5000, 1, { origin: 'me' });
    const ownLog = { vector: {}, partial: {} };
    const next = batch(2, 1, { origin: 'me' });
    const options = { ownCounter: 2, ownLog, ownLatestTime: late };
    const { steps, notes, ownLog: after, seq } = plan([entry(2, own), entry(3, next)], { me: 2 }, options);
    expect(steps).toEqual([]);
    expect(seq).toBe(3);
    expect(after).toEqual(ownLog);
    expect(notes).toContainEqual(
      expect.objectContaining({
        type: 'own-refused',
        counter: 1,
        error: expect.any(AntiphonError) as unknown,
      }),
    );
    const group = { ...own, sync: { token: 't', readSeq: 1, claims: [[]] } };
    const synchronous = { certification: undefined };
    const planned = plan([entry(2, group)], {}, { ...options, ownCounter: 0, synchronous });
    expect(kinds(planned.steps)).toEqual(['quarantine']);
  });

  it('refuses no time where none decides', () => {
    const late = batchAt(NOW + 1_000_000, 1);
    expect(kinds(plan([entry(2, late)]).steps)).toContain('quarantine');
    expect(kinds(plan([entry(2, late)], {}, {}, { ...RULES, timesDecide: false }).steps)).toEqual([
      'transactions',
    ]);
  });

  it('I7: a member that is not the primary is fenced, and a stranger quarantined', () => {
    const strange = entry(4, batch(1, 1, { origin: 'stranger' }));
    const { steps, notes } = plan(
      [entry(2, batch(1)), entry(3, batch(1, 1, { origin: 'b' })), strange],
      {},
      {},
      { ...RULES, primary: 'b' },
    );
    expect(kinds(steps)).toEqual(['transactions', 'quarantine']);
    expect(notes).toContainEqual({ type: 'fenced', origin: 'a', firstCounter: 1, lastCounter: 1 });
  });

  it('I7: an epoch begins with its record, and ends the plan', () => {
    const record = {
      ...{ epoch: 1, primary: 'a', instance: 'i', after: 4, by: 'a', atMs: 0, leaves: [] },
      ...({ why: 'failover' } as const),
    };
    const claim = (seq: number, changes: Partial<typeof record> = {}): LogEntry => ({
      ...entry(seq, batch(1)),
      origin: '_epoch',
      data: encodeEpochRecord({ ...record, ...changes }),
    });
    const rules = { ...RULES, primary: 'b' };
    const late = entry(6, batch(2, 1, { origin: 'b' }));
    const log = [claim(2, { epoch: 7 }), entry(3, batch(1, 1, { origin: 'b' })), claim(5), late];
    const first = plan(log, {}, {}, rules);
    expect(kinds(first.steps)).toEqual(['transactions', 'epoch']);
    expect(first.seq).toBe(5);
    const epoch = { number: 1, primary: 'a', instance: 'i', seq: 5 };
    const next = entry(8, batch(5, 1, { epoch: 1 }));
    const second = plan([late, claim(7, { primary: 'b' }), next], { b: 1, a: 4 }, { epoch }, rules);
    expect(second.steps).toMatchObject([{ type: 'transactions', batch: { origin: 'a' } }]);
    expect(second.notes).toContainEqual({ type: 'fenced', origin: 'b', firstCounter: 2, lastCounter: 2 });
    // Elected again: what the same replica had sent before comes too late, and its new one counts.
    const [old, fresh] = [1, 2].map((number) => entry(20 + number, batch(5, 1, { epoch: number })));
    const third = plan([old, fresh] as LogEntry[], { a: 4 }, { epoch: { ...epoch, number: 2 } }, rules);
    expect(third.notes).toContainEqual({ type: 'fenced', origin: 'a', firstCounter: 5, lastCounter: 5 });
    expect(third.steps).toMatchObject([{ type: 'transactions', seq: 22 }]);
    // Of a process before: it has not read what that one wrote.
    for (const instance of ['mine', 'before']) {
      const own = plan([claim(5, { primary: 'me', instance })], {}, { instance: 'mine' }, rules);
      expect(own.steps).toMatchObject([{ type: 'epoch', elected: instance === 'mine' }]);
    }
  });

  it('I5: what builds on something of an earlier primary that was missed here is missing with it', () => {
    const epoch = { number: 2, primary: 'b', instance: 'i', seq: 5 };
    const rules = { ...RULES, primary: 'b' };
    const ofB = entry(6, batch(1, 1, { origin: 'b', epoch: 2, context: { a: 4 } }));
    const { steps } = plan([ofB], { a: 2 }, { epoch }, rules);
    expect(steps).toMatchObject([
      { type: 'gap', gap: { origin: 'a', expected: 3, found: 4, seq: 6 } },
      { type: 'gap', gap: { origin: 'b', expected: 1, found: 1, seq: 6 } },
    ]);
    const whole = plan([ofB], { a: 4 }, { epoch }, rules);
    expect(kinds(whole.steps)).toEqual(['transactions']);
    expect(whole.notes.map(({ type }) => type)).not.toContain('primary-lacks');
    const ahead = plan([ofB], { a: 5, me: 9 }, { epoch }, rules);
    expect(kinds(ahead.steps)).toEqual(['transactions']);
    expect(ahead.notes).toContainEqual({
      ...{ type: 'primary-lacks', primary: 'b' },
      has: { origin: 'a', counter: 5 },
    });
    const seen = [ofB, entry(7, batch(2, 1, { origin: 'b', epoch: 2, context: { a: 5 } }))];
    const notes = (isDoubted: boolean): readonly string[] =>
      plan(seen, { a: 5 }, { epoch, isDoubted }, rules).notes.map(({ type }) => type);
    expect(notes(true), 'the primary has it after all').toEqual([
      ...['primary-lacks', 'admitted', 'primary-has', 'admitted'],
    ]);
    expect(notes(false)).not.toContain('primary-has');
  });

  it('I7: a message of a later epoch than is known halts, unless the log has no such record', () => {
    const epoch = { number: 1, primary: 'a', instance: 'i', seq: 3 };
    const rules = { ...RULES, primary: 'a' };
    const later = entry(6, batch(1, 1, { origin: 'b', epoch: 2 }));
    const halted = plan([entry(5, batch(3, 1, { epoch: 1 })), later], { a: 2 }, { epoch }, rules);
    expect(kinds(halted.steps)).toEqual(['transactions']);
    expect(halted).toMatchObject({
      seq: 5,
      halt: { reason: 'later-epoch', error: { code: 'LOG_REPLACED' } },
    });
    const error = new AntiphonError('MALFORMED_MESSAGE', 'It is forged.');
    const forged = plan([later], { a: 2 }, { epoch, refused: () => error }, rules);
    expect(forged.halt).toBeUndefined();
    expect(forged.notes).toContainEqual({ type: 'fenced', origin: 'b', firstCounter: 1, lastCounter: 1 });
  });

  it('I5: an epoch waits for what its primary has in the log and was missed here', () => {
    const record = {
      ...{ epoch: 1, primary: 'a', instance: 'i', after: 7, admitted: 4, by: 'a', atMs: 0, leaves: [] },
      ...({ why: 'restart' } as const),
    };
    const claim: LogEntry = { ...entry(5, batch(1)), origin: '_epoch', data: encodeEpochRecord(record) };
    const rules = { ...RULES, primary: 'a' };
    const missed = plan(
      [entry(4, batch(3)), claim, entry(6, batch(8, 1, { epoch: 1 }))],
      { a: 2 },
      {},
      rules,
    );
    expect(kinds(missed.steps)).toEqual(['transactions']);
    expect(missed).toMatchObject({
      seq: 4,
      waits: { seq: 5, gap: { origin: 'a', expected: 4, found: 4, seq: 5 } },
    });
    expect(kinds(plan([claim], { a: 4 }, {}, rules).steps)).toEqual(['epoch']);
    // Its own file may be an older one; what it lacks of its own comes out of the log.
    expect(kinds(plan([claim], {}, { self: 'a' }, rules).steps)).toEqual(['epoch']);
  });

  it('I3: an own one of another epoch that the database never had is for its rescue ledger', () => {
    const epoch = { number: 1, primary: 'a', instance: 'i', seq: 5 };
    const own = (counter: number, over: Partial<TransactionBatch> = {}) =>
      entry(6, batch(counter, 1, { origin: 'me', ...over }));
    const rules = { ...RULES, primary: 'a' };
    const late = plan([own(3)], { me: 2 }, { epoch }, rules);
    expect(late.steps).toMatchObject([{ type: 'fenced', batch: { origin: 'me', firstCounter: 3 }, seq: 6 }]);
    expect(late.notes).toEqual([{ type: 'fenced', origin: 'me', firstCounter: 3, lastCounter: 3 }]);
    expect(plan([own(2)], { me: 2 }, { epoch }, rules).steps).toEqual([]);
    expect(kinds(plan([own(3)], { me: 2 }, { epoch: { ...epoch, primary: 'me' } }, rules).steps)).toEqual([
      'fenced',
    ]);
    // It gives numbers itself right now: none that this one has.
    const writing = plan(
      [own(3)],
      { me: 2 },
      { epoch: { ...epoch, primary: 'me' }, takesWrites: true },
      rules,
    );
    expect(writing).toMatchObject({
      steps: [],
      seq: 0,
      halt: { reason: 'spent', error: { context: { spent: 3 } } },
    });
    // It gave the number once more, and the log has not got that: the database tells them apart.
    const ownLog = { vector: { me: 2 }, partial: {} };
    for (const takesWrites of [true, false]) {
      const options = { epoch: { ...epoch, primary: 'me' }, takesWrites, ownLog };
      expect(kinds(plan([own(3)], { me: 3 }, options, rules).steps)).toEqual(['fenced']);
      expect(plan([own(2)], { me: 3 }, options, rules).steps, 'accepted').toEqual([]);
    }
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

  it("takes recovered transactions like anybody's", () => {
    const { steps } = plan(
      [entry(2, batch(1, 3, { origin: 'me' }))],
      { me: 1 },
      { ownCounter: 1, recoverOwnUpTo: 3 },
    );
    expect(steps).toMatchObject([{ type: 'transactions', skip: 1 }]);
  });

  it('I5: does not apply what builds on something that has not come', () => {
    const later = entry(2, batch(1, 1, { context: { b: 4 } }));
    expect(plan([later], { b: 4 }).steps).toHaveLength(1);
    expect(plan([later], { b: 3 })).toMatchObject({ steps: [], seq: 0, halt: { reason: 'cause-missing' } });
    const waiting = {
      seq: 2,
      steps: [{ type: 'gap', gap: { origin: 'a', expected: 1 } }],
      notes: [{ type: 'hole' }],
    };
    expect(plan([later], { b: 3 }, { causesMayBeMissing: true })).toMatchObject(waiting);
    const gaps = [{ origin: 'b', expected: 4, found: 5, seq: 1, reason: 'lost' }];
    expect(plan([later], { b: 3 }, { gaps })).toMatchObject(waiting);
  });

  it('I5: waits for what was quarantined of the same entries, as of earlier ones', () => {
    const isMember = (origin: string) => origin !== 'b';
    const stranger = { ...entry(2, batch(1, 1, { origin: 'b' })), origin: 'b' };
    const later = entry(3, batch(1, 1, { context: { b: 1 } }));
    const planned = plan([stranger, later], {}, { isMember });
    expect(planned.halt).toBeUndefined();
    expect(planned).toMatchObject({ seq: 3, steps: [{ type: 'quarantine' }, { type: 'gap' }] });
  });

  it('waits at a newer schema, before the entry', () => {
    const planned = plan([entry(2, batch(1)), entry(3, batch(2), batch(3, 1, { schemaVersion: 2 }))]);
    expect(planned).toMatchObject({ seq: 2, halt: { reason: 'newer-schema' } });
    expect(planned.steps).toHaveLength(1);
  });

  it('quarantines what no database can apply, and waits for its origin', () => {
    const error = new AntiphonError('MALFORMED_MESSAGE', 'no');
    const { steps, notes } = plan(
      [entry(2, batch(1), batch(2))],
      {},
      { refused: (_, index) => (index === 0 ? error : undefined) },
    );
    expect(kinds(steps)).toEqual(['quarantine', 'gap']);
    expect(notes.filter(({ type }) => type === 'hole')).toHaveLength(2);
  });
});
