import type { TableSchema } from '@antiphon/core';
import { quoteName } from './identifiers.js';

/** https://www.sqlite.org/datatype3.html#determination_of_column_affinity */
export type Affinity = 'integer' | 'real' | 'numeric' | 'text' | 'none';

export interface LocalColumn {
  readonly name: string;
  readonly declaredType: string;
  readonly affinity: Affinity;
  readonly notNull: boolean;
  /** An expression for any place; absent when there is none. */
  readonly defaultSql?: string;
}

export interface IndexedColumn {
  /** Index into `columns`. */
  readonly column: number;
  readonly collation: string;
}

/** A unique index other than the key's. */
export interface UniqueIndex {
  readonly name: string;
  readonly columns: readonly IndexedColumn[];
  /** The condition of a partial index. */
  readonly where?: string;
}

/** A foreign key of this table. */
export interface ForeignKey {
  /** As it was written; SQL does not regard case. */
  readonly parent: string;
  /** Names of the child's columns. */
  readonly names: readonly string[];
  /** Their indexes; undefined for a generated one, which is not replicated. */
  readonly columns: readonly (number | undefined)[];
  /**
   * Rows of the child go or change with a row of the parent that is deleted, also with one that
   * REPLACE puts anew.
   */
  readonly actsOnDelete: boolean;
  /** As they were written; absent when the parent's primary key is meant. */
  readonly parentNames?: readonly string[];
}

/**
 * A table as it is in this database: what is replicated of it, and what capture and apply need to
 * know.
 */
export interface LocalTable {
  readonly name: string;
  /** Replicated columns, in the table's order. Generated ones are left out. */
  readonly columns: readonly LocalColumn[];
  readonly hasGeneratedColumns: boolean;
  /** Its primary key, or the first unique index of NOT NULL columns where it has none. */
  readonly key: readonly IndexedColumn[];
  /** The key is a single INTEGER PRIMARY KEY: the row's own number. */
  readonly rowidKey: boolean;
  /** False for WITHOUT ROWID. */
  readonly hasRowid: boolean;
  /**
   * What statements can call the number of a row by, in a table that has one besides its key;
   * absent when its own columns have taken all of the names.
   */
  readonly hiddenRowid?: string;
  readonly uniqueIndexes: readonly UniqueIndex[];
  readonly foreignKeys: readonly ForeignKey[];
  /**
   * It has a foreign key that changes its rows when the parent's change: CASCADE, SET NULL, SET
   * DEFAULT.
   */
  readonly hasKeyActions: boolean;
  /** Deleting a row of it changes or deletes rows that refer to it, and fires their triggers. */
  readonly isActedUpon: boolean;
  /**
   * Some of its constraints replace rows, and others fail or ignore new ones: REPLACE may delete a
   * row and the new one not come.
   */
  readonly mixesConflictClauses: boolean;
  /** What decides whether it takes a row; see `rowRules`. */
  readonly rules: readonly string[];
  /** It has triggers of users. */
  readonly hasTriggers: boolean;
}

/**
 * A local table that is replicated, under the number that the outbox and the metadata know it by.
 */
export interface TrackedTable extends LocalTable {
  readonly id: number;
}

export function tableSchema(table: LocalTable): TableSchema {
  return {
    name: table.name,
    columns: table.columns.map(({ name, declaredType }) => ({ name, declaredType })),
    key: table.key.map(({ column }) => column),
    rules: table.rules,
  };
}

/**
 * Rows of it may go without a delete trigger, when REPLACE takes their key, a unique value or their
 * number.
 */
export function mayLoseRowsUnseen(table: LocalTable): boolean {
  return table.uniqueIndexes.length > 0 || table.hiddenRowid !== undefined || mayLoseOverwritten(table);
}

/**
 * Also the row that was put in the place of another is gone before a trigger shows it: a
 * foreign-key action may replace it, or delete it along with the row that it takes the place of, a
 * trigger that such an action fires may do so, and conflict clauses may contradict each other.
 */
export function mayLoseOverwritten(table: LocalTable): boolean {
  return table.mixesConflictClauses || table.hasKeyActions || table.isActedUpon;
}

export function columnName(table: LocalTable, index: number): string {
  const column = table.columns[index];
  if (column === undefined) throw new RangeError(`table ${table.name} has no column ${index}`);
  return quoteName(column.name);
}

/** The collation that the row's own key index compares with; a rowid needs none. */
export function collated(table: LocalTable, expression: string, part: IndexedColumn): string {
  return table.rowidKey ? expression : `${expression} COLLATE ${quoteName(part.collation)}`;
}

/**
 * True when two values of the column can be equal in the key's eyes and yet differ in bytes
 * (`'a'`/`'A'`, `1`/`1.0`, the least integer and its REAL).
 */
export function keyBytesMayDiffer(table: LocalTable, part: IndexedColumn): boolean {
  return keyBytesOftenDiffer(table, part) || mayBeLeastReal(table, part);
}

/** The same, but for the least integer. */
export function keyBytesOftenDiffer(table: LocalTable, part: IndexedColumn): boolean {
  if (table.rowidKey) return false;
  const affinity = table.columns[part.column]?.affinity;
  return part.collation.toUpperCase() !== 'BINARY' || affinity === 'none';
}

/** As an integer it equals a REAL, the only one that SQLite does not turn into an integer. */
export const LEAST_INTEGER = '-9223372036854775808';

/** Its integers stay integers and its REALs become integers, all but one. */
export function mayBeLeastReal(table: LocalTable, part: IndexedColumn): boolean {
  return !table.rowidKey && ['integer', 'numeric'].includes(table.columns[part.column]?.affinity ?? '');
}
