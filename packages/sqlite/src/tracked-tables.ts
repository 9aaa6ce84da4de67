import { AntiphonError, shellWord, type InspectedTrigger, type TableSchema } from '@antiphon/core';
import {
  uncapturedError,
  findUncapturedTables,
  keepUncaptured,
  keepMarked,
  recordCapture,
  recordCaptureOf,
} from './capture-record.js';
import { foreignLeaseMs } from './foreign-lease.js';
import { captureTriggers, refusalTriggers, type TriggerDefinition } from './capture-triggers.js';
import { claimTriggers } from './claim-triggers.js';
import type { Connection } from './connection.js';
import { quoteName, quoteText } from './identifiers.js';
import { inspectTables, type TableInspection } from './inspection.js';
import { inspectDependents } from './local-triggers.js';
import { tableSchema, type LocalTable, type TrackedTable } from './local-table.js';
import { restoreGuard } from './metadata.js';
import { rulesDifference } from './row-rules.js';
import { isUndoable, namedPrimary, type WritePolicy } from './state.js';
import { dropTrigger } from './trigger-guard.js';
import { guardUserTriggers, readTriggers } from './user-triggers.js';

/** How a table here differs from what was agreed, in words; undefined when it does not. */
export function tableDifference(expected: TableSchema, actual: LocalTable): string | undefined {
  const here = tableSchema(actual);
  const differences: string[] = [];
  const describe = (schema: TableSchema): string =>
    schema.columns.map(({ name, declaredType }) => `${name} ${declaredType}`.trim()).join(', ');
  if (describe(expected) !== describe(here))
    differences.push(`its columns are (${describe(here)}), not (${describe(expected)})`);
  if (differences.length === 0 && keyOf(expected) !== keyOf(here))
    differences.push(`its primary key is (${keyOf(here)}), not (${keyOf(expected)})`);
  const rules = rulesDifference(expected.rules, here.rules);
  if (differences.length === 0 && rules !== undefined)
    differences.push(`it does not take the same rows as in the cluster (${rules})`);
  return differences.length === 0 ? undefined : `table ${expected.name}: ${differences.join('; ')}`;
}

function keyOf(schema: TableSchema): string {
  return schema.key.map((index) => schema.columns[index]?.name ?? '?').join(', ');
}

/**
 * Of a table that could be replicated once: a key of another kind, which would make it fit again,
 * is not what was agreed.
 */
export function unfitDifference(
  expected: TableSchema,
  { table, reason }: Extract<TableInspection, { type: 'unsupported' }>,
): string {
  return table.key.length === 0
    ? `table ${expected.name} has lost its key (${keyOf(expected)}): make its primary key or unique index again`
    : `table ${expected.name} can no longer be replicated: ${reason}`;
}

/** Gives new tables a number, and keeps what each one looked like. */
export function trackTables(connection: Connection, tables: readonly LocalTable[]): TrackedTable[] {
  const find = connection.db.prepare('SELECT id FROM _antiphon_tables WHERE name = ?', 'value');
  const insert = connection.db.prepare(
    'INSERT INTO _antiphon_tables (name, definition) VALUES (?, ?) RETURNING id',
    'value',
  );
  return tables.map((table) => {
    const id = (find.get(table.name) ?? insert.get(table.name, JSON.stringify(tableSchema(table)))) as number;
    return { ...table, id };
  });
}

/** The tracked tables as they are now. SCHEMA_DRIFT when one is not what it was. */
export function rescanTables(connection: Connection, known: readonly TrackedTable[]): TrackedTable[] {
  const found = new Map(
    inspectTables(
      connection,
      known.map(({ name }) => name),
    ).map((inspection) => [inspection.table.name, inspection]),
  );
  return known.map((table) => {
    const inspection = found.get(table.name);
    const difference = driftOf(table, inspection);
    if (inspection === undefined || difference !== undefined) {
      const wayOut = inspection === undefined ? putBack(connection, table) : changeBack(connection, table);
      throw new AntiphonError(
        'SCHEMA_DRIFT',
        `A replicated table was changed outside of Antiphon: ${difference ?? ''}. ${wayOut}`,
        { context: { table: table.name } },
      );
    }
    return { ...inspection.table, id: table.id };
  });
}

