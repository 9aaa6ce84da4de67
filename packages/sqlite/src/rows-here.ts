import { type RescueChange, TaggedValue, type Row, type Value } from '@antiphon/core';
import type { Connection } from './connection.js';
import { quoteName } from './identifiers.js';
import { collated, columnName, type TrackedTable } from './local-table.js';
import { hasReplacementCharacter } from './outbox.js';
import { bindingOf } from './values.js';

/** Adds to a change the row as it is in the database now, in the columns of the change. */
export function rowsHere(
  connection: Connection,
  tables: readonly TrackedTable[],
): (change: RescueChange) => RescueChange {
  const byName = new Map(tables.map((table) => [table.name, table]));
  return (change) => {
    const table = byName.get(change.table);
    const here = table && rowHere(connection, table, change);
    return here === undefined ? change : { ...change, here };
  };
}

/** Undefined when it is not there, or the table has not got all of the columns any more. */
function rowHere(
  connection: Connection,
  table: TrackedTable,
  { columns, key, before, after }: RescueChange,
): Row | undefined {
  const places = columns.map((name) => table.columns.findIndex((column) => column.name === name));
  const row = after ?? before;
  const keyPlaces = table.key.map(({ column }) => places.indexOf(column));
  if (row === undefined || places.includes(-1) || keyPlaces.includes(-1) || key.length !== keyPlaces.length)
    return undefined;
  const bindings = keyPlaces.map((place) => bindingOf(row[place] as Value));
  const where = table.key.map(
    (part, index) =>
      `${collated(table, columnName(table, part.column), part)} = ${bindings[index]?.expression ?? '?'}`,
  );
  const read = (form: (column: string) => string): Value[] | undefined => {
    const list = places.map((place) => form(columnName(table, place))).join(', ');
    return connection
      .statement(
        `SELECT ${list} FROM main.${quoteName(table.name)} WHERE ${where.join(' AND ')}`,
        'exact array',
      )
      .get(...bindings.map(({ value }) => value)) as Value[] | undefined;
  };
  const found = read((column) => column);
  if (found === undefined || !hasReplacementCharacter(found)) return found;
  // Text whose bytes are not UTF-8 must not look like other text.
  const bytes = read((column) => `CAST(${column} AS BLOB)`) as Uint8Array[];
  return found.map((value, index) => exact(value, bytes[index]));
}

function exact(value: Value, bytes: Uint8Array | undefined): Value {
  if (typeof value !== 'string' || bytes === undefined || Buffer.from(value, 'utf8').equals(bytes))
    return value;
  return new TaggedValue('raw-text', bytes);
}
