import type { ColumnSchema, Row, Store, WriteRequest } from '@antiphon/core';

/** A table as every database can have it. */
export interface ConformanceTable {
  readonly name: string;
  readonly columns: readonly ColumnSchema[];
  readonly key: readonly string[];
  /** Sets of columns of which no two rows may hold the same values; a null is equal to nothing. */
  readonly unique?: readonly (readonly string[])[];
  /**
   * Columns whose numbers must not be smaller: a constraint that also refuses a row of another
   * replica.
   */
  readonly atLeast?: Readonly<Record<string, number>>;
}

/**
 * What a test lets a writer do, in order, in one transaction. `throw`: the writer gives up there.
 */
export type RowOperation =
  | { readonly op: 'put'; readonly table: string; readonly row: Row }
  | { readonly op: 'delete'; readonly table: string; readonly key: Row }
  | { readonly op: 'throw' };

/**
 * What a store's package gives to the conformance kit. Every database that it makes is its own, and
 * gone after `dispose`. `CONFORMANCE_TABLES` says which tables there are; a store maps their
 * declared types as it does for its users.
 */
export interface StoreHarness<Tx = unknown> {
  /** A new database with these tables, opened by a store. */
  open(tables: readonly ConformanceTable[]): Promise<Store<Tx>>;
  /** Closes the store and opens its database again. */
  reopen(store: Store<Tx>): Promise<Store<Tx>>;
  /**
   * Opens the database as a killed process leaves it: the store is not closed, or not seen to be.
   */
  crash(store: Store<Tx>): Promise<Store<Tx>>;
  /**
   * The operations by the means of the store's transactions; `put` inserts the row or replaces the
   * one with its key.
   */
  request(operations: readonly RowOperation[]): WriteRequest<Tx>;
  /**
   * Another program's transaction. Only used when the store captures foreign writers. Throws when
   * it is refused.
   */
  writeOutside(store: Store<Tx>, operations: readonly RowOperation[]): Promise<void>;
  /** What a reader of the database sees, in key order. */
  rows(store: Store<Tx>, table: string): Promise<readonly Row[]>;
  dispose(): Promise<void>;
}

const INTEGER = 'INTEGER';
const TEXT = 'TEXT';

/**
 * Together they have what makes tables differ: types, composite keys, unique values, constraints.
 */
export const CONFORMANCE_TABLES: readonly ConformanceTable[] = [
  {
    name: 'items',
    columns: [
      { name: 'id', declaredType: INTEGER },
      { name: 'name', declaredType: TEXT },
      { name: 'price', declaredType: 'REAL' },
      { name: 'picture', declaredType: 'BLOB' },
    ],
    key: ['id'],
  },
  {
    name: 'pairs',
    columns: [
      { name: 'left', declaredType: TEXT },
      { name: 'right', declaredType: INTEGER },
      { name: 'note', declaredType: TEXT },
    ],
    key: ['left', 'right'],
  },
  {
    name: 'people',
    columns: [
      { name: 'id', declaredType: INTEGER },
      { name: 'email', declaredType: TEXT },
      { name: 'name', declaredType: TEXT },
    ],
    key: ['id'],
    unique: [['email']],
  },
  {
    name: 'amounts',
    columns: [
      { name: 'id', declaredType: INTEGER },
      { name: 'amount', declaredType: INTEGER },
    ],
    key: ['id'],
    atLeast: { amount: 0 },
  },
];

export function put(table: string, ...row: Row): RowOperation {
  return { op: 'put', table, row };
}

export function remove(table: string, ...key: Row): RowOperation {
  return { op: 'delete', table, key };
}
