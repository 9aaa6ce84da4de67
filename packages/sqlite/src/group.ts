import { AntiphonError, type WriteRequest } from '@antiphon/core';
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
    }
  | { readonly type: 'rejected'; readonly error: AntiphonError };

/** The whole database transaction is gone with one write: the others must run again without it. */
export class GroupUndone extends Error {
  constructor(
    readonly index: number,
    readonly error: AntiphonError,
  ) {
    super('the database rolled the whole group back');
  }
}

/** Runs writes in the transaction that is open on the writing connection, each in a savepoint of its own. Seals nothing. */
export function runGroup(session: Session, requests: readonly WriteRequest<SqliteTransaction>[]): Ran[] {
  const { outbox } = session.sealing(session.writer);
  const alone = requests.length === 1;
  let end = 0;
  if (session.policy.writes === 'library') outbox.admitWrites();
  session.users.begin();
  try {
    return requests.map((request, index) => {
      const ran = runOne(session, request, index, end, alone);
      if (ran.type === 'ran') end = ran.end;
      return ran;
    });
  } finally {
    session.users.end();
  }
}

function runOne(
  session: Session,
  request: WriteRequest<SqliteTransaction>,
  index: number,
  from: number,
  alone: boolean,
): Ran {
  const { writer, users } = session;
  const { outbox, deferredKeys } = session.sealing(writer);
  // A lone write has the whole transaction to itself: what it leaves behind goes with it.
  if (!alone) writer.statement('SAVEPOINT _antiphon_write').run();
  try {
    const value = request.run(users);
    if (isPromise(value)) {
      value.then(undefined, () => undefined);
      throw new AntiphonError(
        'BAD_SQL',
        'the function of a write must not be async: the database transaction does not wait. Await before or after it.',
      );
    }
    if (!writer.inTransaction)
      throw new AntiphonError(
        'BAD_SQL',
        'a statement of this write ended the transaction; nothing of it was kept.',
      );
    outbox.settle(from);
    const end = outbox.lastSeq();
    deferredKeys.verify();
    if (!alone) writer.statement('RELEASE _antiphon_write').run();
    return {
      type: 'ran',
      value,
      end,
      changed: end > from,
      locks: users.takeLocks(),
      written: users.takeWritten(),
    };
  } catch (thrown) {
    users.takeLocks();
    users.takeWritten();
    const error = rejection(thrown);
    if (alone || !writer.inTransaction) throw new GroupUndone(index, error);
    writer.statement('ROLLBACK TO _antiphon_write').run();
    writer.statement('RELEASE _antiphon_write').run();
    return { type: 'rejected', error };
  }
}

/** What a write's function throws rejects it: nothing of it is kept, and the caller finds its own error in `cause`. */
function rejection(thrown: unknown): AntiphonError {
  if (thrown instanceof AntiphonError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new AntiphonError('ABORTED', `the write's own function threw, nothing of it was kept: ${message}`, {
    cause: thrown,
    retriable: false,
  });
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}
