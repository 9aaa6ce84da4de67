import { quoteName } from './identifiers.js';
import { collated, columnName, type TrackedTable } from './local-table.js';
import type { ReadTable } from './reader-protocol.js';

export function readTableOf(table: TrackedTable): ReadTable {
  const keyColumns = table.key.map((part) => collated(table, columnName(table, part.column), part));
  return {
    name: table.name,
    columns: table.columns.map((_, index) => columnName(table, index)),
    from: quoteName(table.name),
    keyColumns,
    key: table.key.map(({ column }) => column),
    orderBy: keyColumns.join(', '),
  };
}
