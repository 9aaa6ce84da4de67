import type { ErrorCode, Gap } from '@antiphon/core';

export interface StallReason {
  readonly code: ErrorCode;
  readonly message: string;
  readonly sinceMs: number;
  /** Changes of these tables may have gone uncaptured: recapture them, and the stall is over. */
  readonly tables?: readonly string[];
}

/**
 * An origin whose transactions cannot be applied until a missing one has come. In the database as well: a
 * restart forgets none.
 */
export interface Waiting extends Gap {
  /** What its origin said when it was asked to publish it again, or that it does not answer. Absent until then. */
  readonly answer?: string;
  /** Since this process knows of it; wall time. */
  readonly sinceMs: number;
}

/** A transaction of the log that this database does not take. The position stays before it, and it is tried again. */
export interface Holding {
  readonly code: string;
  /** Whose it is; absent when the database takes nothing at all. */
  readonly origin?: string;
  readonly counter?: number;
  readonly table?: string;
  /** Its entry of the log; absent when the database takes nothing, whoever writes. */
  readonly seq?: number;
  readonly message: string;
  readonly sinceMs: number;
  readonly attempts: number;
  /** When it is tried again, at the latest; wall time. Absent: as soon as the schema is what it was. */
  readonly nextTryAtMs?: number;
}
