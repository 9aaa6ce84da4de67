import type { Change, DictionaryTable, RowChange } from '../model/transaction.js';
import type { Row } from '../model/value.js';
import { CHANGE_FIELDS, UPDATE_FIELDS } from './change-writer.js';
import { OP_DELETE, OP_INSERT, OP_UPDATE } from './format.js';
import type { ValueReader } from './value-reader.js';

/** Reads the changes of one transaction, in their order. */
export class ChangeReader {
  constructor(
    private readonly tables: readonly DictionaryTable[],
    /** Hybrid time of the transaction, where it is known. */
    private readonly time = Number.MAX_SAFE_INTEGER,
  ) {}

  /** The next change. Throws MALFORMED_MESSAGE. */
  read(reader: ValueReader): Change {
    const fields = reader.readArrayLength('a change');
    if (fields < CHANGE_FIELDS || fields > UPDATE_FIELDS + 1)
      throw reader.malformed(`a change has ${fields} fields`);
    const table = reader.readCount('the index of a table');
    const definition = this.tables[table];
    if (definition === undefined) throw reader.malformed(`the dictionary has no table ${table}`);
    const op = reader.readCount('an operation');
    const plain = op === OP_UPDATE ? UPDATE_FIELDS : CHANGE_FIELDS;
    if (fields !== plain && fields !== plain + 1) throw reader.malformed('an operation has the wrong fields');
    const change = readRowChange(reader, table, op, definition);
    if (fields === plain) return change;
    const earlierUs = reader.readCount('the time of a change');
    if (earlierUs === 0 || earlierUs > this.time) throw reader.malformed('the time of a change is wrong');
    return { ...change, earlierUs };
  }
}

function readRowChange(
  reader: ValueReader,
  table: number,
  op: number,
  definition: DictionaryTable,
): RowChange {
  const row = reader.readRow(definition.columns.length);
  if (op === OP_INSERT) return { op: 'insert', table, row };
  if (op === OP_DELETE) return { op: 'delete', table, row };
  if (op !== OP_UPDATE) throw reader.malformed(`operation ${op} is not known`);
  return readUpdate(reader, table, row, definition);
}

function readUpdate(reader: ValueReader, table: number, row: Row, definition: DictionaryTable): RowChange {
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
