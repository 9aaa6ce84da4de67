import {
  alarmSection,
  formatPosition,
  type LeftOut,
  newestEpoch,
  type Role,
  type SyncSettings,
  type Topology,
  type UpdateSettings,
  type VectorClock,
} from '@antiphon/core';
import type { Member, Members } from '../cluster/members.js';
import { roleOf } from '../state/authority.js';
import type { PublishingStatus } from '../state/publishing.js';
import type { SubscriptionStatus } from '../state/active-subscriptions.js';
import type { ServingStatus } from '../state/serving.js';
import type { ClockStatus } from '../state/clock-watch.js';
import type { ConflictReport } from '../state/conflicts.js';
import type { Alarm, Holding, StallReason, Waiting } from '../config/standstill.js';
import type { LifecycleState } from '../config/lifecycle.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import type { Sync } from '../sync/sync.js';
import { VERSION } from '../config/version.js';

/** Another member of the cluster, as far as this replica has heard of it. */
export interface MemberStatus {
  readonly id: string;
  readonly engine: string;
  readonly version: string;
  /** Of its last beat; absent when it was never heard. */
  readonly lifecycle?: string;
  readonly seq?: number;
  readonly lagEntries?: number;
  readonly unpublished?: number;
  /** Since its last beat, or since this replica started. */
  readonly silentMs: number;
  /**
   * For how long it has been inside of a write, during which it answers nobody; absent while it is
   * in none that lasts. It is the primary, and another thread of it renews its lease.
   */
  readonly writingMs?: number;
}

/** How synchronous writes stand here. */
export interface SyncStatus extends SyncSettings {
  readonly inSync: readonly string[];
  /** Everyone who ever was in sync, without those that were removed: of these a majority is one. */
  readonly known: readonly string[];
  /** How many must be in sync for writes with the default `acks`. */
  readonly needed: number;
  /** The entry of the log that says so; 0 before there is one. */
  readonly recordSeq: number;
  /** Too few are in sync, and writes complete without the others. */
  readonly degraded: boolean;
  /**
   * Writes that have not begun, whose group is in the log and not committed here, and that wait for
   * acknowledgements.
   */
  readonly waiting: number;
  readonly inFlight: number;
  readonly unacknowledged: number;
  /**
   * The last entry of the log up to which this replica acknowledges: everything of it that is to be
   * applied is on the disk. At most `appliedSeq`.
   */
  readonly durableSeq: number;
  /** Claims in the index of certification; absent where one replica writes. */
  readonly certifiedClaims?: number;
  readonly counts: Readonly<Record<string, number>>;
}

/** Since which entry of the log who is the primary. */
export interface EpochStatus {
  /** 0 before anybody has claimed one: the primary is the one of the topology. */
  readonly number: number;
  readonly primary: string;
  /** The entry of the log that it began with; 0 for the first. */
  readonly seq: number;
  /** When that was, by the clock of who claimed it; absent for the first. */
  readonly sinceMs?: number;
  /** Why: `failover`, `switchover`, `restart`, `forced` or `recovered`. */
  readonly why?: string;
}

/** Everything an operator asks first, as plain JSON. */
export interface ReplicaStatus {
  readonly id: string;
  readonly cluster: string;
  readonly instance: string;
  readonly version: string;
  readonly engine: string;
  readonly topology: Topology;
  /**
   * As far as this replica has read the log: a deposed primary is a `replica` also while it cannot
   * follow.
   */
  readonly role: Role;
  /**
   * Who may write, as far as this replica has read the log; absent where the cluster has no
   * failover.
   */
  readonly epoch?: EpochStatus;
  readonly lifecycle: LifecycleState;
  /** Why replication has stopped; absent while it runs. */
  readonly stalled?: StallReason;
  /**
   * The transaction that this database does not take, which is tried again until it goes in; absent
   * while there is none.
   */
  readonly holding?: Holding;
  readonly connection: string;
  readonly position: { readonly generation: string; readonly seq: number; readonly text: string };
  /**
   * The last entry of the log up to which everything that is to be applied is applied; less than
   * the position while something is missing.
   */
  readonly appliedSeq: number;
  readonly log: { readonly lastSeq: number; readonly seenAtMs: number };
  readonly lag: { readonly entries: number; readonly seconds: number };
  readonly vector: VectorClock;
  readonly lastCounter: number;
  /** `unsealed`: changes of other programs that are captured and have no number and time yet. */
  readonly outbox: {
    readonly messages: number;
    readonly bytes: number;
    readonly unpublished: number;
    readonly unsealed: number;
  };
  readonly clock: ClockStatus;
  readonly update: UpdateSettings;
  /** Of a synchronous cluster. */
  readonly sync?: SyncStatus;
  readonly members: readonly MemberStatus[];
  /** What the position has passed and that is missing here. */
  readonly waitingFor: readonly Waiting[];
  readonly alarms: readonly Alarm[];
  /**
   * Changes of rows that lost against one that did not know them, or won over one; since this
   * database is a replica.
   */
  readonly conflicts: number;
  /** The last of them since this process runs, the newest last. */
  readonly lastConflicts: readonly ConflictReport[];
  readonly quarantined: number;
  /**
   * Transactions of this replica that the log had not got when another one became the primary, and
   * about which nobody has decided yet.
   */
  readonly rescued: number;
  /** The instances of durable subscriptions that run on this replica. */
  readonly subscriptions: readonly SubscriptionStatus[];
  /** Of a replica that has `publish` among its options. */
  readonly publishing?: PublishingStatus;
  /** How clients that spread their reads see it. */
  readonly reads: ServingStatus;
  /** What of this database other replicas do not get, and why. */
  readonly leftOut: readonly LeftOut[];
  readonly counts: Readonly<Record<string, number>>;
  readonly totals: Readonly<Record<string, number>>;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly memoryBytes?: number;
}

