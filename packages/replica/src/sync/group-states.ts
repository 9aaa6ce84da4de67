import type { AntiphonError, Verdict } from '@antiphon/core';
import type { SyncWrite } from '../state/sync-write.js';
import type { Flight, Flying } from './flight.js';
import type { LogTrouble, Moment } from './log-trouble.js';
import type { OwnTail } from './own-subject.js';

/** What every state carries. */
export interface Memory {
  /** Other programs write too, and number their transactions beside ours. */
  readonly foreign: boolean;
  /** Counters up to this one are to be used up, by a no-op group if need be; 0: none. */
  readonly noOpUpTo: number;
  /**
   * Own entries that no replica accepts, by their place: a lost attempt may turn out to be one of
   * them.
   */
  readonly refusedOwn: ReadonlyMap<number, AntiphonError>;
  readonly trouble: LogTrouble;
}

/** An attempt without an answer: the log may have it, now or later. */
export interface Lost {
  readonly flight: Flight;
  /** The newest entry of our own subject that is known. */
  readonly ownSeq: number;
}

/** A group that the log has at `seq`. */
export interface Logged extends Lost {
  readonly seq: number;
  /** Why it is not in this database yet, when that was tried. */
  readonly failure?: AntiphonError;
}

interface Ready {
  readonly ownSeq: number;
}

/**
 * Finds out what the log has of us: for the sake of a lost attempt, or, without one, of those
 * before it.
 */
interface Resolving {
  readonly lost?: Lost;
}

/**
 * What each state knows beside `Memory`. The first five last from turn to turn; the others end with
 * theirs.
 */
interface StateData {
  /** Nothing is under way, and where our own subject ends is not known. */
  unsure: unknown;
  /** Nothing is under way. */
  ready: Ready;
  /** A group was sent and not answered. */
  lost: Lost;
  /** The log has a group, this database has not, and its numbers may be given away. */
  stored: Logged;
  /** The log has a group, and it comes back from there. */
  awaited: Logged;

  /** Writes are chosen. */
  choosing: Ready & { readonly facts: Facts };
  /** The writes run, in a database transaction that stays open until the log has answered. */
  preparing: Ready & { readonly writes: readonly SyncWrite[] };
  /** What other programs wrote goes first. */
  sealing: Ready;
  /** What concerns this database only is committed. */
  local: Ready & { readonly flying: readonly Flying[] };
  /** The group is sent; `readSeq`: what had been read of the log. */
  publishing: Lost & { readonly readSeq: number };
  /** The log has the group right after what had been read, and it is committed in place. */
  committing: Logged;
  /**
   * Nothing else of ours can take the numbers of a group that the log has, once they are reserved.
   */
  reserving: Logged;

  /** Where our own subject ends is asked. */
  asking: Resolving;
  /** What the log has of us up to `endSeq` is read. */
  searching: { readonly lost: Lost; readonly endSeq: number };
  /** A no-op group is made, to take the numbers of what was lost. */
  'no-op-preparing': Resolving & { readonly after: number };
  /** The no-op group is sent. */
  'no-op-publishing': Resolving & { readonly noOp: Flight; readonly readSeq: number };
  /** The no-op group is committed in place. */
  'no-op-committing': Resolving & { readonly noOp: Flight; readonly seq: number };
  /** What the log has of us up to the no-op group is read. */
  checking: Resolving & { readonly noOp: Flight; readonly endSeq: number };
  /** What other programs write is numbered after what the log has of us. */
  numbering: Resolving & { readonly endSeq: number; readonly tail: OwnTail };
}

export type StateName = keyof StateData;
export type StateOf<N extends StateName> = {
  [K in N]: { readonly name: K; readonly memory: Memory } & StateData[K];
}[N];
export type GroupState = StateOf<StateName>;

/** What the committer sees around it when a turn begins. */
export interface Facts {
  readonly nowMs: number;
  /** Writes in the queue. */
  readonly waiting: number;
  /** Own transactions in the database that count as not published. */
  readonly unpublished: number;
  /**
   * Alarm: the log takes nothing of this replica, which may write. Only trying tells whether it
   * does again.
   */
  readonly probes: boolean;
  /** Why replication has stopped. */
  readonly stopped: AntiphonError | undefined;
  readonly connected: boolean;
  /** Library writes are held back. */
  readonly held: boolean;
  /** Own transactions of an earlier life are still taken from the log. */
  readonly recovering: boolean;
  /** As many writes wait for acknowledgements as may. */
  readonly saturated: boolean;
  /** So far behind the log's end that a certified write would only be rejected. */
  readonly farBehind: boolean;
  readonly positionSeq: number;
  readonly ownCounter: number;
  /** The rows that the cluster was created with are not here yet. */
  readonly uncreated: AntiphonError | undefined;
  /** Something that the position has passed is missing here. */
  readonly outOfSync: AntiphonError | undefined;
}

/** What became of the writes that were to run as a group. */
export interface Prepared {
  readonly origin: string;
  readonly token: string;
  /** Absent when nothing that is replicated changed. */
  readonly message?: { readonly firstCounter: number; readonly lastCounter: number };
  readonly flying: readonly Flying[];
  readonly failed: readonly { readonly write: SyncWrite; readonly error: unknown }[];
  /** For a later group. */
  readonly leftOut: readonly SyncWrite[];
  /** After one of them had run, its time was up, or its replica was closed. */
  readonly expired: boolean;
  /** The position that the transaction read at. */
  readonly readSeq: number;
}

