import { claimOf, type NamedClaim, type Row } from '@antiphon/core';
import { changedColumns, type CapturedChange } from './capture.js';
import { keyOf, valueAt } from './key-order.js';
import type { CompiledTable } from './table.js';
import type { LockedRow } from './user-transaction.js';

/** What one transaction wrote and locked, each once. There are no foreign keys here, and values are equal only when they are the same. */
export function claimsOf(
  changes: readonly CapturedChange[],
  locks: readonly LockedRow[],
  tableOf: (name: string) => CompiledTable,
): readonly NamedClaim[] {
  const claims = [
    ...changes.flatMap((change) => claimsOfChange(change, tableOf(change.table))),
    ...locks.map(({ table, key }) => ({ claim: claimOf('row', table, key, 'shared'), table, key })),
  ];
  return [...new Map(claims.map((named) => [named.claim, named])).values()];
}

function claimsOfChange({ op, row, old }: CapturedChange, table: CompiledTable): readonly NamedClaim[] {
  const { name } = table;
  const key = keyOf(table.schema, row);
  const claims: NamedClaim[] = [{ claim: claimOf('row', name, key, 'exclusive'), table: name, key }];
  if (op === 'delete') return claims;
  const changed = old === undefined ? undefined : changedColumns(row, old);
  for (const set of table.unique) {
    if (changed !== undefined && !set.some((column) => changed.includes(column))) continue;
    const values: Row = set.map((column) => valueAt(row, column));
    // It is equal to nothing.
    if (values.includes(null)) continue;
    const columns = set.map((column) => table.schema.columns[column]?.name).join(',');
    const claim = claimOf('unique', `${name}(${columns})`, values, 'exclusive');
    claims.push({ claim, table: name, key: values });
  }
  return claims;
}
