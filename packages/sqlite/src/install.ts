import {
  AntiphonError,
  DEFAULT_ROW_LIMITS,
  firstEpoch,
  REQUESTS_TABLE,
  triggerObstacles,
  type ClusterSchema,
  type InspectedTrigger,
  type InstallOptions,
  type InstallReport,
  type RowLimits,
  type StoreIdentity,
  type TableSchema,
} from '@antiphon/core';
import { balanced } from './balanced.js';
import { writeAgreement } from './agreement.js';
import type { Connection } from './connection.js';
import { hidingObstacle } from './hiding-obstacle.js';
import { tablesWithKept } from './kept-rows.js';
import { columnName, type LocalTable, type TrackedTable } from './local-table.js';
import { renewForeignLease } from './foreign-lease.js';
import { quoteName } from './identifiers.js';
import { createMissing } from './create-missing.js';
import { leftOutOf } from './database-inspection.js';
import { inspectDependents } from './local-triggers.js';
import { countRows, hasMetadata, inspectTables } from './inspection.js';
import {
  completeMetadata,
  createHiddenTable,
  createKeptTable,
  createMetadata,
  createOutbox,
  createVersionTable,
  upgradeMetadata,
} from './metadata.js';
import { findUncapturedTables } from './capture-record.js';
import { REQUESTS } from './requests.js';
import { assertRowsFit } from './row-limits.js';
import { readState, ReplicaState, type StateWriter, type WritePolicy } from './state.js';
import { installTriggers, tableDifference, trackTables, unfitDifference } from './tracked-tables.js';

export interface Installation {
  readonly state: ReplicaState;
  readonly tables: readonly TrackedTable[];
  /** True when the database had never belonged to a replica. */
  readonly fresh: boolean;
  /** False when changes may have gone uncaptured: the first writing method says so. */
  readonly captured: boolean;
  /** Triggers of the users that fire also where changes are applied. */
  readonly repeated: ReadonlySet<string>;
  readonly upgraded: InstallReport['upgraded'];
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
  if (fresh && options.createTables) createMissing(connection, options.schema);
  else if (fresh && options.schema.tables.some(({ name }) => name === REQUESTS_TABLE))
    for (const statement of REQUESTS.statements) connection.db.exec(statement);
  const local = localTables(connection, options.schema, fresh);
  if (fresh && !options.sealExistingRows) assertEmpty(connection, local);
  for (const table of local) assertNoNullKeys(connection, table);
  if (fresh && options.sealExistingRows) assertAllFit(connection, local, options.rowLimits);
  if (options.rowVersions) for (const table of local) assertRowsCanBeHidden(table);

  const names = local.map(({ name }) => name);
  const dependents = inspectDependents(connection, names, options.localTriggers);
  const { repeated } = dependents;
  if (fresh) assertTriggers(dependents.triggers);
  const tables = trackTables(connection, local);
  createOutbox(connection, tables);
  for (const table of tablesWithKept(connection, tables)) createKeptTable(connection, table);
  if (options.rowVersions) {
    for (const table of tables) {
      createVersionTable(connection, table);
      if (table.uniqueIndexes.length > 0) createHiddenTable(connection, table);
    }
  }
  state.identity = options.identity;
  state.policy = policyOf(options);
  const first = firstEpoch(options.primary, options.asPrimary === undefined);
  state.epochs = [first, ...state.epochs.slice(1)];
  state.takeRole();
  state.rowVersions = options.rowVersions;
  if (options.agreement !== undefined) writeAgreement(connection, options.agreement);
  if (fresh) writer.insert(state);
  writer.claim(state);
  const uncaptured = fresh ? [] : findUncapturedTables(connection, tables);
  const upgraded = upgradeMetadata(connection);
  // What is missing is the only trace of changes that nobody captured: it stays so until they have
  // been looked for.
  const captured =
    uncaptured.length === 0 && !dependents.triggers.some(({ problem }) => problem !== undefined);
  renewForeignLease(connection, state.policy);
  if (captured) installTriggers(connection, tables, state.policy, repeated);
  state.leftOut = leftOutOf(connection, names, dependents);
  return { state, tables, fresh, captured, repeated, upgraded };
}