interface EventData {
  // From outside, between turns; `saw-own`, `close` and `deposed` at any time.
  turn: { readonly facts: Facts };
  /**
   * Own counters up to this one are to be used up, so that no earlier attempt can take them any
   * more.
   */
  'use-up': { readonly counter: number };
  /** An entry of our own subject was read. */
  'saw-own': { readonly seq: number };
  /** An own group came out of the log and is committed here. */
  applied: { readonly token: string; readonly seq: number; readonly verdict: Verdict | undefined };
  /** An own entry that no replica accepts, this one included. */
  'refused-own': { readonly seq: number; readonly error: AntiphonError };
  /** The position has come to `seq`. */
  passed: { readonly seq: number };
  close: { readonly error: AntiphonError };
  /** Another epoch has begun, and the position is behind its beginning. */
  deposed: { readonly error: AntiphonError };

  // Answers: each to one request.
  chosen: { readonly writes: readonly SyncWrite[] };
  'own-end': { readonly seq: number };
  tail: { readonly tail: OwnTail; readonly at: Moment };
  prepared: { readonly prepared: Prepared };
  /** Other programs have written meanwhile; nothing was prepared. */
  captured: unknown;
  sealed: unknown;
  /** `accepted`: certainly, every replica accepts its time. */
  stored: { readonly seq: number; readonly accepted: boolean };
  /** Certainly not in the log. */
  refused: {
    readonly error: AntiphonError;
    readonly lastSeqOfOrigin: number | undefined;
    readonly at: Moment;
  };
  unanswered: { readonly error: AntiphonError; readonly at: Moment };
  committed: unknown;
  'commit-failed': { readonly error: AntiphonError; readonly at: Moment };
  reserved: unknown;
  /** Whose group the database knows under the counter; undefined: none. */
  outcome: { readonly token: string | undefined };
  /** A request was not answered, or an effect did not succeed. */
  failed: { readonly error: AntiphonError; readonly at: Moment };
}

export type EventType = keyof EventData;
export type EventOf<T extends EventType> = { [K in T]: { readonly type: K } & EventData[K] }[T];
export type GroupEvent = EventOf<EventType>;

/** Asks for exactly one event. */
export type Request =
  | { readonly type: 'look' }
  | { readonly type: 'choose' }
  | { readonly type: 'find-own-end' }
  | { readonly type: 'read-tail'; readonly upToSeq: number }
  | { readonly type: 'prepare'; readonly writes: readonly SyncWrite[] }
  | { readonly type: 'seal' }
  | { readonly type: 'publish'; readonly flight: Flight }
  /** In place, as the entry `seq` of the log. */
  | { readonly type: 'commit'; readonly flight: Flight; readonly seq: number }
  /** Their callers are told the truth from the commit on, whatever it leaves behind to be done. */
  | { readonly type: 'commit-local'; readonly flying: readonly Flying[] }
  /** Own numbers go on after `counter`; without a time: after all that was sealed here. */
  | { readonly type: 'reserve'; readonly counter: number; readonly time?: number }
  | { readonly type: 'find-outcome'; readonly flight: Flight };

/** Done at once, in order, before the request. */
export type Effect =
  /** Nothing of them has left this process: they come first in the next group. */
  | { readonly type: 'put-back'; readonly writes: readonly SyncWrite[] }
  /** They are not in doubt; `why`: what they wait for. */
  | { readonly type: 'wait'; readonly writes: readonly SyncWrite[]; readonly why?: AntiphonError }
  | { readonly type: 'all-wait'; readonly why: AntiphonError | undefined }
  | { readonly type: 'give-up'; readonly writes: readonly SyncWrite[]; readonly error: AntiphonError }
  | { readonly type: 'all-give-up'; readonly error: AntiphonError }
  | { readonly type: 'reject'; readonly write: SyncWrite; readonly error: unknown }
  /** The log may hold them from here on. */
  | { readonly type: 'published'; readonly flight: Flight }
  | { readonly type: 'held'; readonly flight: Flight; readonly why: AntiphonError }
  | { readonly type: 'acknowledge'; readonly flying: readonly Flying[]; readonly seq: number }
  /** Certification rejected it, or one before it in its group. */
  | {
      readonly type: 'run-again';
      readonly flying: Flying;
      readonly rejection: Verdict['rejected'][number] | undefined;
    }
  | { readonly type: 'not-applied'; readonly flight: Flight; readonly seq: number }
  | { readonly type: 'local-done'; readonly flying: readonly Flying[] }
  | { readonly type: 'count'; readonly what: 'unknown' | 'certificationRejected'; readonly by: number }
  | { readonly type: 'log-refuses'; readonly failures: number; readonly error: AntiphonError }
  | { readonly type: 'log-takes' }
  | { readonly type: 'commit-alarm'; readonly message: string }
  | { readonly type: 'commit-alarm-ends' }
  | { readonly type: 'stall'; readonly error: AntiphonError }
  /**
   * I14: a place that the log had already given away. What is in it now is not this cluster's log.
   */
  | { readonly type: 'place-given-twice'; readonly seq: number }
  | { readonly type: 'rollback' }
  /** There may be more to do at once. */
  | { readonly type: 'more' };

/** What comes of an event. Without a request, the turn is over. */
export interface Step<N extends StateName = StateName> {
  readonly state: StateOf<N>;
  readonly effects: readonly Effect[];
  readonly ask?: Request;
}
