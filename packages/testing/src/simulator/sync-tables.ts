import type { Row } from '@antiphon/core';
import type { MemoryTable } from '../memory/store/index.js';

export const ACCOUNTS = 6;
export const COUNTERS = 3;
export const REGISTERS = 5;
/** Of each pair, one is on duty at least. */
export const DUTY_PAIRS = 2;
const AMOUNT = 100;
export const TOTAL = ACCOUNTS * AMOUNT;

/** The last column of every row is the token of the write that wrote it. */
export const SYNC_TABLES: readonly MemoryTable[] = [
  { name: 'accounts', columns: ['id', 'amount', 'token'], key: ['id'] },
  { name: 'counters', columns: ['id', 'value', 'token'], key: ['id'] },
  { name: 'registers', columns: ['id', 'token'], key: ['id'] },
  { name: 'duty', columns: ['pair', 'half', 'on', 'token'], key: ['pair', 'half'] },
  { name: 'users', columns: ['id', 'email', 'token'], key: ['id'], unique: [['email']] },
  { name: 'events', columns: ['replica', 'number', 'token'], key: ['replica', 'number'] },
];

export const FIRST_SYNC_ROWS: Readonly<Record<string, readonly Row[]>> = {
  accounts: rows(ACCOUNTS, (id): Row => [BigInt(id), AMOUNT, `founding#${id}`]),
  counters: rows(COUNTERS, (id): Row => [BigInt(id), 0, `founding#${100 + id}`]),
  duty: rows(2 * DUTY_PAIRS, (n): Row => [BigInt(n >> 1), BigInt(n & 1), true, `founding#${200 + n}`]),
  users: [[0n, 'a@example.com', 'founding#300']],
};

function rows(count: number, row: (index: number) => Row): readonly Row[] {
  return Array.from({ length: count }, (_, index) => row(index));
}
