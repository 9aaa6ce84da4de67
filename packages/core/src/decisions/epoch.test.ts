import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeEpochRecord } from '../codec/epoch-record.js';
import type { BatchSummary } from '../codec/batch-summary.js';
import type { EpochRecord } from '../model/epoch-record.js';
import type { LogEntry } from '../ports/log.js';
import { EPOCH_ORIGIN, epochAt, EpochFold, firstEpoch, inEpoch, isFenced, nextEpoch } from './epoch.js';

const RECORD: EpochRecord = {
  ...{ epoch: 1, primary: 'b', instance: 'i1', after: 0 },
  ...({ by: 'b', why: 'failover', atMs: 1, leaves: [] } as const),
};

function batch(origin: string, epoch: number): BatchSummary {
  return {
    ...{ kind: 'transactions', origin, firstCounter: 1, lastCounter: 1, offset: 0, bytes: 0, last: true },
    ...{ epoch, time: 0, schemaVersion: 1 },
  };
}

function entry(seq: number, record: Partial<EpochRecord>): LogEntry {
  return { seq, origin: EPOCH_ORIGIN, storedAtMs: 0, data: encodeEpochRecord({ ...RECORD, ...record }) };
}

describe('epochs', () => {
  it('I7: of rivals for one epoch, the first in the order of the log wins', () => {
    const fold = new EpochFold(firstEpoch('a'));
    expect(fold.take(entry(5, { primary: 'b' }))).toMatchObject({ primary: 'b' });
    expect(fold.take(entry(6, { primary: 'c', instance: 'i2' }))).toBeUndefined();
    expect(fold.current).toEqual({ number: 1, primary: 'b', instance: 'i1', seq: 5 });
    expect(fold.take(entry(7, { epoch: 3, primary: 'c' })), 'one was left out').toBeUndefined();
    expect(fold.take(entry(8, { epoch: 2, primary: 'c' }))).toMatchObject({ epoch: 2 });
  });

  it('I7: what is of another epoch or replica is fenced', () => {
    const epoch = { number: 2, primary: 'a', instance: 'i', seq: 9 };
    expect(isFenced(epoch, batch('a', 2))).toBe(false);
    expect(isFenced(epoch, batch('b', 2))).toBe(true);
    expect(isFenced(epoch, batch('a', 1)), 'written before it was deposed and elected again').toBe(true);
    expect(isFenced(firstEpoch(undefined), batch('b', 0)), 'everybody writes').toBe(false);
    expect(isFenced(firstEpoch(undefined), batch('b', 1))).toBe(true);
  });

  it('begin nothing where every member writes, or where the primary is one for good', () => {
    expect(nextEpoch(firstEpoch(undefined), RECORD, 3)).toBeUndefined();
    expect(nextEpoch(firstEpoch('a', true), RECORD, 3)).toBeUndefined();
    const unchanging = new EpochFold(firstEpoch('a', true));
    expect(unchanging.take(entry(3, {}))).toBeUndefined();
    expect(isFenced(unchanging.current, batch('a', 0))).toBe(false);
  });

  it('I2: spend the counters of the new primary, and drop what is in parts', () => {
    const parts = { a: { counter: 8, time: 1, bytes: 10 } };
    const state = { vector: { a: 7, b: 3 }, partial: parts };
    expect(inEpoch(state, { ...RECORD, after: 5 })).toEqual({ vector: { a: 7, b: 5 }, partial: {} });
    expect(inEpoch(state, { ...RECORD, after: 2 }).vector).toBe(state.vector);
  });

  it('are known by the place of an entry', () => {
    const epochs = [firstEpoch('a'), { number: 1, primary: 'b', instance: 'i', seq: 5 }];
    expect([1, 5, 6, 99].map((seq) => epochAt(epochs, seq).number)).toEqual([0, 0, 1, 1]);
  });

  it('I7: come out alike for everybody who reads one log, from wherever it is read on', () => {
    const claims = fc.array(
      fc.record({ epoch: fc.integer({ min: 1, max: 6 }), primary: fc.constantFrom('a', 'b', 'c') }),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(claims, fc.nat(30), (records, from) => {
        const log = records.map((record, index) => entry(index + 1, record));
        const whole = new EpochFold(firstEpoch('a'));
        const epochs = [whole.current];
        for (const one of log) if (whole.take(one) !== undefined) epochs.push(whole.current);
        expect(epochs.map(({ number }) => number)).toEqual(epochs.map((_, number) => number));
        const later = new EpochFold(epochAt(epochs, from));
        for (const one of log.filter(({ seq }) => seq >= from)) later.take(one);
        expect(later.current).toEqual(whole.current);
      }),
    );
  });
});
