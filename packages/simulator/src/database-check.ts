import { counterOf, type Row } from '@antiphon/core';
import type { HistoryEntry, ReplicaRecord, SimulatedDatabase } from './database.js';
import type { Ledger } from './ledger.js';
import type { LogModel, ModelTransaction } from './log-model.js';
import type { OrphansOfSqlite } from './orphans.js';
import type { RowModel } from './row-model.js';
import { keyTextOf, rowText, type SimulatedTable } from './table.js';
import type { Violations } from './violation.js';

export interface CheckContext {
  readonly tables: readonly SimulatedTable[];
  readonly ledger: Ledger;
  readonly log: LogModel;
  readonly rows: RowModel;
  readonly violations: Violations;
  /** Tables of which nothing is known but that all replicas must hold the same. */
  randomTables: readonly string[];
  /** No child of these may be without its parent, but for what SQLite itself leaves. */
  referencesHold: boolean;
  readonly orphans: OrphansOfSqlite;
  readonly isSynchronous: boolean;
}

/**
 * What must be so in a database file at any moment, also right after a crash: vector, position and
 * rows say the same (I1), each transaction is there in its origin's order (I2), and not before what
 * it depends on (I5).
 */
export function checkDatabase(replica: string, database: SimulatedDatabase, context: CheckContext): void {
  for (const message of database.wrong.splice(0)) context.violations.add('I1', replica, message);
  const record = database.record();
  if (record === undefined) return;
  const { history } = database;
  checkOrder(replica, history, context);
  checkVector(replica, record, context);
  if (!record.isRecovering) checkRows(replica, database, history, context);
}

/**
 * What a database says that it holds, in the log's words; one that it sealed itself may not be
 * there yet.
 */
export function transactionOf(
  { origin, counter, time }: HistoryEntry,
  { log, ledger }: Pick<CheckContext, 'log' | 'ledger'>,
): ModelTransaction | undefined {
  const logged = log.transaction(origin, counter, time);
  return logged ?? (time === undefined ? undefined : ledger.transaction(origin, counter, time));
}

function checkOrder(replica: string, history: readonly HistoryEntry[], context: CheckContext): void {
  const { violations } = context;
  const held = new Set<string>();
  for (const entry of history) {
    const { origin, counter, vector } = entry;
    const id = `${origin}:${counter}`;
    if (held.has(id)) violations.add('I2', replica, `${id} was applied twice`);
    held.add(id);
    for (const [cause, needed] of Object.entries(transactionOf(entry, context)?.context ?? {})) {
      if (cause !== origin && counterOf(vector, cause) < needed)
        violations.add('I5', replica, `${id} was applied before ${cause}:${needed}, on which it depends`);
    }
  }
}

function checkVector(
  replica: string,
  { vector, position, publishedCounter }: ReplicaRecord,
  { log, violations }: CheckContext,
): void {
  const inLog = log.counterAt(position.seq, replica);
  // What counts as published is pruned: the log must have it where this database reads on.
  if (publishedCounter > inLog) {
    const message = `at position ${position.seq} ${replica}:${publishedCounter} is published, the log has ${replica}:${inLog}`;
    violations.add('I3', replica, message);
  }
  for (const origin of new Set([...Object.keys(vector), ...log.origins])) {
    const claimed = counterOf(vector, origin);
    const inLog = log.counterAt(position.seq, origin);
    const wrong = origin === replica ? claimed < inLog : claimed !== inLog;
    if (!wrong) continue;
    const message = `at position ${position.seq} it holds ${origin}:${claimed}, the log ${origin}:${inLog}`;
    violations.add('I1', replica, message);
  }
}

function checkRows(
  replica: string,
  database: SimulatedDatabase,
  history: readonly HistoryEntry[],
  context: CheckContext,
): void {
  const transactions: ModelTransaction[] = [];
  for (const entry of history) {
    const transaction = transactionOf(entry, context);
    if (transaction === undefined) {
      const { origin, counter } = entry;
      if (context.log.isVoid(origin, counter)) continue;
      return context.violations.add('I1', replica, `${origin}:${counter} was never sealed anywhere`);
    }
    transactions.push(transaction);
  }
  const present = new Set(database.tableNames());
  const expected = context.rows.rows(transactions);
  for (const table of context.tables) {
    const rows = expected.get(table.name);
    if (rows === undefined || !present.has(table.name)) continue;
    compareRows(replica, database, table, rows, context.violations);
  }
}

function compareRows(
  replica: string,
  database: SimulatedDatabase,
  table: SimulatedTable,
  expected: ReadonlyMap<string, Row>,
  violations: Violations,
): void {
  const captured = database.captured(table.name);
  // A write that is not sealed yet may free or take another row's unique value, and what it frees
  // comes back later.
  if (table.unique.length > 0 && (captured.length > 0 || database.unsettled)) return;
  const changing = new Set(captured.map((row) => keyTextOf(table, row)));
  const found = new Map(database.rows(table.name).map((row) => [keyTextOf(table, row), row]));
  for (const key of new Set([...expected.keys(), ...found.keys()])) {
    if (changing.has(key)) continue;
    const [is, ought] = [found.get(key), expected.get(key)];
    if (textOf(is) === textOf(ought)) continue;
    violations.add(
      'I4',
      replica,
      `${table.name} has ${showRow(is)}, its transactions leave ${showRow(ought)}`,
    );
  }
}

function textOf(row: Row | undefined): string {
  return row === undefined ? '' : rowText(row);
}

export function showRow(row: Row | undefined): string {
  return row === undefined ? 'no row' : `(${row.map((value) => String(value).slice(0, 24)).join(', ')})`;
}
