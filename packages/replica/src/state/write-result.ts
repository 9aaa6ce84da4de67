import type { AckLevel, TransactionId } from '@antiphon/core';
import type { SessionPosition } from './session.js';

/** Who has committed a synchronous write durably. */
export interface Acknowledged {
  readonly level: AckLevel;
  /** Ids, the writer's own included. */
  readonly by: readonly string[];
  /** Who was waited for and had not answered. */
  readonly missing: readonly string[];
  /**
   * False when the time was up before the level was reached: committed all the same, and the others get it
   * from the log.
   */
  readonly reached: boolean;
}

/**
 * Asynchronous: committed in this replica's database, and on its way to the others. Synchronous: `acks` says
 * where.
 */
export interface Committed<T> {
  readonly outcome: 'committed';
  /** Absent when nothing that is replicated changed. */
  readonly id?: TransactionId;
  /** A session token, for `query`: a read after it shows this write. */
  readonly position: SessionPosition;
  /** What the function returned; of `execute`, the number of rows that each statement changed. */
  readonly value: T;
  /** Of a synchronous write that changed something. */
  readonly acks?: Acknowledged;
  /** Too few members were in sync, and it did not wait for them (`onShortfall: 'degrade'`). */
  readonly degraded?: true;
}
