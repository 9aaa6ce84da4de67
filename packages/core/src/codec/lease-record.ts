import { isIdentifier } from '../model/identifier.js';
import type { LeaseRecord } from '../model/lease-record.js';
import { decodeRecord, encodeControl } from './control.js';

const FORMAT = 1;
const MAX_TEXT = 200;

export function encodeLeaseRecord(record: LeaseRecord): Uint8Array {
  return encodeControl({ format: FORMAT, ...record });
}

/** Undefined for what is no such record: somebody else's message holds nobody back. */
export function decodeLeaseRecord(data: Uint8Array): LeaseRecord | undefined {
  const input = decodeRecord(data, FORMAT);
  if (input === undefined) return undefined;
  const { holder, instance } = input;
  const [epoch = -1, leaseMs = -1, n = -1] = ['epoch', 'leaseMs', 'n'].map((field) => Number(input[field]));
  if (!isCount(epoch) || !isCount(leaseMs) || leaseMs === 0 || !isCount(n) || n === 0) return undefined;
  if (typeof holder !== 'string' || !isIdentifier(holder)) return undefined;
  if (typeof instance !== 'string' || instance === '' || instance.length > MAX_TEXT) return undefined;
  const { writingMs } = input;
  const isWriting = typeof writingMs === 'number' && isCount(writingMs);
  return { epoch, holder, instance, leaseMs, n, ...(isWriting && { writingMs }) };
}

function isCount(input: number): boolean {
  return Number.isSafeInteger(input) && input >= 0;
}
