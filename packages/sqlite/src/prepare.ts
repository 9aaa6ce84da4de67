import type { PreparedWrite, PrepareOptions, WriteRequest } from '@antiphon/core';
import { storeError } from './errors.js';
import { GroupTooLarge, maxMessageBytes, type SealedGroup } from './group-seal.js';
import type { Lot } from './kept-lots.js';
import { GroupUndone, runGroup, type Ran } from './group.js';
import { GroupTime } from './group-bounds.js';
import type { Session } from './session.js';
import type { ReplicaState } from './state.js';
import type { SqliteTransaction } from './transaction.js';

/** A group whose transaction is open on the writing connection, unless every write was rejected. */
export interface Preparation {
  readonly writes: readonly PreparedWrite[];
  readonly sealed?: SealedGroup;
  /** What the state is after the commit. */
  readonly draft: ReplicaState;
}

/**
 * Runs and seals a group. undefined, and nothing open, when other programs' changes wait to be
 * sealed. When a write takes the whole transaction with it, or does not fit, the others run again:
 * rare, and it leaves nothing to undo by hand.
 */
export async function prepareGroup(
  session: Session,
  current: () => ReplicaState,
  requests: readonly WriteRequest<SqliteTransaction>[],
  options: PrepareOptions,
): Promise<Preparation | undefined> {
  const writes = new Array<PreparedWrite | undefined>(requests.length);
  const time = new GroupTime(session.writer.surroundings);
  for (;;) {
    const waiting = [...requests.keys()].filter((index) => writes[index] === undefined);
    if (waiting.length === 0 && requests.length > 0)
      return { writes: writes as PreparedWrite[], draft: current().copy() };
    await session.writer.begin();
    try {
      const draft = current().copy();
      // An empty group takes a counter that was used for nothing; what others wrote is numbered
      // after it.
      if (!isReady(session, draft) && requests.length > 0) {
        session.writer.rollback();
        return undefined;
      }
      const ran = runGroup(
        session,
        waiting.map((index) => requests[index] as WriteRequest<SqliteTransaction>),
        { kind: 'synchronous', time, room: { maxBytes: maxMessageBytes(options), larger: 'rejected' } },
      );
      const sealed = sealGroup(session, draft, ran, options);
      const kept = keptBy(ran);
      if (sealed !== undefined && kept !== undefined && !session.keptAttempts.has(options.token, kept)) {
        session.writer.rollback();
        await noteAttempt(session, draft, options.token, kept);
        continue;
      }
      if (kept !== undefined) session.keptAttempts.arrived(options.token, session.tables);
      results(ran, sealed, draft).forEach((write, at) => (writes[waiting[at] ?? 0] = write));
      return { writes: writes as PreparedWrite[], draft, ...(sealed === undefined ? {} : { sealed }) };
    } catch (thrown) {
      session.writer.rollback();
      if (thrown instanceof GroupUndone) {
        writes[waiting[thrown.index] ?? 0] = { type: 'rejected', error: thrown.error };
      } else if (thrown instanceof GroupTooLarge) {
        leaveOut(thrown, waiting, writes, options);
      } else {
        throw storeError(thrown, 'Preparing failed');
      }
    }
  }
}

/** A write of kept rows has its group to itself. */
function keptBy([ran]: readonly Ran[]): readonly Lot[] | undefined {
  return ran?.type === 'ran' ? ran.kept : undefined;
}

/**
 * Durably, before anybody else can have the message: the log may commit what this process does not
 * live to see.
 */
function noteAttempt(
  session: Session,
  draft: ReplicaState,
  token: string,
  kept: readonly Lot[],
): Promise<void> {
  const { writer, writerState, keptAttempts } = session;
  return writer.transaction(() => {
    writerState.assertOwned(draft);
    keptAttempts.note(token, kept);
  });
}

/**
 * Rejects at once all that can never fit, and keeps the order of the others: from the first one on
 * for which there is no room any more, they come later, and so does what has not run.
 */
function leaveOut(
  { sizes, room }: GroupTooLarge,
  waiting: readonly number[],
  writes: (PreparedWrite | undefined)[],
  options: PrepareOptions,
): void {
  let left = room;
  let isFull = false;
  for (const [at, index] of waiting.entries()) {
    const bytes = sizes.get(at) ?? 0;
    if (bytes > room) {
      writes[index] = { type: 'rejected', error: GroupTooLarge.alone(maxMessageBytes(options)) };
      continue;
    }
    left -= bytes;
    isFull ||= left < 0;
    if (isFull) writes[index] = leftOut(sizes.get(at));
  }
  if (!waiting.every((index) => writes[index] === undefined)) return;
  // Sizes are upper bounds, so that something was left out; without that it would run like this for
  // ever.
  const last = Math.max(...sizes.keys());
  for (const [at, index] of waiting.entries()) if (at >= last) writes[index] = leftOut(sizes.get(at));
}

function leftOut(bytes: number | undefined): PreparedWrite {
  return bytes === undefined ? { type: 'left-out' } : { type: 'left-out', bytes };
}

/** False when something else must be sealed first. */
function isReady(session: Session, draft: ReplicaState): boolean {
  session.writerState.assertOwned(draft);
  session.verifySchema(session.writer, draft);
  return session.sealing(session.writer).outbox.isEmpty();
}

function sealGroup(
  session: Session,
  draft: ReplicaState,
  ran: readonly Ran[],
  options: PrepareOptions,
): SealedGroup | undefined {
  const { outbox, groups } = session.sealing(session.writer);
  const changed = [...ran.keys()].filter((index) => isChange(ran[index]));
  const transactions = changed.flatMap((index) => {
    const one = ran[index];
    return one?.type === 'ran' ? [{ end: one.end, locks: one.locks }] : [];
  });
  if (transactions.length === 0) {
    outbox.refuseWrites();
    return ran.length === 0 ? groups.seal(draft, [{ end: 0, locks: [] }], options) : undefined;
  }
  try {
    const sealed = groups.seal(draft, transactions, options);
    outbox.clear();
    return sealed;
  } catch (thrown) {
    if (!(thrown instanceof GroupTooLarge)) throw thrown;
    const { sizes, room } = thrown;
    throw new GroupTooLarge(new Map(changed.map((index, at) => [index, sizes.get(at) ?? 0])), room);
  }
}

function isChange(ran: Ran | undefined): boolean {
  return ran?.type === 'ran' && ran.changed;
}

function results(ran: readonly Ran[], sealed: SealedGroup | undefined, draft: ReplicaState): PreparedWrite[] {
  const origin = draft.identity.replica;
  let at = 0;
  return ran.map((one): PreparedWrite => {
    if (one.type !== 'ran') return one;
    if (!one.changed || sealed === undefined) return { type: 'ran', value: one.value, claims: [] };
    const counter = sealed.firstCounter + at;
    const claims = sealed.claims[at] ?? [];
    at++;
    return { type: 'ran', value: one.value, id: { origin, counter }, claims };
  });
}
