import { counterOf, type Row } from '@antiphon/core';
import type { MemoryDatabase } from '../memory/store/database.js';
import { keyText, keyTextOf } from '../memory/store/key-order.js';
import { readRecord, type ReplicaRecord } from '../memory/store/replica-record.js';
import { CAPTURED, HISTORY, rowsOf, type HistoryEntry } from '../memory/store/spaces.js';
import type { Ledger } from './ledger.js';
import type { LogModel, ModelTransaction } from './log-model.js';
import type { RowModel } from './row-model.js';
import type { Violations } from './violation.js';

export interface CheckContext {
  readonly ledger: Ledger;
  readonly log: LogModel;
  readonly rows: RowModel;
  readonly violations: Violations;
}

/** The transactions that a database holds, in the order in which it came to hold them. */
export function historyOf(database: MemoryDatabase): readonly HistoryEntry[] {
  return [...database.entries(HISTORY)].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
}

/**
 * What must be so in a database file at any moment, also right after a crash: vector, position and rows say the same
 * (I1), each transaction is there once, in its origin's order (I2), and after what it depends on (I5).
 */
export function checkDatabase(replica: string, database: MemoryDatabase, context: CheckContext): void {
  const record = readRecord(database);
  if (record === undefined) return;
  const history = historyOf(database);
  checkHistory(replica, history, context.violations);
  checkVector(replica, record, history, context);
  checkRows(replica, database, history, context);
}

function checkHistory(replica: string, history: readonly HistoryEntry[], violations: Violations): void {
  const held = new Map<string, Set<number>>();
  const counters = new Map<string, number>();
  for (const { origin, counter, context } of history) {
    const id = `${origin}:${counter}`;
    const ofOrigin = held.get(origin) ?? new Set<number>();
    held.set(origin, ofOrigin);
    if (ofOrigin.has(counter)) violations.add('I2', replica, `${id} was applied twice`);
    ofOrigin.add(counter);
    // Own past that comes in late lies behind what was written since.
    const previous = counters.get(origin) ?? 0;
    if (origin !== replica && counter !== previous + 1)
      violations.add('I2', replica, `${id} was applied after ${origin}:${previous}`);
    counters.set(origin, Math.max(previous, counter));
    for (const [cause, needed] of Object.entries(context)) {
      const missing = cause !== origin && (counters.get(cause) ?? 0) < needed;
      if (missing)
        violations.add('I5', replica, `${id} was applied before ${cause}:${needed}, on which it depends`);
    }
  }
}

function checkVector(
  replica: string,
  record: ReplicaRecord,
  history: readonly HistoryEntry[],
  context: CheckContext,
): void {
  const { violations, log } = context;
  const { vector, position } = record;
  for (const origin of new Set([...Object.keys(vector), ...history.map((entry) => entry.origin)])) {
    const counters = new Set(
      history.filter((entry) => entry.origin === origin).map(({ counter }) => counter),
    );
    const claimed = counterOf(vector, origin);
    let reached = 0;
    while (counters.has(reached + 1)) reached++;
    if (claimed !== reached)
      violations.add('I1', replica, `its vector says ${origin}:${claimed}, it holds ${origin}:${reached}`);
    const inLog = log.counterAt(position.seq, origin);
    const wrong = origin === replica ? claimed < inLog : claimed !== inLog;
    if (wrong)
      violations.add(
        'I1',
        replica,
        `at position ${position.seq} it holds ${origin}:${claimed}, the log ${origin}:${inLog}`,
      );
  }
}

function checkRows(
  replica: string,
  database: MemoryDatabase,
  history: readonly HistoryEntry[],
  context: CheckContext,
): void {
  const transactions: ModelTransaction[] = [];
  for (const { origin, counter, time } of history) {
    const transaction =
      context.log.transaction(origin, counter, time) ?? context.ledger.transaction(origin, counter, time);
    if (transaction === undefined)
      return context.violations.add('I1', replica, `${origin}:${counter} was never sealed anywhere`);
    transactions.push(transaction);
  }
  for (const [table, expected] of context.rows.rows(transactions)) {
    if (!database.tableNames().includes(table)) continue;
    compareRows(replica, database, table, expected, context.violations);
  }
}

function compareRows(
  replica: string,
  database: MemoryDatabase,
  table: string,
  expected: ReadonlyMap<string, Row>,
  violations: Violations,
): void {
  const compiled = database.table(table);
  const unsealed = [...database.entries(CAPTURED)].filter(([, change]) => change.table === table);
  // A write that is not sealed yet may free or take another row's unique value.
  if (unsealed.length > 0 && compiled.hasUnique) return;
  const changing = new Set(unsealed.map(([, { row }]) => keyTextOf(compiled.schema, row)));
  const found = new Map(database.entries(rowsOf(table)));
  for (const key of new Set([...expected.keys(), ...found.keys()])) {
    if (changing.has(key)) continue;
    const [is, ought] = [found.get(key), expected.get(key)];
    if (textOf(is) === textOf(ought)) continue;
    violations.add('I4', replica, `${table} has ${showRow(is)}, its transactions leave ${showRow(ought)}`);
  }
}

function textOf(row: Row | undefined): string {
  return row === undefined ? '' : keyText(row);
}

export function showRow(row: Row | undefined): string {
  return row === undefined ? 'no row' : `(${row.map((value) => String(value).slice(0, 24)).join(', ')})`;
}
