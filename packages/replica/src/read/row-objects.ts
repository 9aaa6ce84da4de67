import { type Integers, type QueryResult, type RowObject, type Value, withIntegers } from '@antiphon/core';

/** How a row comes out. */
export type RowForm = 'object' | 'array';

/** Each row as an object by the names of its columns. Throws BAD_OPTION, as `withIntegers` does. */
export function rowObjects({ columns, rows }: QueryResult, integers: Integers): RowObject[] {
  return rows.map((row) =>
    Object.fromEntries(
      columns.map((name, index): [string, Value] => [name, withIntegers(row[index] ?? null, integers, name)]),
    ),
  );
}

/** Each row as it was asked for. Throws BAD_OPTION, as `withIntegers` does. */
export function shapedRows(
  result: QueryResult,
  { rows: form, integers = 'bigint' }: { readonly rows?: RowForm; readonly integers?: Integers },
): readonly unknown[] {
  if (form !== 'array') return rowObjects(result, integers);
  const { columns, rows } = result;
  return rows.map((row) => columns.map((name, index) => withIntegers(row[index] ?? null, integers, name)));
}
