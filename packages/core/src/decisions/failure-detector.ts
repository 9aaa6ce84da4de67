import type { LeaseRecord } from '../model/lease-record.js';
import type { LeaseEntry } from '../ports/lease.js';

export interface DetectorSettings {
  readonly leaseMs: number;
  readonly marginMs: number;
  readonly probeMs: number;
  readonly goneMs: number;
}

/**
 * `gone`: nobody has listened for the primary for a while: its process has ended. `silent`: its
 * lease has run out, and was not renewed by anybody. `void`: the lease is one of an epoch that is
 * over, and the primary of the new one has not taken it.
 */
export type LossReason = 'gone' | 'silent' | 'void';

/** A lease that was read. */
interface Seen {
  readonly seq: number;
  readonly record: LeaseRecord | undefined;
}

/** What a follower knows of its primary. All times are of the monotonic clock. */
export interface DetectorState {
  readonly settings: DetectorSettings;
  /** The newest one of the log. */
  readonly epoch: number;
  readonly connected: boolean;
  /** The lease as it was read last; undefined before. */
  readonly seen: Seen | undefined;
  /** The highest number of its holder that was heard or read. */
  readonly n: number;
  /** The lease was renewed at this moment at the earliest that can be told; or the clocks began. */
  readonly aliveAtMs: number;
  /** The epoch began, or the clocks did. */
  readonly epochAtMs: number;
  /** Nobody has listened since a probe that was sent then. */
  readonly goneSinceMs: number | undefined;
  /** Somebody listened when a probe was sent then; earlier ones say nothing any more. */
  readonly listenedAtMs: number;
  /** Somebody else than the holder has tried to take the lease. */
  readonly mustRead: boolean;
  readonly lost: LossReason | undefined;
}

export type DetectorEvent =
  /** Heard on the lease's subject: possibly refused, late, or a second time. */
  | { readonly type: 'renewal'; readonly record: LeaseRecord; readonly atMs: number }
  /** What became of a probe, by when it was sent. */
  | { readonly type: 'answered' | 'no-responders' | 'timeout'; readonly sentAtMs: number }
  /** The newest entry, asked for at a moment. */
  | { readonly type: 'read'; readonly entry: LeaseEntry; readonly askedAtMs: number; readonly atMs: number }
  /** Of this process's own connection. */
  | { readonly type: 'disconnected' | 'connected'; readonly atMs: number }
  /** A turn of this process that was due at a moment. */
  | { readonly type: 'turn'; readonly dueAtMs: number; readonly atMs: number }
  /** The log has a new epoch. */
  | { readonly type: 'epoch'; readonly epoch: number; readonly atMs: number };

export type DetectorVerdict =
  | { readonly type: 'lost'; readonly why: LossReason }
  /** Only a fresh look at the lease tells. */
  | { readonly type: 'read' }
  /** Nothing is known to be wrong; look again then, or after the next event. */
  | { readonly type: 'present'; readonly lookAtMs: number };

/** From now on: whoever is the primary is there until the clocks have run out. */
export function detectorOf(settings: DetectorSettings, epoch: number, atMs: number): DetectorState {
  return {
    ...{ settings, epoch, connected: true, seen: undefined, n: 0, aliveAtMs: atMs, epochAtMs: atMs },
    ...{ goneSinceMs: undefined, listenedAtMs: -Infinity, mustRead: true, lost: undefined },
  };
}

/** Is the primary lost, and if not: what to do, or when to look again. */
export function detectorVerdict(state: DetectorState, nowMs: number): DetectorVerdict {
  if (!state.connected) return { type: 'present', lookAtMs: Infinity };
  if (state.mustRead) return { type: 'read' };
  if (state.lost !== undefined) return { type: 'lost', why: state.lost };
  const silentAtMs = silentAt(state);
  const lookAtMs = isVoid(state) ? Math.min(silentAtMs, voidAt(state)) : silentAtMs;
  return nowMs >= lookAtMs ? { type: 'read' } : { type: 'present', lookAtMs };
}

