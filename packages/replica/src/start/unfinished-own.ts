import {
  AntiphonError,
  type AppendRequest,
  type AppendResult,
  encodeBatch,
  sleep,
  type TransactionBatch,
} from '@antiphon/core';
import type { FoundOwn, OwnRecovery, UnfinishedOwn } from '../deliver/own-recovery.js';
import type { Scope } from '../state/scope.js';
import { retrying, type Deadline } from '../wait/deadline.js';

/**
 * By the log's clock, without an own entry: whoever was sending the rest has ended, and what the
 * network still had has come.
 */
const QUIET_MS = 2000;

type UnfinishedScope = Pick<
  Scope,
  'authority' | 'clock' | 'document' | 'hybrid' | 'id' | 'instance' | 'log' | 'logger'
>;

export interface UnfinishedDeps {
  /** Reads what the log has of this replica. */
  readonly find: () => Promise<FoundOwn>;
  /** Throws DUPLICATE_REPLICA when a process answers that may be sending the rest. */
  readonly assertAlone: () => Promise<void>;
}

/**
 * What the log has of this replica, once it holds no beginning of a transaction of which nobody has
 * the end (docs/decisions/0062). Such a counter is used up by a transaction without changes, before
 * any other is given: nothing that comes late can be taken for that one then. What was still on its
 * way is waited for first, and taken in whole when all of it has come.
 */
export async function findFinishedOwn(
  scope: UnfinishedScope,
  deadline: Deadline,
  { find, assertAlone }: UnfinishedDeps,
): Promise<FoundOwn> {
  const { authority, clock, id, log, logger } = scope;
  /** Nothing has come for so long after this entry. */
  let waitedFor: number | undefined;
  for (let usedUp: number | undefined; ;) {
    const found = await find();
    const { unfinished } = found;
    // The next epoch ends it.
    if (unfinished === undefined || authority.byTerm || !authority.current().mayWrite) return found;
    if (unfinished.counter === usedUp) throw notTaken(id, usedUp);
    const nowMs = await retrying(clock, deadline, () => log.timeMs(deadline.signal));
    const { seq, storedAtMs } = unfinished.newest;
    // From before the log's clock was set back, a time does not tell for how long it was quiet.
    const quietMs = Math.max(0, nowMs - storedAtMs);
    if (quietMs < QUIET_MS && waitedFor !== seq) {
      waitedFor = seq;
      await deadline.paused(() => sleep(clock, QUIET_MS - quietMs, deadline.signal));
      continue;
    }
    await assertAlone();
    const result = await retrying(clock, deadline, () =>
      appended(scope, unfinished, timeOfEmpty(scope, found)),
    );
    if (result.type !== 'stored') continue;
    const { counter } = unfinished;
    usedUp = counter;
    logger.warn(
      { counter, seq: result.seq },
      `The log holds the beginning of transaction ${id}:${counter}, and neither the log nor this database has the rest. ` +
        'No replica has applied any of it, and none ever will. See what was to be written, and write it again.',
    );
  }
}

/** The cluster's rules refuse it, as they would whatever comes after it. */
function notTaken(id: string, counter: number): AntiphonError {
  return new AntiphonError(
    'CLOCK_SKEW',
    `The log has an empty transaction ${id}:${counter}, and no replica takes it: its time, which follows what ${id} ` +
      "last wrote, is too far ahead of the log's clock. Set the clock of the NATS server right, and start again.",
  );
}

/**
 * Refused when anything of ours came after what was read. Of two attempts at most one is stored.
 * Throws what is not known to be either.
 */
async function appended(
  scope: UnfinishedScope,
  unfinished: UnfinishedOwn,
  time: number,
): Promise<AppendResult> {
  const { document, id, instance, log } = scope;
  const { counter, newest } = unfinished;
  const request: AppendRequest = {
    origin: id,
    id: `${id}:${counter}.0-${counter}.0~${instance}.unfinished`,
    data: encodeBatch(emptyTransaction(id, { counter, time }, document.schema.version)),
    expectedLastSeqOfOrigin: newest.seq,
  };
  const result = await new Promise<AppendResult>((settled) => log.append(request, settled));
  if (result.type === 'stored' || (result.type === 'refused' && result.lastSeqOfOrigin !== undefined))
    return result;
  throw result.error;
}

/**
 * The next time, and not that of the clock: what was captured and has no number yet is later than
 * this, and keeps the time when it was made. Another one than that of the parts, which are another
 * transaction's.
 */
function timeOfEmpty({ hybrid }: UnfinishedScope, { past, unfinished }: FoundOwn): number {
  const next = Math.max(hybrid.last, past?.time ?? 0) + 1;
  return next === unfinished?.time ? next + 1 : next;
}

function emptyTransaction(
  origin: string,
  { counter, time }: OwnRecovery,
  schemaVersion: number,
): TransactionBatch {
  return {
    ...{ kind: 'transactions', origin, firstCounter: counter, epoch: 0, time, context: {}, schemaVersion },
    tables: [],
    transactions: [{ counter, time, changes: [] }],
  };
}
