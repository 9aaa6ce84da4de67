import {
  AntiphonError,
  type ClusterSchema,
  type InstallOptions,
  type StoreIdentity,
  type TableSchema,
} from '@antiphon/core';
import { balanced } from './balanced.js';
import type { Connection } from './connection.js';
import { openDatabase } from './driver/find-driver.js';
import { columnName, type LocalTable, type TrackedTable } from './local-table.js';
import { quoteName } from './identifiers.js';
import { countRows, hasMetadata, inspectTables } from './inspection.js';
import {
  completeMetadata,
  createDisplacedTable,
  createMetadata,
  createOutbox,
  createVersionTable,
} from './metadata.js';
import { findCaptureGaps } from './capture-record.js';
import { readState, ReplicaState, type StateWriter, type WritePolicy } from './state.js';
import { installTriggers, tableDifference, trackTables } from './tracked-tables.js';

export interface Installation {
  readonly state: ReplicaState;
  readonly tables: readonly TrackedTable[];
  /** True when the database had never belonged to a replica. */
  readonly fresh: boolean;
  /** False when changes may have gone uncaptured: the first writing method says so. */
  readonly captured: boolean;
}

/** Makes the database a replica, inside the caller's transaction. */
export function installReplica(
  connection: Connection,
  options: InstallOptions,
  writer: StateWriter,
): Installation {
  const fresh = !hasMetadata(connection);
  if (!fresh) completeMetadata(connection);
  const state = fresh
    ? new ReplicaState(options.identity, { generation: options.identity.generation, seq: 0 })
    : readState(connection);
  if (fresh) createMetadata(connection);
  else assertSameIdentity(state.identity, options.identity);
  if (fresh && options.createTables) createMissingTables(connection, options.schema);
  const local = localTables(connection, options.schema, fresh);
  if (fresh && !options.sealExistingRows) assertEmpty(connection, local);
  for (const table of local) assertNoNullKeys(connection, table);
  if (options.rowVersions) for (const table of local) assertDisplaceable(table);

  const tables = trackTables(connection, local);
  createOutbox(connection, tables);
  if (options.rowVersions) {
    for (const table of tables) {
      createVersionTable(connection, table);
      if (table.uniqueIndexes.length > 0) createDisplacedTable(connection, table);
    }
  }
  state.identity = options.identity;
  state.policy = policyOf(options);
  state.rowVersions = options.rowVersions;
  if (fresh) writer.insert(state);
  writer.claim(state);
  const gaps = fresh ? [] : findCaptureGaps(connection, tables);
  // What is missing is the only trace of changes that nobody captured: it stays so until they have been looked for.
  if (gaps.length === 0) installTriggers(connection, tables, state.policy);
  return { state, tables, fresh, captured: gaps.length === 0 };
}

function policyOf({ writes, primary, certified = false }: InstallOptions): WritePolicy {
  return primary === undefined ? { writes, certified } : { writes, primary, certified };
}

function assertSameIdentity(stored: StoreIdentity, given: StoreIdentity): void {
  const differing = (['cluster', 'replica', 'generation'] as const).filter(
    (field) => stored[field] !== given[field],
  );
  if (differing.length === 0) return;
  const described = differing.map((field) => `${field} ${stored[field]}, not ${given[field]}`).join('; ');
  throw new AntiphonError(
    'STORE_CONTENT',
    `this database belongs to another replica: ${described}. Use that replica's own file, or an empty one.`,
    {
      context: { cluster: stored.cluster, replica: stored.replica },
    },
  );
}

function content(message: string, table?: string): AntiphonError {
  return new AntiphonError('STORE_CONTENT', message, table === undefined ? {} : { context: { table } });
}

/** Takes of the cluster's statements what makes the tables that are not here. */
function createMissingTables(connection: Connection, schema: ClusterSchema): void {
  const present = new Set(inspectTables(connection).map(({ table }) => table.name));
  const missing = schema.tables.map(({ name }) => name).filter((name) => !present.has(name));
  if (missing.length === 0) return;
  if (schema.ddl.engine !== 'sqlite') {
    throw content(
      `the tables ${missing.join(', ')} are not here, and the cluster's statements for them are for ${schema.ddl.engine}: create them first.`,
    );
  }
  for (const statement of statementsFor(schema, missing)) connection.db.exec(statement);
}

