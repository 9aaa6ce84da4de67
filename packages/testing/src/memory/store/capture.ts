import type { Row, Value } from '@antiphon/core';
import type { Reading } from './database-transaction.js';
import { keyText } from './key-order.js';
import { CAPTURED } from './spaces.js';

/** One changed row, captured inside the transaction that changed it. */
export interface CapturedChange {
  /** Same for the changes of one transaction. */
  readonly writer: number;
  readonly table: string;
  readonly op: 'insert' | 'update' | 'delete';
  /** The new row; of a delete the old one. */
  readonly row: Row;
  /** Of an update: the row before. */
  readonly old: Row | undefined;
}

export interface CapturedTransaction {
  readonly writer: number;
  readonly keys: readonly string[];
  readonly changes: readonly CapturedChange[];
}

/** What was committed and not sealed yet, in commit order. */
export function capturedTransactions(reading: Reading): readonly CapturedTransaction[] {
  const captured = [...reading.entries(CAPTURED)].sort(([a], [b]) => (a < b ? -1 : 1));
  const byWriter = new Map<number, { keys: string[]; changes: CapturedChange[] }>();
  for (const [key, change] of captured) {
    const transaction = byWriter.get(change.writer) ?? { keys: [], changes: [] };
    transaction.keys.push(key);
    transaction.changes.push(change);
    byWriter.set(change.writer, transaction);
  }
  return [...byWriter].map(([writer, transaction]) => ({ writer, ...transaction }));
}

/** Indexes of the columns that hold something else than before, ascending. Exact: 5 and 5.0, 0.0 and -0.0 differ. */
export function changedColumns(row: Row, old: Row): readonly number[] {
  const changed: number[] = [];
  for (const [index, value] of row.entries()) {
    const before = old[index];
    if (before === undefined || !sameValue(value, before)) changed.push(index);
  }
  return changed;
}

function sameValue(a: Value, b: Value): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object') return false;
  return keyText([a]) === keyText([b]);
}
