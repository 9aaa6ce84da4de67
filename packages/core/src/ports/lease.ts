import type { AntiphonError } from '../errors/antiphon-error.js';
import type { KeeperState } from '../model/keeper-state.js';
import type { LeaseRecord } from '../model/lease-record.js';

/** The newest message of the lease. */
export interface LeaseEntry {
  /**
   * What `take` has to expect; 0: there never was one. A lease whose messages somebody deleted
   * still has its number.
   */
  readonly seq: number;
  /** Undefined when nobody has it: there is no message, or it is no record of a lease. */
  readonly record: LeaseRecord | undefined;
}

/**
 * `taken`: it is the record's holder's now. `lost`: the newest message was another one than
 * expected, and nothing was written. `unknown`: no answer; `read` tells by the record's instance
 * and number whether it was taken. One that is late may still be written, as long as the newest
 * message is the expected one.
 */
export type LeaseTake =
  | { readonly type: 'taken'; readonly seq: number }
  | { readonly type: 'lost' }
  | { readonly type: 'unknown'; readonly error: AntiphonError };

/** How somebody stands in. */
export interface StandInOptions {
  /** Milliseconds that a write may keep this thread; after that it counts as hung. */
  readonly limitMs: number;
  /** The holder's monotonic clock: times in a `KeeperState` are of this one. */
  readonly nowMs: () => number;
  /** What keeps it from standing in; undefined: nothing any more. */
  readonly onProblem: (problem: AntiphonError | undefined) => void;
}

/** What the holder of a lease knows. */
export interface LeaseStanding {
  /** What is renewed; its `n` does not matter. */
  readonly record: LeaseRecord;
  readonly state: KeeperState;
  /** It has sent nothing yet over the connection that it has now. */
  readonly isReconnected?: boolean;
}

/**
 * Keeps the lease of a holder whose thread is kept by a write, and only then: of one that hangs for
 * another reason, or for longer than the limit, the lease runs out.
 */
export interface LeaseStandIn {
  /** As of now; the holder goes on itself. Undefined: it has none, or does not want it renewed. */
  tell(standing: LeaseStanding | undefined): void;
  /** What has become of that since, when somebody stood in; undefined otherwise. Asked at once. */
  newest(): KeeperState | undefined;
  /** From the first moment at which a write may keep this thread, to the last one. */
  busy(isBusy: boolean): void;
  close(): Promise<void>;
}

/**
 * The one lease of a cluster: it tells when its primary has gone, and keeps candidates from taking
 * turns. It decides nothing about which transactions count: the log does (`Epoch`).
 */
export interface Lease {
  /** Makes the lease unless there is one. LOG_UNAVAILABLE, LOG_REFUSED, ACCESS_DENIED, ABORTED. */
  open(signal?: AbortSignal): Promise<void>;
  /**
   * Asked freshly. One that somebody has deleted is made anew, and nobody has it. Throws as `open`
   * does, and CLOSED.
   */
  read(signal?: AbortSignal): Promise<LeaseEntry>;
  /**
   * Takes or renews the lease: of any number who expect the same entry, one gets it. Waits for an
   * answer no longer than a quarter of `leaseMs`: time is left to `read` and to try again. Throws
   * BAD_OPTION only.
   */
  take(record: LeaseRecord, expectedSeq: number): Promise<LeaseTake>;
  /**
   * Hears who takes or renews it, as each is sent: those that are refused as well, and possibly
   * late or twice. So a listener believes only a higher `n` of the same instance; anything else is
   * a reason to `read`. Returns how to stop listening.
   */
  onRenewal(listener: (record: LeaseRecord) => void): () => void;
  /** Somebody who renews it while a write keeps this thread. Absent where nothing keeps it. */
  standIn?(options: StandInOptions): LeaseStandIn;
  /** Nobody hears anything any more. What is under way ends by itself. */
  close(): Promise<void>;
}