export function statusOf(scope: ReplicaScope): ReplicaStatus {
  const { store, document, health, positions, progress, clock, log, memory } = scope;
  const state = store.state();
  const seq = positions.passed;
  const { stalled, holding } = health;
  return {
    id: scope.id,
    cluster: scope.cluster,
    instance: scope.instance,
    version: VERSION,
    engine: store.engine,
    topology: document.topology,
    role: roleOf(scope.authority),
    ...epochStatus(scope),
    lifecycle: lifecycleOf(scope),
    ...(stalled && { stalled }),
    ...(holding && { holding }),
    connection: log.connection,
    position: { ...state.position, seq, text: formatPosition({ ...state.position, seq }) },
    appliedSeq: positions.applied,
    log: { lastSeq: positions.end, seenAtMs: positions.endSeenAtMs },
    lag: { entries: positions.lagEntries, seconds: positions.lagSeconds },
    vector: state.vector,
    lastCounter: state.lastCounter,
    outbox: {
      messages: state.outboxMessages,
      bytes: state.outboxBytes,
      unpublished: progress.unpublished,
      unsealed: store.unsealed(),
    },
    clock: scope.clocks.status(scope.hybrid),
    update: document.update,
    ...(scope.sync && { sync: syncStatus(scope.sync, positions.durable) }),
    members: memberStatus(scope),
    waitingFor: health.waiting,
    alarms: [...health.alarms, ...denialAlarms(scope)],
    conflicts: state.conflicts,
    lastConflicts: scope.conflicts.reports,
    quarantined: state.quarantined,
    rescued: state.rescued,
    subscriptions: scope.subscriptions.all,
    ...publishingStatus(scope),
    reads: scope.serving.status,
    leftOut: scope.leftOut.known,
    counts: scope.counters.counts,
    totals: scope.counters.totals,
    startedAtMs: scope.startedAtMs,
    nowMs: clock.nowMs(),
    ...(memory && { memoryBytes: memory() }),
  };
}

/** After a pause of this thread, the lease is out before the timer that says so has its turn. */
export function lifecycleOf({ health, held }: Pick<ReplicaScope, 'health' | 'held'>): LifecycleState {
  return health.state === 'primary' && !held.isValid ? 'suspended' : health.state;
}

function publishingStatus({ publishing }: ReplicaScope): Pick<ReplicaStatus, 'publishing'> {
  const { status } = publishing;
  return status === undefined ? {} : { publishing: status };
}

export function epochStatus({ authority, store }: ReplicaScope): Pick<ReplicaStatus, 'epoch'> {
  if (!authority.byTerm) return {};
  const { number, primary = '', seq, began } = authority.successor ?? newestEpoch(store.state());
  return { epoch: { number, primary, seq, ...(began && { sinceMs: began.atMs, why: began.why }) } };
}

/** They last as long as NATS says no. */
export function denialAlarms({ denials }: Pick<ReplicaScope, 'denials'>): readonly Alarm[] {
  return (denials?.() ?? []).map(({ operation, subject, message, sinceMs, count }) => {
    const name = `denied ${operation} ${subject}`.trimEnd();
    return { name, message, section: alarmSection(name), sinceMs, count };
  });
}

function syncStatus(sync: Sync, durableSeq: number): SyncStatus {
  const { inSync, settings, needed, degraded, acker, counts, certification } = sync;
  const { waiting, inFlight } = sync.standing();
  return {
    ...settings,
    inSync: inSync.members,
    known: inSync.known,
    needed,
    recordSeq: inSync.seq,
    degraded,
    waiting,
    inFlight,
    unacknowledged: acker.waiting,
    durableSeq,
    ...(certification && { certifiedClaims: certification.size }),
    counts: { ...counts },
  };
}

function memberStatus({ clock, id, members }: ReplicaScope): MemberStatus[] {
  const nowMs = clock.monotonicMs();
  return members.all
    .filter(({ record }) => record.id !== id)
    .map((member) => memberOf(member, nowMs, members));
}

function memberOf({ record, beat, lastSeenMs }: Member, nowMs: number, members: Members): MemberStatus {
  const writingMs = members.writingMs(record.id);
  return {
    id: record.id,
    engine: record.engine,
    version: record.version,
    ...(beat && {
      lifecycle: beat.lifecycle,
      seq: beat.seq,
      lagEntries: beat.lagEntries,
      unpublished: beat.unpublished,
    }),
    silentMs: Math.round(nowMs - lastSeenMs),
    ...(writingMs !== undefined && { writingMs }),
  };
}
