import {
  AntiphonError,
  type InspectedTable,
  type InstallOptions,
  type StoreInspection,
  type TableSchema,
} from '@antiphon/core';
import type { MemoryDatabase } from './database.js';
import type { DatabaseTransaction } from './database-transaction.js';
import { newRecord, readRecord, writeRecord, type ReplicaRecord } from './replica-record.js';
import { nextKey, nextNumber } from './sequence.js';
import { CAPTURED, rowsOf } from './spaces.js';
import { MEMORY_ENGINE, parseTable, type MemoryTable } from './table.js';

/** Existing rows are sealed as transactions of at most so many. */
const ROWS_PER_TRANSACTION = 500;

export function inspectDatabase(database: MemoryDatabase, only?: readonly string[]): StoreInspection {
  const names = database.tableNames().filter((name) => only === undefined || only.includes(name));
  const tables = names.map((name): InspectedTable => {
    const { schema } = database.table(name);
    const rowCount = database.count(rowsOf(name));
    return schema.key.length > 0
      ? { schema, rowCount }
      : { schema, rowCount, unsupported: `table ${name} has no primary key` };
  });
  const ddl = { engine: MEMORY_ENGINE, statements: names.map((name) => database.table(name).ddl()) };
  const identity = readRecord(database)?.identity;
  return identity === undefined ? { tables, ddl } : { identity, tables, ddl };
}

/** Makes the database a replica, or checks that it is this one. Returns what to store. */
export function installReplica(
  database: MemoryDatabase,
  transaction: DatabaseTransaction,
  options: InstallOptions,
): ReplicaRecord {
  const { identity, schema, writes, primary, rowVersions, durable } = options;
  const existing = readRecord(transaction);
  if (existing !== undefined) assertSameReplica(existing, options);
  if (existing === undefined && options.createTables) createMissing(database, transaction, options);
  for (const table of schema.tables) assertTable(database, transaction, table, existing !== undefined);
  if (existing !== undefined) return { ...existing, schema, writes, primary, rowVersions, durable };
  const filled = schema.tables.filter(({ name }) => hasRows(transaction, name));
  if (filled.length > 0 && !options.sealExistingRows) {
    throw new AntiphonError(
      'STORE_CONTENT',
      `this database has rows of its own in ${filled.map(({ name }) => name).join(', ')}; join with an empty database`,
    );
  }
  const record = newRecord({ identity, schema, writes, primary, rowVersions, durable });
  writeRecord(transaction, record);
  for (const { name } of filled) captureExisting(transaction, name);
  return record;
}

function assertSameReplica({ identity }: ReplicaRecord, options: InstallOptions): void {
  const { cluster, replica, generation } = options.identity;
  if (identity.cluster === cluster && identity.replica === replica && identity.generation === generation)
    return;
  throw new AntiphonError(
    'STORE_CONTENT',
    `this database is replica ${identity.replica} of cluster ${identity.cluster} (log ${identity.generation}), ` +
      `not ${replica} of ${cluster} (log ${generation}); use its own database`,
  );
}

function createMissing(
  database: MemoryDatabase,
  transaction: DatabaseTransaction,
  { schema }: InstallOptions,
): void {
  const declared = schema.ddl.engine === MEMORY_ENGINE ? schema.ddl.statements.map(parseTable) : [];
  for (const table of schema.tables) {
    const declaration = declared.find(({ name }) => name === table.name);
    database.createTable(transaction, declaration ?? declarationOf(table));
  }
}

function declarationOf({ name, columns, key }: TableSchema): MemoryTable {
  return { name, columns, key: key.map((index) => columns[index]?.name ?? '') };
}

function assertTable(
  database: MemoryDatabase,
  transaction: DatabaseTransaction,
  table: TableSchema,
  installed: boolean,
): void {
  const { name } = table;
  if (!database.tableNames(transaction).includes(name)) {
    throw new AntiphonError('SCHEMA_DRIFT', `table ${name} is missing; create it as the cluster has it`, {
      context: { table: name },
    });
  }
  const found = database.table(name, transaction).schema;
  if (found.key.length === 0) {
    throw new AntiphonError(
      'UNSUPPORTED_TABLE',
      `table ${name} has no primary key; give it one or leave it out`,
      { context: { table: name } },
    );
  }
  if (shapeOf(found) === shapeOf(table)) return;
  const code = installed ? 'SCHEMA_DRIFT' : 'STORE_CONTENT';
  throw new AntiphonError(
    code,
    `table ${name} is ${shapeOf(found)} here and ${shapeOf(table)} in the cluster; make them equal`,
    {
      context: { table: name },
    },
  );
}

function shapeOf({ columns, key }: TableSchema): string {
  return `(${columns.map(({ name }) => name).join(', ')}) with key (${key.map((index) => columns[index]?.name).join(', ')})`;
}

function hasRows(transaction: DatabaseTransaction, table: string): boolean {
  for (const _row of transaction.entries(rowsOf(table))) return true;
  return false;
}

function captureExisting(transaction: DatabaseTransaction, table: string): void {
  let writer = nextNumber(transaction, 'writers');
  let count = 0;
  for (const [, row] of [...transaction.entries(rowsOf(table))]) {
    if (count++ % ROWS_PER_TRANSACTION === 0) writer = nextNumber(transaction, 'writers');
    transaction.put(CAPTURED, nextKey(transaction, 'captured'), {
      writer,
      table,
      op: 'insert',
      row,
      old: undefined,
    });
  }
}
