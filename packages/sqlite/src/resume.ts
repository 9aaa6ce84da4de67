import { AntiphonError } from '@antiphon/core';
import { Pace } from './pace.js';
import { CapturedTimes } from './captured-times.js';
import { HiddenRows } from './hidden-rows.js';
import type { Session } from './session.js';
import type { ReplicaState } from './state.js';

/**
 * Goes on after transactions that this database has lost, up to `counter` and hybrid `time`, in the
 * caller's transaction on the writing connection. Returns how many captured changes were forgotten
 * because the log has them.
 */
export async function resumeFrom(
  session: Session,
  draft: ReplicaState,
  counter: number,
  time: number,
): Promise<number> {
  const { writer, clock, past } = session;
  const forgotten = forgetCaptured(session, draft);
  if (counter > draft.lastCounter) {
    draft.recoveryCounter = counter;
    draft.lastCounter = counter;
  }
  // The clock has not heard of the past yet: what was captured gets the time when it was made, and
  // whoever wrote later wins.
  if (!past.isEmpty && maySealNow(session, draft)) {
    await session.sealPending(writer, draft, Pace.ordinary(writer.surroundings));
    session.sealing(writer).sealer.finish();
  }
  clock.restore(time);
  draft.time = Math.max(draft.time, time);
  return forgotten;
}

function forgetCaptured(session: Session, draft: ReplicaState): number {
  const { writer, clock, past } = session;
  const { outbox } = session.sealing(writer);
  if (past.isEmpty || outbox.isEmpty()) return 0;
  // Decided by what the rows are now, so before any of them becomes what it was later.
  if (isVerified(session, draft))
    outbox.settle(0, new CapturedTimes(writer, clock.wallMs, draft.rowVersions).spread);
  const ahead = aheadMs(session);
  if (draft.rowVersions) forgetTakenOver(session, draft, outbox.lastSeq());
  const forgotten = past.forgetCaptured(ahead ?? 0, draft.rowVersions);
  if (forgotten > 0) unsettleAll(session, draft);
  if (draft.rowVersions && ahead !== undefined) past.dateMisdated(ahead, draft.time / 1000, clock.wallMs);
  return forgotten;
}

/**
 * Sealing forgets hidden rows whose keys were written again, and what is forgotten is not sealed:
 * such a row would come back beside the one that has its key.
 */
function forgetTakenOver({ writer, tables }: Session, draft: ReplicaState, last: number): void {
  const hidden = new HiddenRows(writer);
  for (const table of tables) hidden.forgetTakenOver(draft, table, 0, last);
}

/**
 * What was forgotten may have set hidden rows free, and is not sealed, which would have noted
 * which.
 */
function unsettleAll({ writer }: Session, draft: ReplicaState): void {
  const tables = Object.entries(draft.hidden).flatMap(([id, rows]) => (rows > 0 ? [Number(id)] : []));
  for (const table of tables)
    writer.statement('INSERT OR IGNORE INTO _antiphon_unsettled VALUES (?)').run(table);
  draft.unsettled = tables.map((table) => ({ table }));
}

/**
 * Times matter where several write; in a synchronous cluster numbers are given only when its
 * committer knows the last one.
 */
function maySealNow(session: Session, draft: ReplicaState): boolean {
  const { policy } = session;
  if (!draft.rowVersions || policy.writes !== 'capture' || policy.certified === true) return false;
  return aheadMs(session) !== undefined && isVerified(session, draft);
}

/** Undefined while no change may be given a time. */
export function aheadMs({ clock }: Pick<Session, 'clock'>): number | undefined {
  try {
    return clock.sourceAheadMs;
  } catch {
    return undefined;
  }
}

/** A table that was rebuilt is for a recapture to compare. */
function isVerified(session: Session, draft: ReplicaState): boolean {
  try {
    session.verifySchema(session.writer, draft);
    return true;
  } catch (thrown) {
    if (thrown instanceof AntiphonError && thrown.code === 'SCHEMA_DRIFT') return false;
    throw thrown;
  }
}
