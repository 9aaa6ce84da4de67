import { AntiphonError, type DictionaryTable, type Row, type Value } from '@antiphon/core';
import type { TrackedTable } from './local-table.js';

/**
 * A table of a batch, as it is here. `order` is set when the origin names the columns in another
 * order.
 */
export interface TableMapping {
  readonly table: TrackedTable;
  readonly width: number;
  readonly order: readonly number[] | undefined;
}

/** Throws UNKNOWN_TABLE. */
export function mappingsOf(
  dictionary: readonly DictionaryTable[],
  tables: ReadonlyMap<string, TrackedTable>,
): TableMapping[] {
  return dictionary.map((entry) => {
    const table = tables.get(entry.name);
    if (table === undefined)
      throw unknown(entry.name, `This replica does not replicate table ${entry.name}.`);
    return { table, width: entry.columns.length, order: columnOrder(table, entry) };
  });
}

export function mappingAt(mappings: readonly TableMapping[], index: number): TableMapping {
  const mapping = mappings[index];
  if (mapping !== undefined) return mapping;
  throw new AntiphonError(
    'MALFORMED_MESSAGE',
    `A change names table ${index} of a dictionary of ${mappings.length}.`,
  );
}

/** A row of a change, with the columns in the table's own order. */
export function rowHere({ table, width, order }: TableMapping, row: Row): Row {
  if (row.length !== width) {
    throw new AntiphonError(
      'MALFORMED_MESSAGE',
      `A row of ${table.name} has ${row.length} values, not ${width}.`,
    );
  }
  return order === undefined ? row : order.map((index) => row[index] as Value);
}

function unknown(table: string, why: string): AntiphonError {
  return new AntiphonError('UNKNOWN_TABLE', `${why} Compare the schemas of the two replicas.`, {
    context: { table },
  });
}

/**
 * Where this table's columns are in the origin's row; undefined when they are in the same place.
 */
function columnOrder(table: TrackedTable, entry: DictionaryTable): readonly number[] | undefined {
  const here = table.columns;
  if (entry.columns.length === here.length && here.every(({ name }, index) => name === entry.columns[index]))
    return undefined;
  const order = here.map(({ name }) => entry.columns.indexOf(name));
  const missing = here.find((_, index) => order[index] === -1);
  if (missing !== undefined)
    throw unknown(table.name, `A change of ${table.name} lacks its column ${missing.name}.`);
  const extra = entry.columns.find((name) => !here.some((column) => column.name === name));
  if (extra !== undefined)
    throw unknown(table.name, `A change of ${table.name} has a column ${extra}, which this database lacks.`);
  if (entry.columns.length !== here.length)
    throw unknown(table.name, `A change of ${table.name} names a column twice.`);
  return order;
}