export function detectorStep(state: DetectorState, event: DetectorEvent): DetectorState {
  switch (event.type) {
    case 'renewal':
      return heard(state, event.record, event.atMs);
    case 'answered':
    case 'timeout':
      return listened(state, event.sentAtMs);
    case 'no-responders':
      return unheard(state, event.sentAtMs);
    case 'read':
      return read(state, event);
    case 'disconnected':
      return { ...begunAnew(state, event.atMs), connected: false };
    case 'connected':
      return { ...begunAnew(state, event.atMs), connected: true };
    case 'turn':
      // This process stood still: what it has not heard meanwhile says nothing of others.
      return event.atMs - event.dueAtMs > state.settings.probeMs ? begunAnew(state, event.atMs) : state;
    case 'epoch':
      return event.epoch > state.epoch ? { ...begunAnew(state, event.atMs), epoch: event.epoch } : state;
  }
}

function begunAnew(state: DetectorState, atMs: number): DetectorState {
  return {
    ...state,
    ...{ aliveAtMs: atMs, epochAtMs: atMs, goneSinceMs: undefined, listenedAtMs: atMs, lost: undefined },
    mustRead: true,
  };
}

function heard(state: DetectorState, record: LeaseRecord, atMs: number): DetectorState {
  if (record.epoch < state.epoch) return state;
  // It may have been refused, so whether it holds the lease now is to be read.
  if (record.instance !== state.seen?.record?.instance) return { ...state, mustRead: true };
  if (record.n <= state.n) return state;
  // Its process lives, whether anybody listens for it or not.
  return { ...state, n: record.n, aliveAtMs: atMs, goneSinceMs: undefined, lost: undefined };
}

/**
 * A process that does not answer is there. What was sent before one that nobody listened for says
 * nothing: it may have reached the process that ended.
 */
function listened(state: DetectorState, sentAtMs: number): DetectorState {
  if (sentAtMs < state.listenedAtMs) return state;
  const known = { ...state, listenedAtMs: sentAtMs };
  if (state.goneSinceMs === undefined || sentAtMs <= state.goneSinceMs) return known;
  return { ...known, goneSinceMs: undefined, lost: state.lost === 'gone' ? undefined : state.lost };
}

function unheard(state: DetectorState, sentAtMs: number): DetectorState {
  if (!state.connected || sentAtMs <= state.listenedAtMs) return state;
  const goneSinceMs = Math.min(state.goneSinceMs ?? sentAtMs, sentAtMs);
  const isGone = sentAtMs - goneSinceMs >= state.settings.goneMs;
  return { ...state, goneSinceMs, lost: isGone ? (state.lost ?? 'gone') : state.lost };
}

function read(
  state: DetectorState,
  { entry, askedAtMs, atMs }: Extract<DetectorEvent, { type: 'read' }>,
): DetectorState {
  if (!state.connected) return state;
  const { seen } = state;
  const holds = entry.record?.instance;
  const isSame =
    seen !== undefined &&
    holds === seen.record?.instance &&
    (entry.record === undefined ? entry.seq <= seen.seq : entry.record.n <= state.n);
  const known = { ...state, seen: entry, mustRead: false };
  if (!isSame) {
    // Renewed some time before, by a process that may have ended since.
    const lost = state.lost === 'gone' ? state.lost : undefined;
    return withVoid({ ...known, n: entry.record?.n ?? 0, aliveAtMs: atMs, lost }, askedAtMs);
  }
  const isSilent = askedAtMs >= silentAt(state);
  return withVoid(isSilent ? { ...known, lost: state.lost ?? 'silent' } : known, askedAtMs);
}

/**
 * The primary of a new epoch takes the lease at once, which lasts as long as a message. For as long
 * as a process that has ended is waited for, nobody else does.
 */
function withVoid(state: DetectorState, askedAtMs: number): DetectorState {
  if (!isVoid(state) || askedAtMs < voidAt(state)) return state;
  return { ...state, lost: state.lost ?? 'void' };
}

function isVoid({ seen, epoch }: DetectorState): boolean {
  return seen?.record !== undefined && seen.record.epoch < epoch;
}

function silentAt({ aliveAtMs, settings }: DetectorState): number {
  return aliveAtMs + settings.leaseMs + settings.marginMs;
}

function voidAt({ epochAtMs, settings }: DetectorState): number {
  return epochAtMs + settings.goneMs;
}
