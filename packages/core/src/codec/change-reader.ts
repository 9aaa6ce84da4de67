import type { Change, DictionaryTable } from '../model/transaction.js';
import type { Row } from '../model/value.js';
import { CHANGE_FIELDS, UPDATE_FIELDS } from './change-writer.js';
import { OP_DELETE, OP_INSERT, OP_UPDATE } from './format.js';
import type { ValueReader } from './value-reader.js';

/** The next change. Throws MALFORMED_MESSAGE. */
export function readChange(reader: ValueReader, tables: readonly DictionaryTable[]): Change {
  const fields = reader.readArrayLength('a change');
  if (fields !== CHANGE_FIELDS && fields !== UPDATE_FIELDS)
    throw reader.malformed(`a change has ${fields} fields`);
  const table = reader.readCount('the index of a table');
  const definition = tables[table];
  if (definition === undefined) throw reader.malformed(`the dictionary has no table ${table}`);
  const op = reader.readCount('an operation');
  if ((op === OP_UPDATE) !== (fields === UPDATE_FIELDS))
    throw reader.malformed('an operation has the wrong fields');
  const row = reader.readRow(definition.columns.length);
  if (op === OP_INSERT) return { op: 'insert', table, row };
  if (op === OP_DELETE) return { op: 'delete', table, row };
  if (op !== OP_UPDATE) throw reader.malformed(`operation ${op} is not known`);
  return readUpdate(reader, table, row, definition);
}

function readUpdate(reader: ValueReader, table: number, row: Row, definition: DictionaryTable): Change {
  const count = reader.readArrayLength('a list of changed columns');
  if (count > row.length) throw reader.malformed('more columns changed than the row has');
  const changed: number[] = [];
  let previous = -1;
  for (let i = 0; i < count; i++) {
    const column = reader.readCount('the index of a column');
    if (column <= previous || column >= row.length) {
      throw reader.malformed('changed columns must be ascending indexes of the row');
    }
    if (definition.key.includes(column)) {
      throw reader.malformed('an update changes the primary key; that travels as a delete and an insert');
    }
    changed.push(column);
    previous = column;
  }
  const values = reader.readArrayLength('a list of old values');
  if (values !== count)
    throw reader.malformed(`${count} columns changed, but there are ${values} old values`);
  const before = reader.readValues(count);
  return { op: 'update', table, row, changed, before };
}
