import type { ClusterDocument, HybridClock, LeaseStandIn, LogEntry } from '@antiphon/core';
import type { Certification } from './certification.js';
import type { ClockWatch } from './clock-watch.js';
import type { CommitWatch } from './commit-watch.js';
import type { Health } from './health.js';
import type { Counters } from './counters.js';
import type { Conflicts } from './conflicts.js';
import type { LeftOutWatch } from './left-out-watch.js';
import type { Members } from '../cluster/members.js';
import type { Settings } from '../config/options.js';
import type { HeldLease } from './held-lease.js';
import type { OwnLog } from './own-log.js';
import type { OwnReturn } from './own-return.js';
import type { Positions } from './positions.js';
import type { Publishing } from './publishing.js';
import type { Progress } from './progress.js';
import type { Serving } from './serving.js';
import type { WriteTraces } from './write-traces.js';
import type { SentMessages } from './sent-messages.js';
import type { ActiveSubscriptions } from './active-subscriptions.js';
import type { Authority } from './authority.js';

/**
 * A synchronous cluster, as far as delivering and publishing have to do with it; `ReplicaScope` has
 * all of it.
 */
export interface SynchronousCluster {
  /** Absent where one replica writes. */
  readonly certification: Certification | undefined;
  readonly inSync: { readonly known: readonly string[] };
  /** Every entry that was read, in log order, before anything is decided about it. */
  observe(entries: readonly LogEntry[]): void;
  standing(): { readonly waiting: number; readonly inFlight: number; readonly idle: boolean };
}

/** What the actors of one replica share. */
export interface Scope extends Settings {
  readonly authority: Authority;
  readonly document: ClusterDocument;
  readonly hybrid: HybridClock;
  /** Compares clocks with the log's. */
  readonly clocks: ClockWatch;
  readonly commits: CommitWatch;
  readonly health: Health;
  readonly counters: Counters;
  readonly conflicts: Conflicts;
  readonly leftOut: LeftOutWatch;
  readonly positions: Positions;
  readonly progress: Progress;
  readonly members: Members;
  /**
   * Own transactions up to this one are taken from the log; 0 when the database is up to date with
   * its own transactions.
   */
  readonly recoverOwnUpTo: number;
  /** Of this own transaction the log has only the beginning; 0: of none. The next epoch ends it. */
  readonly ownBegun: number;
  readonly ownLog: OwnLog;
  readonly ownReturn: OwnReturn;
  /** Of the primary, in a cluster that elects one by itself. */
  readonly held: HeldLease;
  /** Likewise, where writes may keep this thread. */
  readonly standIn: LeaseStandIn | undefined;
  /** Present in a synchronous cluster. */
  readonly sync: SynchronousCluster | undefined;
  readonly sent: SentMessages;
  readonly subscriptions: ActiveSubscriptions;
  readonly publishing: Publishing;
  readonly serving: Serving;
  readonly traces: WriteTraces;
  /** Aborted, with a CLOSED error, as soon as the replica begins to close. */
  readonly closing: AbortSignal;
}