/** An empty database tells which statement makes what, however it is written. */
function statementsFor(schema: ClusterSchema, tables: readonly string[]): string[] {
  const scratch = openDatabase(':memory:');
  try {
    for (const statement of schema.ddl.statements) scratch.exec(statement);
    const rows = scratch
      .prepare(
        `SELECT tbl_name AS "table", sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 ELSE 2 END, rowid`,
      )
      .all() as { table: string; sql: string }[];
    return rows.filter(({ table }) => tables.includes(table)).map(({ sql }) => sql);
  } catch (thrown) {
    throw new AntiphonError(
      'STORE_CONTENT',
      `the cluster's statements for its tables do not run here: ${String(thrown)}`,
      { cause: thrown },
    );
  } finally {
    scratch.close();
  }
}

function localTables(connection: Connection, schema: ClusterSchema, fresh: boolean): LocalTable[] {
  const found = new Map(
    inspectTables(
      connection,
      schema.tables.map(({ name }) => name),
    ).map((inspection) => [inspection.table.name, inspection]),
  );
  const differences: string[] = [];
  const tables: LocalTable[] = [];
  for (const expected of schema.tables) {
    const inspection = found.get(expected.name);
    if (inspection?.type === 'unsupported') throw unsupported(expected, inspection.reason);
    const difference =
      inspection === undefined
        ? `table ${expected.name} is not here`
        : tableDifference(expected, inspection.table);
    if (difference !== undefined) differences.push(difference);
    if (inspection !== undefined) tables.push(inspection.table);
  }
  if (differences.length === 0) return tables;
  if (fresh)
    throw content(
      `this database is not like the cluster's: ${differences.join('. ')}. Start with an empty file.`,
    );
  throw new AntiphonError(
    'SCHEMA_DRIFT',
    `replicated tables were changed outside of Antiphon: ${differences.join('. ')}. Change them back.`,
  );
}

function unsupported(table: TableSchema, reason: string): AntiphonError {
  return new AntiphonError(
    'UNSUPPORTED_TABLE',
    `table ${table.name} cannot be replicated: ${reason}. Change it, or leave it out of the tables.`,
    {
      context: { table: table.name },
    },
  );
}

/** A replica that joins gets its rows from the others; rows that are here already would be merged by accident. */
function assertEmpty(connection: Connection, tables: readonly LocalTable[]): void {
  const filled = tables
    .map(({ name }) => ({ name, rows: countRows(connection, name) }))
    .filter(({ rows }) => rows > 0);
  if (filled.length === 0) return;
  const list = filled.map(({ name, rows }) => `${name} (${rows} rows)`).join(', ');
  throw content(
    `this database already has rows of its own in ${list}, and the cluster has its content; they are never merged by accident. ` +
      'Start with an empty file, or move these rows away and insert them through a replica.',
  );
}

function assertNoNullKeys(connection: Connection, table: LocalTable): void {
  if (table.rowidKey) return;
  const nullable = table.key.filter(({ column }) => table.columns[column]?.notNull !== true);
  if (nullable.length === 0) return;
  const condition = balanced(
    nullable.map(({ column }) => `${columnName(table, column)} IS NULL`),
    'OR',
  );
  const rows = connection.db
    .prepare(`SELECT count(*) FROM ${quoteName(table.name)} WHERE ${condition}`, 'value')
    .get() as number;
  if (rows === 0) return;
  throw new AntiphonError(
    'UNSUPPORTED_TABLE',
    `table ${table.name} has ${rows} rows with NULL in their primary key, which cannot be told apart: give them a value or delete them.`,
    { context: { table: table.name, rows } },
  );
}

/** What displaced rows need beyond what capture and apply need. */
function assertDisplaceable(table: LocalTable): void {
  if (table.uniqueIndexes.length === 0) return;
  const named = table.columns.find(({ name }) => ['rowid', 'oid', '_rowid_'].includes(name.toLowerCase()));
  let reason: string | undefined;
  if (named !== undefined)
    reason = `it has a unique key besides its primary key and a column called ${named.name}`;
  if (table.hasGeneratedColumns && table.uniqueIndexes.some(({ where }) => where !== undefined)) {
    reason = 'it has a partial unique index and generated columns';
  }
  if (reason === undefined) return;
  throw new AntiphonError(
    'UNSUPPORTED_TABLE',
    `table ${table.name} cannot be replicated with several writers: ${reason}. Change it, or leave it out of the tables.`,
    {
      context: { table: table.name },
    },
  );
}
