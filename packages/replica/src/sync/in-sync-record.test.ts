import { encodeControl } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { decodeInSyncRecord, encodeInSyncRecord } from './in-sync-record.js';

const record = { members: ['a', 'b'], known: ['a', 'b', 'c'], by: 'a', why: 'c is away', atMs: 5 };

describe('in-sync records', () => {
  it('come back as they were', () => {
    expect(decodeInSyncRecord(encodeInSyncRecord(record))).toEqual(record);
  });

  it('I15: what is no record changes nothing', () => {
    const wrong: unknown[] = [
      null,
      7,
      { ...record },
      { format: 2, ...record },
      { format: 1, ...record, members: [] },
      { format: 1, ...record, members: ['a', '../b'] },
      { format: 1, ...record, members: ['a', 'd'] },
      { format: 1, ...record, members: 'a' },
      { format: 1, ...record, known: undefined },
      { format: 1, ...record, by: 3 },
    ];
    for (const input of wrong) expect(decodeInSyncRecord(encodeControl(input))).toBeUndefined();
    expect(decodeInSyncRecord(new Uint8Array([0xc1]))).toBeUndefined();
    expect(decodeInSyncRecord(new Uint8Array(0))).toBeUndefined();
  });
});
