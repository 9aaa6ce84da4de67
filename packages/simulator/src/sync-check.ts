import type { Outcome } from '@antiphon/replica';
import {
  checkConservedTotal,
  checkLinearizable,
  checkSession,
  type OperationRecord,
  type RegisterValue,
} from '@antiphon/testing';
import type { ModelTransaction } from './log-model.js';
import type { SimulatedNode } from './node.js';
import type { SyncContext } from './sync-context.js';
import { numberOf } from './row-statements.js';
import { COUNTER_COUNT, DUTY_PAIRS, TOTAL } from './sync-tables.js';
import type { SyncWriteRecord } from './sync-writers.js';
import { counterKey } from './sync-workload.js';
import { tokensIn } from './tables.js';
import type { Violations } from './violation.js';

/** What must be so in every database after every commit. */
export function checkSnapshot({ id, database }: SimulatedNode, violations: Violations): void {
  if (!database.isReplica || database.tableNames().length === 0) return;
  const amounts = database.rows('accounts').map(([, amount]) => numberOf(amount));
  if (amounts.length > 0) {
    for (const { explanation } of checkConservedTotal([amounts], TOTAL))
      violations.add('I1', id, explanation);
  }
  const duty = database.rows('duty');
  for (let pair = 0n; duty.length > 0 && pair < DUTY_PAIRS; pair++) {
    if (!duty.some(([of, , on]) => of === pair && on === 1n))
      violations.add('I8', id, `nobody of pair ${pair} is on duty: a lock did not hold`);
  }
}

/** When everything is over: what callers were told is what the log and the databases hold. */
export function checkSyncRun(context: SyncContext, writes: readonly SyncWriteRecord[]): void {
  const carriers = carriersOf(context);
  for (const write of writes) checkEnd(context, write, carriers.get(write.token));
  checkCounters(context, writes, carriers);
  checkOutcomesEqual(context);
  checkHistory(context, carriers);
}

/**
 * I8: what was said about an unknown write is the truth. That it never came into the log, only its
 * origin can always tell.
 */
export function checkOutcome(
  context: SyncContext,
  { token, outcomeId, work, node }: SyncWriteRecord,
  by: string,
  { outcome, reason = '' }: Outcome,
): void {
  // Without changes there is nothing in the log to compare with.
  if (work.reads === true || (outcome === 'unknown' && by !== node.id)) return;
  const truth = context.answers.transactionOf(token) === undefined ? 'rejected' : 'committed';
  if (outcome === truth) return;
  context.violations.add('I8', by, `${token} (${outcomeId}) is ${truth}; it says ${outcome}: ${reason}`);
}

/** By token, the committed transactions that carry it. */
function carriersOf({ log, violations, repeatable }: SyncContext): ReadonlyMap<string, ModelTransaction> {
  const carriers = new Map<string, ModelTransaction>();
  for (const transaction of log.transactions) {
    const rows = transaction.changes.filter(({ op }) => op !== 'delete').map(({ row }) => row);
    for (const token of new Set(rows.flatMap(tokensIn))) {
      if (token.startsWith('founding')) continue;
      if (carriers.has(token) && !repeatable.has(token))
        violations.add('I2', transaction.origin, `${token} is committed twice`);
      carriers.set(token, transaction);
    }
  }
  return carriers;
}

function checkEnd(
  { violations }: SyncContext,
  { token, end, node, work, process }: SyncWriteRecord,
  carrier: ModelTransaction | undefined,
): void {
  if (work.reads === true) return;
  if (end === 'committed') {
    if (carrier === undefined) violations.add('I8', node.id, `${token} was acknowledged and is nowhere`);
  } else if (end === 'rejected' && carrier !== undefined) {
    violations.add('I8', node.id, `${token} was rejected and is in entry ${carrier.seq} of the log`);
  } else if (end === 'open' && node.starts === process) {
    violations.add('I11', node.id, `${token} was never answered`);
  }
}

/** Each committed increment is there once, and no other. */
function checkCounters(
  { nodes, violations }: SyncContext,
  writes: readonly SyncWriteRecord[],
  carriers: ReadonlyMap<string, ModelTransaction>,
): void {
  for (let counter = 0n; counter < COUNTER_COUNT; counter++) {
    const sum = writes
      .filter(({ token, work }) => work.increment?.counter === counter && carriers.has(token))
      .reduce((total, { work }) => total + (work.increment?.by ?? 0), 0);
    for (const { id, database } of nodes) {
      const found = database.rows('counters').find(([key]) => key === counter)?.[1];
      if (numberOf(found) !== sum)
        violations.add(
          'I8',
          id,
          `${counterKey(counter)} is ${String(found)}, its increments add up to ${sum}`,
        );
    }
  }
}

function checkOutcomesEqual({ nodes: [first, ...others], violations }: SyncContext): void {
  const textOf = (node: SimulatedNode | undefined): readonly string[] =>
    (node?.database.read('SELECT * FROM _antiphon_outcomes ORDER BY seq, first_counter') ?? []).map((row) =>
      row.map(String).join(),
    );
  const expected = textOf(first);
  for (const node of others) {
    const found = textOf(node);
    const index = found.findIndex((text, at) => text !== expected[at]);
    if (index >= 0 || found.length !== expected.length)
      violations.add('I4', node.id, `outcome ${index}: ${found[index]} instead of ${expected[index]}`);
  }
}

/** I12: strong reads and synchronous writes have one order, each row for itself. */
function checkHistory(context: SyncContext, carriers: ReadonlyMap<string, ModelTransaction>): void {
  const { history, violations } = context;
  const initialValues = new Map<string, RegisterValue>();
  for (let counter = 0n; counter < COUNTER_COUNT; counter++) initialValues.set(counterKey(counter), 0);
  const result = checkLinearizable(history.records(), { initialValues, maxStatesPerKey: 200_000 });
  if (result.linearizable === false) violations.add('I12', '', result.explanation);
  // Registers are cleared by others: a read that finds nothing does not tell when.
  const sessions = context.sessions
    .records()
    .filter(({ completion }) => completion.type !== 'ok' || completion.value !== null)
    .map((record) => withVersion(record, carriers));
  // A read tells no position, so nothing is promised about the reads and writes after it.
  const session = checkSession(sessions, { guarantees: ['read-your-writes', 'monotonic-writes'] });
  for (const { explanation } of session.violations) violations.add('I12', '', explanation);
}

/** The version of a register: the place of the transaction that wrote it. */
function withVersion(
  record: OperationRecord,
  carriers: ReadonlyMap<string, ModelTransaction>,
): OperationRecord {
  const { completion, operation } = record;
  if (completion.type !== 'ok' || operation.kind === 'increment') return record;
  const token = operation.kind === 'read' ? completion.value : operation.value;
  const carrier = typeof token === 'string' ? carriers.get(token) : undefined;
  if (carrier?.seq === undefined) return record;
  return { ...record, completion: { ...completion, version: carrier.seq * 100_000 + carrier.counter } };
}
