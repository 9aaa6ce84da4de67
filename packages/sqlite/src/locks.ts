import { AntiphonError, claimOf, isSameName, type Value, sentence } from '@antiphon/core';
import type { HeldValues } from './held-values.js';
import type { Affinity, TrackedTable } from './local-table.js';
import { bindParameter } from './values.js';

/** A row that a write locked, whether it is there or not. */
export interface LockedRow {
  readonly table: TrackedTable;
  readonly key: readonly Value[];
}

/** What `tx.lock` was given, checked, and as the columns of the key hold it. */
export function lockedRow(
  tables: readonly TrackedTable[],
  name: string,
  key: unknown,
  held: HeldValues,
): LockedRow {
  const table = tables.find((candidate) => isSameName(candidate.name, name));
  if (table === undefined)
    throw new AntiphonError('UNKNOWN_TABLE', `This replica does not replicate table ${name}.`, {
      context: { table: name },
    });
  const values: readonly unknown[] = Array.isArray(key) ? key : [key];
  const columns = table.key.map(({ column }) => table.columns[column]?.name ?? '?').join(', ');
  if (values.length !== table.key.length || values.some(isNothing)) {
    throw new AntiphonError(
      'BAD_OPTION',
      `A lock on a row of ${name} needs a value for each column of its primary key: (${columns}), in this order.`,
      { context: { table: name } },
    );
  }
  const bound = values.map(bindParameter);
  try {
    const row = bound.map((value, index) => held.of(value, affinityOf(table, index)));
    claimOf('row', name, row, 'shared');
    return { table, key: row };
  } catch (thrown) {
    // Found now, it rejects this write; found when the group is sealed, it would fail all of them.
    throw new AntiphonError(
      'BAD_OPTION',
      `A lock on a row of ${name} has a value that no key can have: ${sentence(String(thrown))}`,
      { cause: thrown, context: { table: name } },
    );
  }
}

function affinityOf({ columns, key }: TrackedTable, index: number): Affinity {
  return columns[key[index]?.column ?? -1]?.affinity ?? 'none';
}

/** SQLite takes what is not a number for NULL. */
function isNothing(value: unknown): boolean {
  return value === null || value === undefined || Number.isNaN(value);
}
