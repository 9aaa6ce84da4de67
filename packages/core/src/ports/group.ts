import type { Position } from '../model/position.js';
import type { Claim } from '../model/transaction.js';
import type { TransactionId } from '../model/transaction-id.js';
import type { Value } from '../model/value.js';

/**
 * The group ended before this write: it did not fit into the message, or there was no time left for
 * its function. Nothing of it is in the transaction. For the next group, before all that comes
 * later.
 */
export interface LeftOutWrite {
  readonly type: 'left-out';
  /** What it needs of a message, as far as that is known; an upper bound. */
  readonly bytes?: number;
}

export interface PrepareOptions {
  /** For the message's sync section. */
  readonly token: string;
  readonly reply?: string;
  /** The message is not larger; what does not fit is left out. */
  readonly maxBytes: number;
  /** Work out what each transaction claims; else the lists stay empty. */
  readonly certified: boolean;
}

/** A claim, and what it stands for: for the message of a conflict. */
export interface NamedClaim {
  readonly claim: Claim;
  readonly table: string;
  readonly key: readonly Value[];
}

export type PreparedWrite =
  | {
      readonly type: 'ran';
      /** What `run` returned. */
      readonly value: unknown;
      /** Absent when nothing that is replicated changed. */
      readonly id?: TransactionId;
      /** Of a certified group, in the order of the message. */
      readonly claims: readonly NamedClaim[];
    }
  | { readonly type: 'rejected'; readonly error: unknown }
  | LeftOutWrite
  /**
   * It writes only to tables that are not replicated, and nothing of it is in the transaction: to
   * be prepared by itself.
   */
  | { readonly type: 'alone' };

/**
 * A group that ran and is sealed, in a database transaction that is still open. Exactly one of
 * `commit` and `rollback` must be called, soon: nothing else can be written meanwhile.
 */
export interface PreparedGroup {
  /** In the order of the requests. */
  readonly writes: readonly PreparedWrite[];
  /** One batch with a sync section. Absent when nothing that is replicated changed. */
  readonly message?: {
    readonly firstCounter: number;
    readonly lastCounter: number;
    readonly data: Uint8Array;
  };
  /**
   * With a message: the log holds it as entry `position`, which is the replica's position now; the
   * group counts as published and its outcome is kept. When it throws, nothing of the group is in
   * the database, and the transaction is over. `committed` is called as soon as the group is in the
   * database, before the work that a commit leaves behind; never when it throws.
   */
  commit(position?: Position, committed?: () => void): Promise<void>;
  /** Idempotent, also after a commit. */
  rollback(): Promise<void>;
}

/** What became of one synchronous group. */
export interface GroupOutcome {
  readonly origin: string;
  readonly firstCounter: number;
  readonly lastCounter: number;
  readonly token: string;
  /** Its entry of the log. */
  readonly seq: number;
  /** Counters of the transactions that certification rejected; ascending. */
  readonly rejected: readonly number[];
}

/** Outcomes of so many newest groups are kept at least. */
export const KEPT_OUTCOMES = 100_000;
