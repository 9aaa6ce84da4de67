import type { RescueChange } from '../ports/rescue.js';
import type { Change, DictionaryTable } from './transaction.js';
import type { Row } from './value.js';

/** A change as people look at it, with names. */
export function rescueChangeOf(change: Change, tables: readonly DictionaryTable[]): RescueChange {
  const { name = '', columns = [], key: keyColumns = [] } = tables[change.table] ?? {};
  const { op, row } = change;
  const shown = { table: name, op, columns, key: keyColumns.map((column) => row[column] ?? null) };
  if (op === 'insert') return { ...shown, after: row };
  if (op === 'delete') return { ...shown, before: row };
  return { ...shown, before: beforeUpdate(change), after: row };
}

/** The row that an update found. */
export function beforeUpdate({ row, changed, before }: Extract<Change, { op: 'update' }>): Row {
  const found = [...row];
  changed.forEach((column, index) => (found[column] = before[index] ?? null));
  return found;
}