/** An empty table in its place looks as if somebody had deleted its rows. */
function putBack(connection: Connection, { name }: TrackedTable): string {
  const quoted = quoteName(name);
  const renamed = nameNow(connection, name);
  if (renamed !== undefined) {
    return (
      `Nothing was applied, and nothing is lost. The table is called ${renamed} now. Rename it back ` +
      `(\`ALTER TABLE ${quoteName(renamed)} RENAME TO ${quoted}\`). Replication resumes automatically.`
    );
  }
  return (
    'Nothing was applied, and the other replicas still have its rows. Create it again as it was and put its ' +
    "rows back in the same transaction, from the file of another replica (ATTACH 'FILE' AS other; … " +
    `INSERT INTO main.${quoted} SELECT * FROM other.${quoted};) or from a backup. ` +
    `Then follow \`antiphon recapture ${shellWord(name)} --dry-run\`. ` +
    'Rows that are still missing count as deleted then, everywhere.'
  );
}

/** A table that is renamed takes its triggers along. */
function nameNow({ db }: Connection, name: string): string | undefined {
  return db
    .prepare(
      `SELECT s.tbl_name FROM sqlite_schema AS s JOIN _antiphon_capture AS c ON c.name = s.name
       WHERE s.type = 'trigger' AND c.tbl = ? AND s.tbl_name <> c.tbl LIMIT 1`,
      'value',
    )
    .get(name) as string | undefined;
}

/** Whoever rebuilds a table drops our triggers with it; what is altered in place keeps them. */
function changeBack(connection: Connection, { name }: TrackedTable): string {
  const reason = findUncapturedTables(connection, []).find(({ table }) => table === name)?.reason;
  if (reason === undefined)
    return (
      'Nothing was applied, and nothing is lost. Change it back (drop a column or a unique index that was added). ' +
      'Replication resumes automatically.'
    );
  return (
    `Nothing was applied, and what was written to it since may have gone uncaptured (${reason}). ` +
    'Restore it as it was, with its rows. ' +
    `Then follow \`antiphon recapture ${shellWord(name)} --dry-run\`.`
  );
}

function driftOf(
  table: TrackedTable,
  inspection: ReturnType<typeof inspectTables>[number] | undefined,
): string | undefined {
  if (inspection === undefined) return `table ${table.name} is gone`;
  if (inspection.type === 'unsupported') return unfitDifference(tableSchema(table), inspection);
  return tableDifference(tableSchema(table), inspection.table);
}

interface PresentTrigger {
  readonly name: string;
  readonly sql: string;
  readonly table: string;
  readonly rowid: number;
}

/**
 * SCHEMA_DRIFT when changes of a table may have gone uncaptured: what is missing then must not be
 * put back in silence.
 */
export function assertCaptured(connection: Connection, tables: readonly LocalTable[]): void {
  const uncaptured = findUncapturedTables(connection, tables);
  if (uncaptured.length > 0) throw uncapturedError(uncaptured);
}

/**
 * SCHEMA_DRIFT when a trigger of the users needs what is not there any more: nothing could be
 * applied to its table.
 */
export function assertTriggersUsable(triggers: readonly InspectedTrigger[]): void {
  const unusable = triggers.find(({ problem }) => problem !== undefined);
  if (unusable === undefined) return;
  const { name, table, problem = '' } = unusable;
  throw new AntiphonError(
    'SCHEMA_DRIFT',
    `Trigger ${name} on ${table} no longer works (${problem}), so nothing can be written to ${table}. ` +
      'Put back what it needs, or drop the trigger. Replication resumes automatically, and nothing is lost.',
    { context: { table, trigger: name } },
  );
}

