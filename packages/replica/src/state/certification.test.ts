import { encodeBatch, type LogEntry } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { Certification } from './certification.js';

function group(seq: number, counter: number, readSeq: number): LogEntry {
  const data = encodeBatch({
    ...{ kind: 'transactions', origin: 'a', firstCounter: counter, epoch: 0, time: 1, context: {} },
    ...{ schemaVersion: 1, tables: [{ name: 't', columns: ['id'], key: [0] }] },
    transactions: [{ counter, time: 1, changes: [{ op: 'insert', table: 0, row: [BigInt(counter)] }] }],
    sync: { token: `x${seq}`, readSeq, claims: [[1]] },
  });
  return { seq, origin: 'a', data, storedAtMs: 0 };
}

describe('certification', () => {
  it('I4: knows up to where every entry has passed it, and takes none twice', () => {
    const certification = new Certification();
    certification.look(group(2, 1, 1));
    certification.look({ ...group(3, 1, 1), origin: '_barrier' });
    expect([certification.seenSeq, certification.size]).toEqual([3, 1]);
    certification.look(group(2, 1, 1));
    certification.dealtWith(5);
    certification.look(group(4, 2, 1));
    expect([certification.seenSeq, certification.size]).toEqual([5, 1]);
  });
});
