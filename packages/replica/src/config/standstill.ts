import type { ErrorCode, Gap } from '@antiphon/core';

/** Why replication has stopped until somebody acts. */
export interface StallReason {
  readonly code: ErrorCode;
  /** What happened, and what to do. */
  readonly message: string;
  /** Since when, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** Changes of these tables may have gone uncaptured: recapture them, and the stall is over. */
  readonly tables?: readonly string[];
}

/**
 * An origin whose transactions cannot be applied until a missing one has come. In the database as
 * well: a restart forgets none.
 */
export interface Waiting extends Gap {
  /**
   * What its origin said when it was asked to publish it again, or that it does not answer. Absent
   * until then.
   */
  readonly answer?: string;
  /** True when the log was read again, and holds nothing of it that could be applied. */
  readonly absent?: boolean;
  /** Since when this process knows of it, in milliseconds since 1970. */
  readonly sinceMs: number;
}

/**
 * A transaction of the log that this database does not take. The position stays before it, and it
 * is tried again.
 */
export interface Holding {
  /** The code of what the database said. */
  readonly code: string;
  /** The replica that wrote it; absent when the database takes nothing at all. */
  readonly origin?: string;
  /** Its number among that replica's transactions. */
  readonly counter?: number;
  /** The table that is concerned, when only one is. */
  readonly table?: string;
  /** Its entry of the log; absent when the database takes nothing, whoever writes. */
  readonly seq?: number;
  /** What the database said, and what to do. */
  readonly message: string;
  /** Since when, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** How often it was tried. */
  readonly attempts: number;
  /**
   * When it is tried again at the latest, in milliseconds since 1970. Absent: when the schema is
   * what it was.
   */
  readonly nextTryAtMs?: number;
}

/** What is wrong, and lasts; it ends by itself when its cause is gone. */
export interface Alarm {
  /** What it is about, always the same; `clock ID` and `denied OPERATION SUBJECT` name that too. */
  readonly name: string;
  /** What has happened, and what to do. */
  readonly message: string;
  /** The anchor of the section of docs/operations.md that says more: `alarm-publish`. */
  readonly section: string;
  /** Since when, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** How often it was found since then. */
  readonly count: number;
}
