import { describe, expect, it } from 'vitest';
import type { LeaseRecord } from '../model/lease-record.js';
import { encodeControl } from './control.js';
import { decodeLeaseRecord, encodeLeaseRecord } from './lease-record.js';

const RECORD: LeaseRecord = { epoch: 3, holder: 'r2', instance: 'i-1', leaseMs: 2000, n: 17 };

describe('a record of a lease', () => {
  it.each([RECORD, { ...RECORD, epoch: 0, n: 1 }, { ...RECORD, writingMs: 23_000 }])(
    'comes back as it was',
    (record) => {
      expect(decodeLeaseRecord(encodeLeaseRecord(record))).toEqual(record);
    },
  );

  it.each<[string, Readonly<Record<string, unknown>>]>([
    ['of another format', { format: 2 }],
    ['of half an epoch', { epoch: 1.5 }],
    ['of a negative epoch', { epoch: -1 }],
    ['of no epoch', { epoch: undefined }],
    ['of nobody', { holder: '' }],
    ['of a reserved name', { holder: '_epoch' }],
    ['without a process', { instance: '' }],
    ['with an endless process', { instance: 'x'.repeat(201) }],
    ['that lasts no time', { leaseMs: 0 }],
    ['that lasts for ever', { leaseMs: Infinity }],
    ['with a text for a number', { n: 'all' }],
    ['that is number 0', { n: 0 }],
  ])('is none %s', (_, change) => {
    expect(decodeLeaseRecord(encodeControl({ format: 1, ...RECORD, ...change }))).toBeUndefined();
  });

  it.each([-1, 0.5, 'long', null])('says nothing of a write that lasts for %s', (writingMs) => {
    expect(decodeLeaseRecord(encodeControl({ format: 1, ...RECORD, writingMs }))).toEqual(RECORD);
  });

  it('is none of other bytes', () => {
    expect(decodeLeaseRecord(new Uint8Array([0xc1]))).toBeUndefined();
    expect(decodeLeaseRecord(encodeControl(['a']))).toBeUndefined();
  });
});
