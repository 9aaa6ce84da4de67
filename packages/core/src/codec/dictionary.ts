import { AntiphonError } from '../errors/antiphon-error.js';
import type { DictionaryTable } from '../model/transaction.js';
import { DictionaryCache } from './dictionary-cache.js';
import type { CodecLimits } from './limits.js';
import type { ValueReader } from './value-reader.js';
import type { ValueWriter } from './value-writer.js';

/** Elements of a table array: name, columns, key. */
const TABLE_FIELDS = 3;

/** One table of the dictionary. Throws MALFORMED_MESSAGE for one that no reader would accept. */
export function writeTable(writer: ValueWriter, table: DictionaryTable, limits: CodecLimits): void {
  const wrong = whatIsWrong(table, limits);
  if (wrong !== undefined)
    throw new AntiphonError('MALFORMED_MESSAGE', `This batch cannot be written: ${wrong}.`);
  writer.writeArrayHeader(TABLE_FIELDS);
  writer.writeText(table.name);
  writer.writeArrayHeader(table.columns.length);
  for (const column of table.columns) writer.writeText(column);
  writer.writeArrayHeader(table.key.length);
  for (const index of table.key) writer.writeInteger(index);
}

/** One cache per set of limits: what is valid depends on them. */
const caches = new WeakMap<CodecLimits, DictionaryCache>();

/** The same bytes mostly give the same object, which is frozen. Throws MALFORMED_MESSAGE. */
export function readDictionary(reader: ValueReader, limits: CodecLimits): readonly DictionaryTable[] {
  let cache = caches.get(limits);
  if (cache === undefined) caches.set(limits, (cache = new DictionaryCache()));
  const known = reader.lookUp(cache.find);
  if (known !== undefined) return known.tables;
  const start = reader.position;
  const tables = readTables(reader, limits);
  cache.add(reader.viewFrom(start), tables);
  return tables;
}

function readTables(reader: ValueReader, limits: CodecLimits): readonly DictionaryTable[] {
  const count = reader.readArrayLength('a dictionary');
  if (count > limits.maxTables)
    throw reader.malformed(`a dictionary of ${count} tables, the limit is ${limits.maxTables}`);
  const tables: DictionaryTable[] = [];
  for (let i = 0; i < count; i++) tables.push(readTable(reader, limits));
  return Object.freeze(tables);
}

function readTable(reader: ValueReader, limits: CodecLimits): DictionaryTable {
  if (reader.readArrayLength('a table') !== TABLE_FIELDS) throw reader.malformed('a table needs 3 fields');
  const name = reader.readText(limits.maxNameBytes);
  const columnCount = reader.readArrayLength('a list of columns');
  if (columnCount > limits.maxColumns) {
    throw reader.malformed(`a table of ${columnCount} columns, the limit is ${limits.maxColumns}`);
  }
  const columns: string[] = [];
  for (let i = 0; i < columnCount; i++) columns.push(reader.readText(limits.maxNameBytes));
  const keyLength = reader.readArrayLength('a primary key');
  if (keyLength > columnCount) throw reader.malformed('a primary key has more columns than its table');
  const key: number[] = [];
  for (let i = 0; i < keyLength; i++) key.push(reader.readCount('an index of a column'));
  const table = Object.freeze({ name, columns: Object.freeze(columns), key: Object.freeze(key) });
  const wrong = whatIsWrong(table, limits);
  if (wrong !== undefined) throw reader.malformed(wrong);
  return table;
}

function whatIsWrong(table: DictionaryTable, limits: CodecLimits): string | undefined {
  const { name, columns, key } = table;
  if (!isName(name, limits)) return 'a table has a name that is too long';
  if (columns.length === 0 || columns.length > limits.maxColumns) {
    return `table "${name}" has ${columns.length} columns, the limits are 1 and ${limits.maxColumns}`;
  }
  if (!columns.every((column) => isName(column, limits)))
    return `a column of "${name}" has a name that is too long`;
  if (new Set(columns).size !== columns.length) return `table "${name}" names a column twice`;
  if (key.length === 0) return `table "${name}" has no primary key`;
  if (!key.every((index) => Number.isInteger(index) && index >= 0 && index < columns.length)) {
    return `the primary key of "${name}" names a column that is not there`;
  }
  return new Set(key).size === key.length ? undefined : `the primary key of "${name}" names a column twice`;
}

/** The empty name is one: SQLite allows it. */
function isName(name: string, limits: CodecLimits): boolean {
  return name.length * 3 <= limits.maxNameBytes || Buffer.byteLength(name) <= limits.maxNameBytes;
}
