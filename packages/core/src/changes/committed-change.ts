import type { Change, DictionaryTable } from '../model/transaction.js';
import type { TransactionId } from '../model/transaction-id.js';
import type { Row, Value } from '../model/value.js';

/** Integers are bigint, floats are numbers: what the database holds, exactly. */
export type RowObject = Readonly<Record<string, Value>>;

/** Some columns of a row. */
export type SomeColumns<R> = string extends keyof R ? R : Readonly<Partial<R>>;

/** What was done to one row. `R`: the row, by column. */
export type ChangedRow<R = RowObject> =
  | { readonly op: 'insert'; /** The whole row. */ readonly after: R; readonly before?: undefined }
  | {
      readonly op: 'update';
      /** Only the columns that changed. */
      readonly before: SomeColumns<R>;
      readonly after: R;
    }
  | { readonly op: 'delete'; /** The whole row as it was. */ readonly before: R; readonly after?: undefined };

/** A change of one row by a committed transaction. */
export type LoggedChange<R = RowObject, T extends string = string> = ChangedRow<R> & {
  readonly id: TransactionId;
  readonly table: T;
  /** The columns of the primary key. */
  readonly key: SomeColumns<R>;
  /** The entry of the log that completes the transaction. */
  readonly seq: number;
  /** Hybrid time of the transaction, microseconds since 1970. */
  readonly time: number;
  /** Give it as `from` to go on after this change. */
  readonly cursor: string;
  /** The last change of its transaction, of those that were asked for. */
  readonly last: boolean;
};

/** A change of a row by name: column names come from the dictionary of its message. */
export function namedChange(
  change: Change,
  table: DictionaryTable,
): ChangedRow & { readonly key: RowObject } {
  const key = named(table, table.key, (_, column) => change.row[column]);
  if (change.op === 'insert') return { op: 'insert', key, after: wholeRow(table, change.row) };
  if (change.op === 'delete') return { op: 'delete', key, before: wholeRow(table, change.row) };
  const before = named(table, change.changed, (index) => change.before[index]);
  return { op: 'update', key, before, after: wholeRow(table, change.row) };
}

function wholeRow({ columns }: DictionaryTable, row: Row): RowObject {
  return Object.fromEntries(columns.map((name, index): [string, Value] => [name, row[index] ?? null]));
}

function named(
  { columns }: DictionaryTable,
  indexes: readonly number[],
  valueOf: (index: number, column: number) => Value | undefined,
): RowObject {
  return Object.fromEntries(
    indexes.map((column, index): [string, Value] => [columns[column] ?? '', valueOf(index, column) ?? null]),
  );
}
