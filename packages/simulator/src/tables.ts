import type { Row } from '@antiphon/core';
import { simulatedTable } from './table.js';

/** A column of every row holds the token of the write that wrote it: `<replica>#<number>`. */
export const TOKEN = /\b[a-z0-9-]+#\d+\b/;

export const ACCOUNTS = simulatedTable('accounts', { id: 'INTEGER', token: 'TEXT', amount: 'INTEGER' }, [
  'id',
]);
export const EVENTS = simulatedTable(
  'events',
  { replica: 'TEXT NOT NULL', number: 'INTEGER NOT NULL', token: 'TEXT' },
  ['replica', 'number'],
);
export const USERS = simulatedTable(
  'users',
  { id: 'INTEGER', email: 'TEXT', token: 'TEXT' },
  ['id'],
  [['email']],
);

export const SIMULATED_TABLES = [ACCOUNTS, EVENTS, USERS] as const;

export const FIRST_ROWS: Readonly<Record<string, readonly Row[]>> = {
  accounts: Array.from({ length: 6 }, (_, id): Row => [BigInt(id), `founding#${id}`, 100n]),
  users: [[0n, 'a@example.com', 'founding#100']],
};

export function tokensIn(row: Row): readonly string[] {
  const found: string[] = [];
  for (const value of row) {
    const token = typeof value === 'string' ? TOKEN.exec(value)?.[0] : undefined;
    if (token !== undefined) found.push(token);
  }
  return found;
}
