import { AntiphonError, type WriteRequest } from '@antiphon/core';
import { storeError } from './errors.js';
import { foreignLeaseMs } from './foreign-lease.js';
import { GroupRoom, type GroupTime, type Room } from './group-bounds.js';
import type { Lot } from './kept-lots.js';
import type { LockedRow } from './locks.js';
import type { Session } from './session.js';
import type { SqliteTransaction } from './transaction.js';

/** A write of the group, after its function has run. */
export type Ran =
  | {
      readonly type: 'ran';
      readonly value: unknown;
      /** The number of its last outbox row. */
      readonly end: number;
      readonly changed: boolean;
      readonly locks: readonly LockedRow[];
      /** Tables and views that it may have written to, replicated or not. */
      readonly written: ReadonlySet<string>;
      /** Kept rows that it wrote again. */
      readonly kept?: readonly Lot[];
    }
  | { readonly type: 'rejected'; readonly error: unknown }
  /**
   * Undone: it writes only to what is not replicated, or rows that were kept; its group is to be
   * its own.
   */
  | { readonly type: 'alone' }
  /** Its function was not begun: the group was over before it. */
  | { readonly type: 'left-out' };

const LEFT_OUT: Ran = { type: 'left-out' };

/**
 * `synchronous`: what it changed is committed when the log has it, perhaps by what the log says and
 * not by this transaction.
 */
export type GroupKind = 'asynchronous' | 'synchronous';

/** After one that failed: how many groups have a savepoint for each write. */
const GROUPS_APART = 32;

/** The whole database transaction is gone with one write: the others must run again without it. */
export class GroupUndone extends Error {
  constructor(
    readonly index: number,
    readonly error: unknown,
  ) {
    super('the database rolled the whole group back');
  }
}

export interface GroupOptions {
  readonly kind: GroupKind;
  readonly time: GroupTime;
  readonly room: Room;
}

/**
 * Runs writes in the transaction that is open on the writing connection, each as if it were the
 * only one; as many of them, in order, as there are time and room for. Seals nothing.
 */
export function runGroup(
  session: Session,
  requests: readonly WriteRequest<SqliteTransaction>[],
  options: GroupOptions,
): Ran[] {
  const { outbox } = session.sealing(session.writer);
  if (asksWhoWrites(session.policy)) outbox.admitWrites();
  session.users.begin();
  try {
    if (requests.length === 1) return runAll(session, requests, options, 'transaction');
    return runTogether(session, requests, options) ?? runAll(session, requests, options, 'savepoint');
  } finally {
    session.users.end();
  }
}

/** Triggers let the library do what other programs may not, or not any more. */
function asksWhoWrites(policy: Session['policy']): boolean {
  return policy.writes === 'library' || foreignLeaseMs(policy) !== undefined;
}

/**
 * In one savepoint: one for each write would cost a fifth of what the write does. Nearly always all
 * of them succeed; undefined when one does not, and all is undone. Where one has failed, more fail
 * soon after, so this is not tried then.
 */
function runTogether(
  session: Session,
  requests: readonly WriteRequest<SqliteTransaction>[],
  options: GroupOptions,
): Ran[] | undefined {
  if (session.groupsApart > 0) {
    session.groupsApart--;
    return undefined;
  }
  const { writer } = session;
  writer.statement('SAVEPOINT _antiphon_group').run();
  const all = runAll(session, requests, options, 'group');
  const isWhole = all.length === requests.length;
  if (!isWhole) {
    session.groupsApart = GROUPS_APART;
    writer.statement('ROLLBACK TO _antiphon_group').run();
  }
  writer.statement('RELEASE _antiphon_group').run();
  return isWhole ? all : undefined;
}

