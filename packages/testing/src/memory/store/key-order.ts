import { encodeCanonicalRow, TaggedValue, type Row, type TableSchema, type Value } from '@antiphon/core';

/** The primary key of a row as a text: equal keys, and only those, are equal texts. */
export function keyText(key: Row): string {
  return Buffer.from(encodeCanonicalRow(key)).toString('hex');
}

export function keyOf(schema: TableSchema, row: Row): Row {
  return schema.key.map((column) => valueAt(row, column));
}

export function keyTextOf(schema: TableSchema, row: Row): string {
  return keyText(keyOf(schema, row));
}

/** Rows in the order of their keys. */
export function inKeyOrder(schema: TableSchema, rows: Iterable<Row>): readonly Row[] {
  return [...rows].sort((a, b) => compareRows(keyOf(schema, a), keyOf(schema, b)));
}

export function compareRows(a: Row, b: Row): number {
  for (let i = 0; i < a.length; i++) {
    const order = compareValues(valueAt(a, i), valueAt(b, i));
    if (order !== 0) return order;
  }
  return 0;
}

/** SQLite's order with the BINARY collation: null, numbers, text by UTF-8 bytes, bytes. */
export function compareValues(a: Value, b: Value): number {
  const rank = rankOf(a) - rankOf(b);
  if (rank !== 0) return rank;
  if (isNumeric(a) && isNumeric(b)) return a < b ? -1 : a > b ? 1 : 0;
  return Buffer.compare(bytesOf(a), bytesOf(b));
}

export function valueAt(row: Row, column: number): Value {
  const value = row[column];
  if (value === undefined) throw new RangeError(`a row of ${row.length} values has no column ${column}`);
  return value;
}

function isNumeric(value: Value): value is bigint | number {
  return typeof value === 'bigint' || typeof value === 'number';
}

function rankOf(value: Value): number {
  if (value === null) return 0;
  if (typeof value === 'boolean') return 1;
  if (isNumeric(value)) return 2;
  if (typeof value === 'string') return 3;
  return value instanceof Uint8Array ? 4 : 5;
}

function bytesOf(value: Value): Uint8Array {
  if (value instanceof TaggedValue) return value.bytes;
  if (value instanceof Uint8Array) return value;
  return Buffer.from(String(value), 'utf8');
}
