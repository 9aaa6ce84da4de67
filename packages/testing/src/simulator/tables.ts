import type { Row } from '@antiphon/core';
import type { MemoryTable } from '../memory/store/index.js';

/** A column of every row holds the token of the write that wrote it: `<replica>#<number>`. */
export const TOKEN = /\b[a-z0-9-]+#\d+\b/;

export const SIMULATED_TABLES: readonly MemoryTable[] = [
  { name: 'accounts', columns: ['id', 'token', 'amount'], key: ['id'] },
  { name: 'events', columns: ['replica', 'number', 'token'], key: ['replica', 'number'] },
  { name: 'users', columns: ['id', 'email', 'token'], key: ['id'], unique: [['email']] },
];

export const FIRST_ROWS: Readonly<Record<string, readonly Row[]>> = {
  accounts: Array.from({ length: 6 }, (_, id): Row => [BigInt(id), `founding#${id}`, 100]),
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