/** In a group, no more than up to the first one that is not to stay. */
function runAll(
  session: Session,
  requests: readonly WriteRequest<SqliteTransaction>[],
  { kind, time, room: given }: GroupOptions,
  undoneBy: Place['undoneBy'],
): Ran[] {
  const all: Ran[] = [];
  const { outbox } = session.sealing(session.writer);
  const room = undoneBy === 'transaction' ? undefined : new GroupRoom(outbox, given);
  let from = 0;
  for (const [index, request] of requests.entries()) {
    if (room?.hasMore() === false || !time.mayBegin(request))
      return [...all, ...requests.slice(index).map(() => LEFT_OUT)];
    const ran = runOne(session, request, { index, from, undoneBy, kind });
    if (ran.type !== 'ran' && undoneBy === 'group') break;
    all.push(ran);
    if (ran.type !== 'ran') continue;
    if (ran.changed) room?.take(ran.end);
    from = ran.end;
  }
  return all;
}

interface Place {
  readonly index: number;
  /** The last outbox row before it. */
  readonly from: number;
  /**
   * What takes it back: the end of the transaction, which it has to itself; a savepoint of its own;
   * that of the group, and the others with it.
   */
  readonly undoneBy: 'transaction' | 'savepoint' | 'group';
  readonly kind: GroupKind;
}

function runOne(
  session: Session,
  request: WriteRequest<SqliteTransaction>,
  { index, from, undoneBy, kind }: Place,
): Ran {
  const { writer, users } = session;
  const { outbox, deferredKeys } = session.sealing(writer);
  const alone = undoneBy === 'transaction';
  const apart = undoneBy === 'savepoint';
  if (apart) writer.statement('SAVEPOINT _antiphon_write').run();
  let isCallers = true;
  try {
    const value = request.run(users);
    // A `then` of the caller's may throw as well.
    const isAsync = isPromise(value);
    if (isAsync) value.then(undefined, () => undefined);
    isCallers = false;
    if (isAsync) {
      throw new AntiphonError(
        'BAD_OPTION',
        'The function of a write must not be async: the database transaction does not wait. Await before or after it.',
      );
    }
    if (!writer.inTransaction)
      throw new AntiphonError(
        'BAD_SQL',
        'A statement of this write ended its transaction. Nothing of it was kept.',
      );
    outbox.settle(from);
    const end = outbox.lastSeq();
    deferredKeys.verify();
    const locks = users.takeLocks();
    const written = users.takeWritten();
    const kept = session.kept.takeWritten();
    const local = kind === 'synchronous' ? session.localTableOf(written) : undefined;
    if (local !== undefined && end > from) throw mixedWrite(local);
    const mustBeAlone = local !== undefined || (kept !== undefined && kind === 'synchronous');
    if (mustBeAlone && !alone) {
      if (apart) undo(session);
      return { type: 'alone' };
    }
    if (apart) writer.statement('RELEASE _antiphon_write').run();
    return { type: 'ran', value, end, changed: end > from, locks, written, ...(kept && { kept }) };
  } catch (thrown) {
    users.takeLocks();
    users.takeWritten();
    session.kept.takeWritten();
    // What its function throws is its caller's, and passes on as it is (docs/decisions/0055).
    const error: unknown = isCallers ? thrown : storeError(thrown, 'Writing failed');
    if (alone || !writer.inTransaction) throw new GroupUndone(index, error);
    if (apart) undo(session);
    return { type: 'rejected', error };
  }
}

function undo({ writer }: Session): void {
  writer.statement('ROLLBACK TO _antiphon_write').run();
  writer.statement('RELEASE _antiphon_write').run();
}

/**
 * When the log decides in favour of it, what is applied is what the log has: the rest would be
 * lost, and was acknowledged.
 */
function mixedWrite(table: string): AntiphonError {
  return new AntiphonError(
    'BAD_SQL',
    `This write changes replicated rows, and it may write to ${table}, which is not replicated, itself or by a trigger or foreign key. ` +
      `A synchronous cluster could keep only the replicated part. Replicate ${table} as well, or write to it in a write of its own.`,
    { context: { table } },
  );
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}
