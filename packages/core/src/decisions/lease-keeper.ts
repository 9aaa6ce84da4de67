import type { KeeperSettings, KeeperState } from '../model/keeper-state.js';
import type { LeaseEntry, LeaseTake } from '../ports/lease.js';

export type KeeperEvent =
  /** The attempt with the next number is sent. */
  | { readonly type: 'sent'; readonly atMs: number }
  | { readonly type: 'taken'; readonly n: number; readonly seq: number; readonly atMs: number }
  | { readonly type: 'lost' | 'unknown'; readonly n: number; readonly atMs: number }
  | { readonly type: 'read'; readonly entry: LeaseEntry; readonly atMs: number }
  /** There was no answer. */
  | { readonly type: 'unread'; readonly atMs: number };

export type KeeperTask =
  | { readonly type: 'renew'; readonly n: number; readonly expectedSeq: number }
  | { readonly type: 'read' }
  /** Somebody else has it. */
  | { readonly type: 'lost' }
  /** `untilMs` is Infinity while an answer is awaited. */
  | { readonly type: 'wait'; readonly untilMs: number };

/** Attempts that are older have ended, or their lease has. */
const MAX_OPEN = 16;
/** Of `renewMs`: after a failure, until the next thing is tried. */
const RETRY_SHARE = 1 / 5;

/** Wants the lease, and has read it: nothing is held before the first attempt is answered. */
export function keeperOf(
  instance: string,
  settings: KeeperSettings,
  read: { readonly expectedSeq: number; readonly n?: number },
): KeeperState {
  const { expectedSeq, n = 0 } = read;
  return {
    ...{ instance, settings, n, expectedSeq, validUntilMs: -Infinity, standing: 'held', open: [] },
    ...{ underWay: false, mustRead: false, notBeforeMs: -Infinity },
  };
}

export function isLeaseValid(state: KeeperState, nowMs: number): boolean {
  return state.standing === 'held' && nowMs < state.validUntilMs;
}

/** Of the attempt with that number, answered now. */
export function keeperEventOf(take: LeaseTake, n: number, atMs: number): KeeperEvent {
  return take.type === 'taken' ? { ...take, n, atMs } : { type: take.type, n, atMs };
}

/** What the holder does at this moment. */
export function keeperTask(state: KeeperState, nowMs: number): KeeperTask {
  if (state.standing === 'lost') return { type: 'lost' };
  if (state.underWay) return { type: 'wait', untilMs: Infinity };
  if (nowMs < state.notBeforeMs) return { type: 'wait', untilMs: state.notBeforeMs };
  if (state.mustRead) return { type: 'read' };
  return { type: 'renew', n: state.n + 1, expectedSeq: state.expectedSeq };
}

export function keeperStep(state: KeeperState, event: KeeperEvent): KeeperState {
  // Once somebody else has it, no late answer brings it back.
  if (state.standing === 'lost') return state;
  switch (event.type) {
    case 'sent':
      return sent(state, event.atMs);
    case 'taken':
      return taken(answered(state, event.n), event.n, event.seq);
    case 'lost':
      return refused(answered(state, event.n), event.n);
    case 'unknown':
      return unanswered(answered(state, event.n), event.n);
    case 'unread':
      return { ...state, mustRead: true, notBeforeMs: retryAt(state, event.atMs) };
    case 'read':
      return read(state, event.entry, event.atMs);
  }
}

/**
 * For another thread that goes on with it, and for the one that gets it back. The answer that is
 * awaited goes to the one before: what became of that attempt is read. One number is left out, in
 * case the one before sends once more before it knows.
 */
export function keeperTakenOver(state: KeeperState): KeeperState {
  const next = { ...state, n: state.n + 1 };
  if (!state.underWay) return next;
  return { ...next, underWay: false, mustRead: true, notBeforeMs: -Infinity };
}

function sent(state: KeeperState, atMs: number): KeeperState {
  const n = state.n + 1;
  const open = [...state.open, { n, sentAtMs: atMs }].slice(-MAX_OPEN);
  return { ...state, n, open, underWay: true, notBeforeMs: atMs + state.settings.renewMs };
}

function answered(state: KeeperState, n: number): KeeperState {
  return n === state.n ? { ...state, underWay: false } : state;
}

/** It holds from the moment on at which it was sent: nobody knows when the log took it. */
function taken(state: KeeperState, n: number, seq: number): KeeperState {
  const attempt = state.open.find((one) => one.n === n);
  if (attempt === undefined) return state;
  const { leaseMs, marginMs } = state.settings;
  return {
    ...state,
    expectedSeq: Math.max(seq, state.expectedSeq),
    validUntilMs: Math.max(state.validUntilMs, attempt.sentAtMs + leaseMs - marginMs),
    standing: 'held',
    // Those before it expected what it has replaced: they can't be taken any more.
    open: state.open.filter((one) => one.n > n),
    mustRead: false,
  };
}

/** Another thread may have found out meanwhile what became of it. */
function unanswered(state: KeeperState, n: number): KeeperState {
  if (state.open.every((one) => one.n !== n)) return state;
  return { ...state, mustRead: true, notBeforeMs: -Infinity };
}

/**
 * The newest message is another one. It may be one of our own that had no answer; until that is
 * known, nothing is held.
 */
function refused(state: KeeperState, n: number): KeeperState {
  // A later one of ours was taken: that is the newest message.
  if (state.open.every((one) => one.n !== n)) return state;
  const open = state.open.filter((one) => one.n !== n);
  return { ...state, open, standing: 'doubtful', mustRead: true, notBeforeMs: -Infinity };
}

function read(state: KeeperState, { seq, record }: LeaseEntry, atMs: number): KeeperState {
  if (record !== undefined && record.instance !== state.instance)
    return { ...state, standing: 'lost', open: [], mustRead: false };
  const known = { ...state, mustRead: false, expectedSeq: seq, standing: 'held' as const };
  const found = record && state.open.find((one) => one.n === record.n);
  if (found) {
    const notBeforeMs = found.sentAtMs + state.settings.renewMs;
    return taken({ ...known, notBeforeMs }, found.n, seq);
  }
  // It was not taken (yet), or somebody has deleted it, or another thread of ours has sent it:
  // nobody else has it. Again, after a pause.
  return { ...known, n: Math.max(state.n, record?.n ?? 0), notBeforeMs: retryAt(state, atMs) };
}

function retryAt({ settings }: KeeperState, atMs: number): number {
  return atMs + settings.renewMs * RETRY_SHARE;
}
