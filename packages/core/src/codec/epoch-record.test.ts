import { describe, expect, it } from 'vitest';
import type { EpochRecord } from '../model/epoch-record.js';
import { encodeControl } from './control.js';
import { decodeEpochRecord, encodeEpochRecord } from './epoch-record.js';

const RECORD: EpochRecord = {
  ...{ epoch: 3, primary: 'r2', instance: 'i-1', after: 17, admitted: 15, by: 'r2', atMs: 1_700_000_000_000 },
  ...({ why: 'switchover', leaves: ['r1'] } as const),
};

describe('a record of an epoch', () => {
  it('comes back as it was', () => {
    expect(decodeEpochRecord(encodeEpochRecord(RECORD))).toEqual(RECORD);
  });

  it.each<[string, Readonly<Record<string, unknown>>]>([
    ['of another format', { format: 2 }],
    ['of epoch 0', { epoch: 0 }],
    ['of half an epoch', { epoch: 1.5 }],
    ['of nobody', { primary: '' }],
    ['of a reserved name', { primary: '_epoch' }],
    ['without a process', { instance: '' }],
    ['with a negative counter', { after: -1 }],
    ['with a text for a counter', { after: 'all' }],
    ['with half a transaction', { admitted: 1.5 }],
    ['for no known reason', { why: 'because' }],
    ['that nobody wrote', { by: undefined }],
    ['whose leavers are no ids', { leaves: ['r1', 7] }],
    ['whose leavers are no list', { leaves: 'r1' }],
  ])('is none %s', (_, change) => {
    expect(decodeEpochRecord(encodeControl({ format: 1, ...RECORD, ...change }))).toBeUndefined();
  });

  it('is none of other bytes', () => {
    expect(decodeEpochRecord(new Uint8Array([0xc1]))).toBeUndefined();
    expect(decodeEpochRecord(encodeControl(['a']))).toBeUndefined();
  });
});
