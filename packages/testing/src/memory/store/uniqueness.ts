import { compareVersions, type Row } from '@antiphon/core';
import type { DatabaseTransaction } from './database-transaction.js';
import { rowsOf, versionsOf, type RowVersion } from './spaces.js';
import type { CompiledTable } from './table.js';

interface Winner {
  readonly key: string;
  readonly row: Row;
  readonly entry: RowVersion;
}

/**
 * Which of the rows that won are visible, when two of them hold the same unique values: the later version, decided row by
 * row from the latest down. A function of the winning rows alone, so every replica decides alike (I4); a row
 * that is not visible is kept and comes back when its values are free.
 */
export function settleUniqueValues(transaction: DatabaseTransaction, table: CompiledTable): void {
  if (!table.hasUnique) return;
  const taken = table.unique.map(() => new Set<string>());
  for (const winner of winners(transaction, table)) {
    const texts = table.uniqueTexts(winner.row);
    const collides = texts.some((text, set) => text !== undefined && taken[set]?.has(text) === true);
    if (collides) hide(transaction, table, winner);
    else show(transaction, table, winner);
    if (collides) continue;
    for (const [set, text] of texts.entries()) if (text !== undefined) taken[set]?.add(text);
  }
}

/** Latest version first. */
function winners(transaction: DatabaseTransaction, table: CompiledTable): readonly Winner[] {
  const found: Winner[] = [];
  for (const [key, entry] of transaction.entries(versionsOf(table.name))) {
    if (entry.deleted) continue;
    const row = entry.displaced ?? transaction.get(rowsOf(table.name), key);
    if (row !== undefined) found.push({ key, row, entry });
  }
  return found.sort((a, b) => compareVersions(b.entry.version, a.entry.version) || (a.key < b.key ? -1 : 1));
}

function hide(transaction: DatabaseTransaction, table: CompiledTable, { key, row, entry }: Winner): void {
  if (entry.displaced !== undefined) return;
  transaction.delete(rowsOf(table.name), key);
  transaction.put(versionsOf(table.name), key, { ...entry, displaced: row });
}

function show(transaction: DatabaseTransaction, table: CompiledTable, { key, row, entry }: Winner): void {
  if (entry.displaced === undefined) return;
  transaction.put(rowsOf(table.name), key, row);
  transaction.put(versionsOf(table.name), key, { ...entry, displaced: undefined });
}
