import type { Row } from '@antiphon/core';
import { simulatedTable } from './table.js';
import { EVENTS, USERS } from './tables.js';

export const ACCOUNT_COUNT = 6;
export const COUNTER_COUNT = 3;
export const REGISTER_COUNT = 5;
/** Of each pair, one is on duty at least. */
export const DUTY_PAIRS = 2;
const AMOUNT = 100;
export const TOTAL = ACCOUNT_COUNT * AMOUNT;

export const BALANCES = simulatedTable('accounts', { id: 'INTEGER', amount: 'INTEGER', token: 'TEXT' }, [
  'id',
]);
export const COUNTERS = simulatedTable('counters', { id: 'INTEGER', value: 'INTEGER', token: 'TEXT' }, [
  'id',
]);
export const REGISTERS = simulatedTable('registers', { id: 'INTEGER', token: 'TEXT' }, ['id']);
/** A column called like a keyword. */
export const DUTY = simulatedTable(
  'duty',
  { pair: 'INTEGER NOT NULL', half: 'INTEGER NOT NULL', on: 'INTEGER', token: 'TEXT' },
  ['pair', 'half'],
);

/** The last column of every row is the token of the write that wrote it. */
export const SYNC_TABLES = [BALANCES, COUNTERS, REGISTERS, DUTY, USERS, EVENTS] as const;

export const FIRST_SYNC_ROWS: Readonly<Record<string, readonly Row[]>> = {
  accounts: rows(ACCOUNT_COUNT, (id): Row => [BigInt(id), BigInt(AMOUNT), `founding#${id}`]),
  counters: rows(COUNTER_COUNT, (id): Row => [BigInt(id), 0n, `founding#${100 + id}`]),
  duty: rows(2 * DUTY_PAIRS, (n): Row => [BigInt(n >> 1), BigInt(n & 1), 1n, `founding#${200 + n}`]),
  users: [[0n, 'a@example.com', 'founding#300']],
};

function rows(count: number, row: (index: number) => Row): readonly Row[] {
  return Array.from({ length: count }, (_, index) => row(index));
}
