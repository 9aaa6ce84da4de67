import type { PartBatch, SealedTransaction, TransactionBatch } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { counterThatDiffers } from './second-life.js';

const HEADER = { origin: 'a', epoch: 0, context: {}, schemaVersion: 1 };
const TABLES = [{ name: 't', columns: ['id', 'v'], key: [0] }];

function transaction(counter: number, value: string, time = counter * 1000): SealedTransaction {
  return { counter, time, changes: [{ op: 'insert', table: 0, row: [BigInt(counter), value] }] };
}

function batch(...transactions: SealedTransaction[]): TransactionBatch {
  const { counter = 0, time = 0 } = transactions[0] ?? {};
  return { ...HEADER, kind: 'transactions', firstCounter: counter, time, tables: TABLES, transactions };
}

function part(time: number, offset: number, body: string): PartBatch {
  return {
    ...{ ...HEADER, kind: 'part', firstCounter: 2, time, tables: TABLES },
    ...{ offset, last: false, body: new TextEncoder().encode(body) },
  };
}

describe('what two files under one id have under one number', () => {
  it('is the same however it was packed', () => {
    const [one, two, three] = [transaction(1, 'x'), transaction(2, 'y'), transaction(3, 'z')];
    expect(counterThatDiffers(batch(one, two), batch(two, three))).toBeUndefined();
    expect(counterThatDiffers(batch(one), batch(two, three))).toBeUndefined();
    expect(counterThatDiffers(part(2000, 0, 'abcd'), part(2000, 2, 'cdef'))).toBeUndefined();
    expect(counterThatDiffers(part(2000, 0, 'ab'), part(2000, 2, 'zz'))).toBeUndefined();
    expect(counterThatDiffers(part(2000, 0, 'ab'), batch(one, two))).toBeUndefined();
  });

  it('differs by its time, and by what it changes where a clock stood still', () => {
    const ours = batch(transaction(2, 'y'), transaction(3, 'z'));
    expect(counterThatDiffers(batch(transaction(1, 'x'), transaction(2, 'y', 2001)), ours)).toBe(2);
    expect(counterThatDiffers(batch(transaction(2, 'y'), transaction(3, 'other')), ours)).toBe(3);
    expect(counterThatDiffers(part(2001, 0, 'ab'), ours)).toBe(2);
    expect(counterThatDiffers(ours, part(2001, 0, 'ab'))).toBe(2);
    expect(counterThatDiffers(part(2001, 0, 'ab'), part(2000, 0, 'ab'))).toBe(2);
    expect(counterThatDiffers(part(2000, 0, 'abcd'), part(2000, 2, 'cX'))).toBe(2);
  });
});