function policyOf({
  writes,
  asPrimary,
  foreignLeaseMs,
  primary,
  certified = false,
  localTriggers,
  rowLimits,
}: InstallOptions): WritePolicy {
  return {
    writes,
    certified,
    ...(asPrimary === undefined ? {} : { asPrimary }),
    ...(foreignLeaseMs === undefined ? {} : { foreignLeaseMs }),
    ...(primary === undefined ? {} : { primary }),
    ...(localTriggers === undefined ? {} : { localTriggers }),
    ...(rowLimits === undefined ? {} : { rowLimits }),
  };
}

/**
 * Later ones are the replica's alarm: then the cluster is there, and such a trigger harms nobody.
 */
function assertTriggers(triggers: readonly InspectedTrigger[]): void {
  const obstacles = triggerObstacles(triggers);
  if (obstacles.length === 0) return;
  throw new AntiphonError('UNSUPPORTED_TABLE', obstacles.join(' '), {
    context: { table: triggers[0]?.table ?? '', triggers: triggers.map(({ name }) => name) },
  });
}

function assertSameIdentity(stored: StoreIdentity, given: StoreIdentity): void {
  const differing = (['cluster', 'replica', 'generation'] as const).filter(
    (field) => stored[field] !== given[field],
  );
  if (differing.length === 0) return;
  const described = differing.map((field) => `${field} ${stored[field]}, not ${given[field]}`).join('; ');
  throw new AntiphonError(
    'STORE_CONTENT',
    `This database belongs to another replica: ${described}. Use that replica's own file, or an empty one.`,
    {
      context: { cluster: stored.cluster, replica: stored.replica },
    },
  );
}

function content(message: string, table?: string): AntiphonError {
  return new AntiphonError('STORE_CONTENT', message, table === undefined ? {} : { context: { table } });
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
    if (inspection?.type === 'unsupported') {
      if (fresh) throw unsupported(expected, inspection.reason);
      differences.push(unfitDifference(expected, inspection));
      continue;
    }
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
      `This database differs from the cluster's: ${differences.join('; ')}. Start with an empty file.`,
    );
  throw new AntiphonError(
    'SCHEMA_DRIFT',
    `Replicated tables were changed outside of Antiphon: ${differences.join('; ')}. Change them back.`,
  );
}

function unsupported(table: TableSchema, reason: string): AntiphonError {
  return new AntiphonError(
    'UNSUPPORTED_TABLE',
    `Table ${table.name} cannot be replicated: ${reason}. Change it, or leave it out of the tables.`,
    {
      context: { table: table.name },
    },
  );
}

/**
 * A replica that joins gets its rows from the others; rows that are here already would be merged by
 * accident.
 */
function assertEmpty(connection: Connection, tables: readonly LocalTable[]): void {
  const filled = tables
    .map(({ name }) => ({ name, rows: countRows(connection, name) }))
    .filter(({ rows }) => rows > 0);
  if (filled.length === 0) return;
  const list = filled.map(({ name, rows }) => `${name} (${rows} rows)`).join(', ');
  throw content(
    `This database already has rows of its own in ${list}, and the cluster has its content. They are never merged by accident. ` +
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
    `Table ${table.name} has ${rows} rows with NULL in their primary key, which cannot be told apart. Give them a value, or delete them.`,
    { context: { table: table.name, rows } },
  );
}

/** No row is larger than the file. */
function assertAllFit(
  connection: Connection,
  tables: readonly LocalTable[],
  limits: RowLimits = DEFAULT_ROW_LIMITS,
): void {
  const fileBytes = connection.db
    .prepare('SELECT page_count * page_size FROM pragma_page_count, pragma_page_size', 'value')
    .get() as number;
  if (fileBytes > limits.valueBytes) for (const table of tables) assertRowsFit(connection, table, limits);
}

/** What hidden rows need beyond what capture and apply need. */
function assertRowsCanBeHidden(table: LocalTable): void {
  const reason = hidingObstacle(table);
  if (reason === undefined) return;
  throw new AntiphonError(
    'UNSUPPORTED_TABLE',
    `Table ${table.name} cannot be replicated with several writers: ${reason}. Change it, or leave it out of the tables.`,
    {
      context: { table: table.name },
    },
  );
}
