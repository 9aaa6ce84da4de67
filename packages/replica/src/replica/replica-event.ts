import type { LogConnection } from '@antiphon/core';
import type { LifecycleState } from '../config/lifecycle.js';
import type { Alarm, Holding, StallReason, Waiting } from '../config/standstill.js';
import type { ConflictReport } from '../state/conflicts.js';
import type { EpochStatus } from './status.js';

/** `begin`: it is so now. `end`: it is over. */
export type EventPhase = 'begin' | 'end';

/** What `type` says has happened on this replica. Plain JSON. */
export type ReplicaEvent = {
  /** When it was noticed here; wall time, milliseconds since 1970. */
  readonly atMs: number;
} & (
  | {
      readonly type: 'state';
      readonly state: LifecycleState;
      /** Absent in the first event of a stream, which says how it is now. */
      readonly before?: LifecycleState;
    }
  /** Replication has stopped until somebody acts. */
  | { readonly type: 'stall'; readonly phase: EventPhase; readonly stall: StallReason }
  /** This database does not take a transaction, which is tried again. */
  | { readonly type: 'hold'; readonly phase: EventPhase; readonly holding: Holding }
  /** A transaction is missing, and what comes after it waits. */
  | { readonly type: 'waiting'; readonly phase: EventPhase; readonly waiting: Waiting }
  | { readonly type: 'alarm'; readonly phase: EventPhase; readonly alarm: Alarm }
  | { readonly type: 'connection'; readonly connection: LogConnection }
  /** Rows that two replicas changed at once. `reports` may have fewer than `count`. */
  | { readonly type: 'conflict'; readonly count: number; readonly reports: readonly ConflictReport[] }
  /** Messages in quarantine, now and before. */
  | { readonly type: 'quarantine'; readonly messages: number; readonly before: number }
  /** In a cluster with `failover`: this replica has read that another epoch has begun. */
  | { readonly type: 'epoch'; readonly epoch: EpochStatus }
  /** Transactions in the rescue ledger that wait for a decision, now and before. */
  | { readonly type: 'rescue'; readonly transactions: number; readonly before: number }
  /**
   * So many events were lost because they were not read in time; `status()` has what is true now.
   */
  | { readonly type: 'dropped'; readonly events: number }
);

/** Of a type that is a union, without its time. */
export type WithoutTime<E> = E extends ReplicaEvent ? Omit<E, 'atMs'> : never;

/** What `status` shows of the health of a replica, at one moment. */
export interface HealthPicture {
  readonly state: LifecycleState;
  readonly stalled: StallReason | undefined;
  readonly holding: Holding | undefined;
  readonly waiting: readonly Waiting[];
  readonly alarms: readonly Alarm[];
  readonly connection: LogConnection;
  readonly quarantined: number;
  readonly rescued: number;
  readonly epoch: EpochStatus | undefined;
}

/**
 * What has happened between two pictures: whatever `status` shows of health has an event when it
 * begins and when it ends. `before` undefined: everything that is so now begins.
 */
export function eventsBetween(
  before: HealthPicture | undefined,
  now: HealthPicture,
): readonly WithoutTime<ReplicaEvent>[] {
  const events: WithoutTime<ReplicaEvent>[] = [];
  if (before?.state !== now.state)
    events.push({ type: 'state', state: now.state, ...(before && { before: before.state }) });
  for (const [phase, stall] of phases(asList(before?.stalled), asList(now.stalled), stallKey))
    events.push({ type: 'stall', phase, stall });
  for (const [phase, holding] of phases(asList(before?.holding), asList(now.holding), holdingKey))
    events.push({ type: 'hold', phase, holding });
  for (const [phase, waiting] of phases(before?.waiting ?? [], now.waiting, waitingKey))
    events.push({ type: 'waiting', phase, waiting });
  for (const [phase, alarm] of phases(before?.alarms ?? [], now.alarms, alarmKey))
    events.push({ type: 'alarm', phase, alarm });
  if (before?.connection !== now.connection) events.push({ type: 'connection', connection: now.connection });
  const quarantined = before?.quarantined ?? 0;
  if (quarantined !== now.quarantined)
    events.push({ type: 'quarantine', messages: now.quarantined, before: quarantined });
  if (now.epoch !== undefined && before?.epoch?.number !== now.epoch.number)
    events.push({ type: 'epoch', epoch: now.epoch });
  const rescued = before?.rescued ?? 0;
  if (rescued !== now.rescued) events.push({ type: 'rescue', transactions: now.rescued, before: rescued });
  return events;
}

/** Ends first: of one that gave way to another, the end comes before the other's beginning. */
function phases<T>(
  before: readonly T[],
  now: readonly T[],
  keyOf: (one: T) => string,
): readonly (readonly [EventPhase, T])[] {
  if (before.length + now.length === 0) return [];
  const [known, present] = [new Set(before.map(keyOf)), new Set(now.map(keyOf))];
  return [
    ...before.filter((one) => !present.has(keyOf(one))).map((one) => ['end', one] as const),
    ...now.filter((one) => !known.has(keyOf(one))).map((one) => ['begin', one] as const),
  ];
}

function asList<T>(one: T | undefined): readonly T[] {
  return one === undefined ? [] : [one];
}

const stallKey = ({ code, sinceMs }: StallReason): string => `${code} ${sinceMs}`;
/** It is the same hold until replication goes on, whatever the next try meets. */
const holdingKey = ({ sinceMs }: Holding): string => String(sinceMs);
const waitingKey = ({ origin, expected }: Waiting): string => `${origin} ${expected}`;
/** One that was over for a moment has another beginning. */
const alarmKey = ({ name, sinceMs }: Alarm): string => `${sinceMs} ${name}`;
