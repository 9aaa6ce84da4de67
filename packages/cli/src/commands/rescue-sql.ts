import { type RescueChange, type Row, TaggedValue, type Value } from '@antiphon/core';

/** Of hex digits at once: two values of the longest that there may be fit into no string. */
const HEX_BYTES = 1024 * 1024;

/**
 * One statement, which does nothing where the row is not as it was before, in pieces: it may be
 * longer than a string.
 */
export function* changeSql(change: RescueChange): Generator<string, void, undefined> {
  const { table, columns, before, after } = change;
  const name = quoted(table);
  const names = columns.map(quoted);
  if (before === undefined) {
    yield `INSERT INTO ${name} (${names.join(', ')}) VALUES (`;
    for (const [index, value] of (after ?? []).entries()) {
      if (index > 0) yield ', ';
      yield* literal(value);
    }
    return yield ') ON CONFLICT DO NOTHING;\n';
  }
  if (after === undefined) yield `DELETE FROM ${name}`;
  else {
    const changed = names.flatMap((_, index) => (isSame(before[index], after[index]) ? [] : [index]));
    if (changed.length === 0) return;
    yield `UPDATE ${name} SET `;
    yield* assigned(names, after, changed, ' = ', ', ');
  }
  yield ' WHERE ';
  yield* assigned(names, before, [...names.keys()], ' IS ', ' AND ');
  yield ';\n';
}

function* assigned(
  names: readonly string[],
  row: Row,
  indexes: readonly number[],
  is: string,
  between: string,
): Generator<string, void, undefined> {
  for (const [place, index] of indexes.entries()) {
    yield `${place > 0 ? between : ''}${names[index] ?? ''}${is}`;
    yield* literal(row[index]);
    if (is === ' IS ' && isText(row[index])) yield ' COLLATE BINARY';
  }
}

/** What a column compares by its own collation otherwise, for which 'A' may be 'a'. */
function isText(value: Value | undefined): boolean {
  return typeof value === 'string' || value instanceof TaggedValue;
}

/** In the database: of the same type, byte by byte. */
function isSame(one: Value = null, other: Value = null): boolean {
  if (one instanceof TaggedValue) return other instanceof TaggedValue && isSame(one.bytes, other.bytes);
  if (!(one instanceof Uint8Array)) return Object.is(one, other);
  return other instanceof Uint8Array && Buffer.compare(one, other) === 0;
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Exact, as SQLite reads it. */
function* literal(value: Value = null): Generator<string, void, undefined> {
  if (value === null) yield 'NULL';
  else if (typeof value === 'bigint') yield String(value);
  else if (typeof value === 'boolean') yield value ? '1' : '0';
  else if (typeof value === 'number') yield float(value);
  else if (value instanceof Uint8Array) yield* hex(value);
  else if (value instanceof TaggedValue) yield* text(value.bytes);
  // The shell ends a statement's text at NUL, and reads it by lines.
  else if (/[\0\r\n]/.test(value)) yield* text(Buffer.from(value, 'utf8'));
  else yield `'${value.replaceAll("'", "''")}'`;
}

function* text(bytes: Uint8Array): Generator<string, void, undefined> {
  yield 'CAST(';
  yield* hex(bytes);
  yield ' AS TEXT)';
}

function float(value: number): string {
  if (Number.isNaN(value)) return 'NULL';
  if (!Number.isFinite(value)) return value > 0 ? '9e999' : '-9e999';
  if (Object.is(value, -0)) return '-0.0';
  const digits = String(value);
  return /[.e]/.test(digits) ? digits : `${digits}.0`;
}

function* hex(bytes: Uint8Array): Generator<string, void, undefined> {
  const { buffer, byteOffset, length } = bytes;
  yield "x'";
  for (let at = 0; at < length; at += HEX_BYTES)
    yield Buffer.from(buffer, byteOffset + at, Math.min(HEX_BYTES, length - at)).toString('hex');
  yield "'";
}