/**
 * Puts the triggers in place that the policy asks for, behind guarded triggers of the users. Ours
 * must fire first: SQLite fires the youngest first, and an AFTER trigger of a user that changes the
 * same row again would otherwise be captured before its cause.
 */
export function installTriggers(
  connection: Connection,
  tables: readonly TrackedTable[],
  policy: WritePolicy,
  repeated: ReadonlySet<string>,
): boolean {
  const names = tables.map(({ name }) => name);
  const rewritten = guardUserTriggers(connection, names, repeated);
  const wanted = tables.flatMap((table) => triggersOf(table, tables, policy));
  const present = presentTriggers(connection);
  if (!rewritten && isInPlace(wanted, present, connection, names)) {
    keepMarked(connection);
    return false;
  }
  for (const { name } of present) connection.db.exec(dropTrigger(name));
  for (const { sql } of wanted) connection.db.exec(sql);
  recordCapture(connection, wanted);
  return true;
}

/**
 * The same for one table whose changes went uncaptured. What is known of the others stays as it is.
 */
export function installTriggersOf(
  connection: Connection,
  table: TrackedTable,
  tables: readonly TrackedTable[],
  policy: WritePolicy,
): void {
  restoreGuard(connection);
  keepUncaptured(
    connection,
    findUncapturedTables(connection, tables).filter((gap) => gap.table !== table.name),
  );
  const replicated = tables.map(({ name }) => name);
  const { repeated } = inspectDependents(connection, replicated, policy.localTriggers);
  guardUserTriggers(connection, replicated, repeated);
  const wanted = triggersOf(table, tables, policy);
  const names = new Set(wanted.map(({ name }) => name));
  for (const present of presentTriggers(connection))
    if (present.table === table.name || names.has(present.name))
      connection.db.exec(dropTrigger(present.name));
  for (const { sql } of wanted) connection.db.exec(sql);
  recordCaptureOf(connection, table, wanted);
}

function triggersOf(
  table: TrackedTable,
  tables: readonly TrackedTable[],
  policy: WritePolicy,
): (TriggerDefinition & { table: string })[] {
  const triggers =
    policy.writes === 'refuse'
      ? refusalTriggers(table, namedPrimary(policy))
      : capturing(table, tables, policy);
  return triggers.map((trigger) => ({ ...trigger, table: table.name }));
}

function capturing(
  table: TrackedTable,
  tables: readonly TrackedTable[],
  policy: WritePolicy,
): TriggerDefinition[] {
  const { writes, certified = false, rowLimits } = policy;
  const whom = writes === 'library' ? 'library' : 'anybody';
  const attended = foreignLeaseMs(policy) !== undefined;
  return [
    ...captureTriggers(table, { whom, undoable: isUndoable(policy), attended, limits: rowLimits }),
    ...(certified ? claimTriggers(table, tables, whom) : []),
  ];
}

function presentTriggers(connection: Connection): PresentTrigger[] {
  return connection.db
    .prepare(
      `SELECT name, sql, tbl_name AS "table", rowid FROM sqlite_schema
       WHERE type = 'trigger' AND name GLOB '_antiphon_*'`,
    )
    .all() as PresentTrigger[];
}

function isInPlace(
  wanted: readonly TriggerDefinition[],
  present: readonly PresentTrigger[],
  connection: Connection,
  tables: readonly string[],
): boolean {
  const texts = new Map(present.map(({ name, sql }) => [name, sql]));
  if (texts.size !== wanted.length || wanted.some(({ name, sql }) => texts.get(name) !== sql)) return false;
  const users = readTriggers(connection, tables).map(({ name }) => quoteText(name));
  if (users.length === 0 || present.length === 0) return true;
  const youngest = connection.db
    .prepare(
      `SELECT max(rowid) FROM sqlite_schema WHERE type = 'trigger' AND name IN (${users.join(', ')})`,
      'value',
    )
    .get() as number;
  return present.every(({ rowid }) => rowid > youngest);
}
