import { advance, type HybridClock, type TransactionId } from '@antiphon/core';
import { capturedTransactions, type CapturedTransaction } from './capture.js';
import { ChangeDigest } from './change-digest.js';
import type { MemoryDatabase } from './database.js';
import type { DatabaseTransaction } from './database-transaction.js';
import { keyTextOf } from './key-order.js';
import {
  cutIntoMessages,
  type CutLimits,
  type MessageHead,
  type TransactionDraft,
} from './message-cutter.js';
import { withSealed, type ReplicaRecord } from './replica-record.js';
import { nextKey } from './sequence.js';
import { CAPTURED, HISTORY, OUTBOX, versionsOf, WRITTEN_SINCE } from './spaces.js';
import { settleUniqueValues } from './uniqueness.js';

export interface Sealing {
  readonly record: ReplicaRecord;
  /** By the writer's number. */
  readonly ids: ReadonlyMap<number, TransactionId>;
}

export interface SealContext {
  readonly database: MemoryDatabase;
  readonly clock: HybridClock;
  readonly limits: CutLimits;
}

/** Turns everything captured into transactions of this replica: counters in commit order, versions, messages. */
export function sealCaptured(
  transaction: DatabaseTransaction,
  before: ReplicaRecord,
  context: SealContext,
): Sealing {
  const { database, limits } = context;
  const captured = capturedTransactions(transaction);
  if (captured.length === 0) return { record: before, ids: new Map() };
  const origin = before.identity.replica;
  let record = before;
  const ids = new Map<number, TransactionId>();
  const drafts: TransactionDraft[] = [];
  for (const one of captured) {
    const stamped = stampTransaction(transaction, record, one, context);
    record = stamped.record;
    drafts.push(stamped.draft);
    ids.set(one.writer, { origin, counter: stamped.draft.counter });
  }
  if (record.rowVersions) settleTouched(transaction, database, captured);
  for (const message of cutIntoMessages(drafts, messageHead(before), limits)) {
    transaction.put(OUTBOX, nextKey(transaction, 'outbox'), message);
  }
  return { record, ids };
}

/** Gives one captured transaction its counter and time, and its rows their versions. */
export function stampTransaction(
  transaction: DatabaseTransaction,
  before: ReplicaRecord,
  { keys, changes }: CapturedTransaction,
  { database, clock }: Pick<SealContext, 'database' | 'clock'>,
): { readonly record: ReplicaRecord; readonly draft: TransactionDraft } {
  const counter = before.lastCounter + 1;
  const draft = { counter, time: clock.tick(), captured: changes };
  writeHistory(transaction, draft, before);
  const record = { ...withSealed(before, counter), lastTime: draft.time };
  if (record.rowVersions) writeVersions(transaction, database, draft, record.identity.replica);
  else if (record.pastUntil !== undefined) guardRows(transaction, database, draft);
  for (const key of keys) transaction.delete(CAPTURED, key);
  return { record, draft };
}

/** For messages of transactions that come after what the record says. */
export function messageHead(record: ReplicaRecord): MessageHead {
  const { identity, epoch, schema } = record;
  const contextBefore = (counter: number): ReplicaRecord['vector'] => contextOf(record, counter);
  return { origin: identity.replica, epoch, schema, contextBefore };
}

/** What this replica had applied before it gave that counter. */
function contextOf(record: ReplicaRecord, counter: number): ReplicaRecord['vector'] {
  if (!record.rowVersions) return {};
  // While its own past is still coming in, what is sealed has not seen it.
  if (record.pastUntil !== undefined) return record.vector;
  return advance(record.vector, record.identity.replica, counter - 1);
}

function writeVersions(
  transaction: DatabaseTransaction,
  database: MemoryDatabase,
  draft: TransactionDraft,
  origin: string,
): void {
  const version = { time: draft.time, origin, counter: draft.counter };
  for (const change of draft.captured) {
    const { schema } = database.table(change.table, transaction);
    const entry = { version, deleted: change.op === 'delete', displaced: undefined };
    transaction.put(versionsOf(change.table), keyTextOf(schema, change.row), entry);
  }
}

/** These rows are later than the own past that is still to come in. */
function guardRows(
  transaction: DatabaseTransaction,
  database: MemoryDatabase,
  draft: TransactionDraft,
): void {
  for (const { table, row } of draft.captured) {
    transaction.put(
      WRITTEN_SINCE,
      `${table} ${keyTextOf(database.table(table, transaction).schema, row)}`,
      draft.counter,
    );
  }
}

export function settleTouched(
  transaction: DatabaseTransaction,
  database: MemoryDatabase,
  captured: readonly CapturedTransaction[],
): void {
  const touched = new Set(captured.flatMap(({ changes }) => changes.map(({ table }) => table)));
  for (const name of touched) settleUniqueValues(transaction, database.table(name, transaction));
}

function writeHistory(
  transaction: DatabaseTransaction,
  draft: TransactionDraft,
  record: ReplicaRecord,
): void {
  const digest = new ChangeDigest();
  for (const change of draft.captured) digest.add(change);
  transaction.put(HISTORY, nextKey(transaction, 'history'), {
    origin: record.identity.replica,
    counter: draft.counter,
    time: draft.time,
    context: contextOf(record, draft.counter),
    digest: digest.finish(),
  });
}
