import { type Integers, type QueryResult, type RowObject, type Value, withIntegers } from '@antiphon/core';

/** Each row as an object by the names of its columns. Throws BAD_OPTION, as `withIntegers` does. */
export function rowObjects({ columns, rows }: QueryResult, integers: Integers): RowObject[] {
  return rows.map((row) =>
    Object.fromEntries(
      columns.map((name, index): [string, Value] => [name, withIntegers(row[index] ?? null, integers, name)]),
    ),
  );
}
