import type { AckLevel, TransactionId } from '@antiphon/core';
import type { SessionPosition } from './session.js';

/** Which databases have committed a synchronous write durably. */
export interface Acknowledgements {
  /** The level that was waited for. */
  readonly level: AckLevel;
  /** Ids of the replicas that have it on their disks, the writer's own included. */
  readonly by: readonly string[];
  /** Ids of those that were waited for and had not answered. */
  readonly missing: readonly string[];
  /**
   * False when the time was up before the level was reached: the write is committed all the same,
   * and the others get it from the log.
   */
  readonly reached: boolean;
}

/**
 * A write that is committed. Asynchronous: in this replica's database, and on its way to the
 * others. Synchronous: `acks` says where.
 */
export interface WriteResult<T> {
  readonly outcome: 'committed';
  /**
   * The transaction's id, for example `{ origin: 'eu-1', counter: 7 }`. Absent when nothing
   * replicated changed, and where the request had been written before (`repeated`).
   */
  readonly id?: TransactionId;
  /**
   * A session token: a `query` with `consistency: 'session'` after it shows this write, on any
   * replica.
   */
  readonly position: SessionPosition;
  /** What the function returned; of `execute`, the number of rows that each statement changed. */
  readonly value: T;
  /** Present for a synchronous write that changed something replicated. */
  readonly acks?: Acknowledgements;
  /**
   * Present when too few members were in sync, and the write did not wait for them (`onShortfall:
   * 'degrade'`).
   */
  readonly degraded?: true;
  /**
   * The request had been written already, under its `requestId`: `value` is what came of it then,
   * and nothing was written again. `outcome(requestId)` says what has become of it. `position` is
   * right before a later transaction, which notes that it was asked for again.
   */
  readonly repeated?: true;
}
