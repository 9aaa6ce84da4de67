import type { Row, Value } from '@antiphon/core';

/** A table of the simulated databases, as the checks know it. */
export interface SimulatedTable {
  readonly name: string;
  readonly columns: readonly string[];
  readonly key: readonly string[];
  /** Sets of columns of which no two rows may hold the same values; a null is equal to nothing. */
  readonly unique: readonly (readonly string[])[];
  /** What creates it. */
  readonly sql: string;
}

export function simulatedTable(
  name: string,
  /** Name → the rest of its definition. */
  columns: Readonly<Record<string, string>>,
  key: readonly string[],
  unique: readonly (readonly string[])[] = [],
): SimulatedTable {
  const parts = Object.entries(columns).map(([column, rest]) => `${quoted(column)} ${rest}`);
  parts.push(`PRIMARY KEY (${key.map(quoted).join(', ')})`);
  for (const set of unique) parts.push(`UNIQUE (${set.map(quoted).join(', ')})`);
  const sql = `CREATE TABLE ${quoted(name)} (${parts.join(', ')})`;
  return { name, columns: Object.keys(columns), key, unique, sql };
}

export function quoted(name: string): string {
  return `"${name}"`;
}

/** Equal rows, and only those, have equal texts. */
export function rowText(row: Row): string {
  return row.map((value) => `${typeof value} ${String(value)}`).join('\n');
}

export function keyOf(table: SimulatedTable, row: Row): Row {
  return valuesOf(table, row, table.key);
}

export function keyTextOf(table: SimulatedTable, row: Row): string {
  return rowText(keyOf(table, row));
}

/** One text per unique set; undefined for a set that holds a null, which collides with nothing. */
export function uniqueTexts(table: SimulatedTable, row: Row): readonly (string | undefined)[] {
  return table.unique.map((set) => {
    const values = valuesOf(table, row, set);
    return values.includes(null) ? undefined : rowText(values);
  });
}

function valuesOf({ columns }: SimulatedTable, row: Row, names: readonly string[]): Value[] {
  return names.map((name) => row[columns.indexOf(name)] ?? null);
}
