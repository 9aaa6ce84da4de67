import type { KeptParts } from '../model/kept-parts.js';
import type { RowChange } from '../model/transaction.js';
import type { Row, Value } from '../model/value.js';

/**
 * Why own transactions left the database. `pending`: they are written again, on top, when this
 * replica is elected. `rescued`: they are kept until an operator decides.
 */
export type RescueReason = 'pending' | 'rescued';

/** A report names so many suspicious rows at most. */
export const MAX_SUSPICIOUS = 16;

export interface RewindOptions {
  readonly reason: RescueReason;
  /**
   * The highest own number anywhere in the log, also of an entry that counts for nobody: it is not
   * given again.
   */
  readonly spent: number;
  /**
   * The beginning of an own transaction that the position has passed. It is undone with the others,
   * and comes back from the log: these parts of it are kept, since only the rest is read again.
   */
  readonly passed?: KeptParts | undefined;
}

export interface RewindReport {
  /** Own transactions that are in the ledger instead of the database now. */
  readonly transactions: number;
  /** Rows that they had changed, and that are as before. */
  readonly rows: number;
  /**
   * Rows that were not what these transactions had made of them: something wrote past the capture.
   * At most MAX_SUSPICIOUS.
   */
  readonly suspicious: readonly { readonly table: string; readonly key: readonly Value[] }[];
}

/**
 * `reapplied`: its changes were written again as another transaction. `dismissed`: nobody needs
 * them.
 */
export type RescueState = 'kept' | 'reapplied' | 'dismissed';

/** An own transaction that was taken out of the database before the log had it. */
export interface Rescue {
  /** Its number in this database; a later one has a higher number. */
  readonly id: number;
  /** That it had, and that no other transaction gets. */
  readonly counter: number;
  /** Its hybrid time, in microseconds. */
  readonly time: number;
  readonly reason: RescueReason;
  readonly state: RescueState;
  readonly sealedEpoch: number;
  readonly changes: number;
  readonly tables: readonly string[];
  readonly notedAtMs: number;
  /** What it was written again as. */
  readonly reappliedAs?: string;
}

export interface RescueChange {
  readonly table: string;
  readonly op: RowChange['op'];
  /** Names of the columns that the rows have, in their order. */
  readonly columns: readonly string[];
  readonly key: readonly Value[];
  /** The row before this change, and after it; absent when there was none. */
  readonly before?: Row;
  readonly after?: Row;
  /** The row as it is in the database now. */
  readonly here?: Row;
}

/** A piece of a message of a rescued transaction. */
export interface RescueData {
  readonly data: Uint8Array;
  /** Of the whole message; 0: there is none with this number. */
  readonly bytes: number;
}

/** A rescued row that is now neither what the transaction found nor what it made of it. */
export type RescueConflict = Omit<RescueChange, 'op'>;

/** An answer names so many of them at most. */
export const MAX_RESCUE_CONFLICTS = 20;

/** What came of writing a rescued transaction again. */
export interface RescueWrite {
  /** Rows that were written; 0 where there are conflicts. */
  readonly written: number;
  /** Rows that are already what the transaction made of them. */
  readonly present: number;
  /** How many rows are neither as before nor as after it; nothing was written then. */
  readonly conflicting: number;
  /** The first of them. */
  readonly conflicts: readonly RescueConflict[];
}

/** What a store does when another replica becomes the primary. */
export interface Rewinding {
  /**
   * Undoes everything own beyond `publishedCounter`, so that the database is what the log says, and
   * keeps it in the ledger. What other programs committed meanwhile is numbered after `spent`, and
   * goes the same way. From this commit on the database takes no writes, until a later epoch makes
   * this replica the primary. Idempotent; cheap when there is nothing to undo. Rows in tables that
   * are not replicated, `sqlite_sequence` and hidden row numbers stay as they are.
   */
  rewind(options: RewindOptions): Promise<RewindReport>;
  /**
   * Numbers what other programs committed, and takes no writes from the same commit on, until a
   * later epoch makes this replica the primary. Undoes nothing.
   */
  handOver(): Promise<void>;
  /**
   * The ledger, by `id` from after `afterId` on; only those of this state, and with this number,
   * where they are given.
   */
  rescues(query: {
    readonly afterId: number;
    readonly limit: number;
    readonly state?: RescueState;
    readonly counter?: number;
  }): Promise<readonly Rescue[]>;
  /**
   * What one of them had changed, in order, after the first `after` changes; empty when it is not
   * there. With `maxBytes` so many that their rows take no more than that, and one at least.
   */
  rescueChanges(
    id: number,
    options: { readonly after: number; readonly limit: number; readonly maxBytes?: number },
  ): Promise<readonly RescueChange[]>;
  /**
   * Its messages as they were to be sent, to be decoded elsewhere: bytes of the one with the number
   * `part`, counted from 0, from `offset` on.
   */
  rescueData(
    id: number,
    piece: { readonly part: number; readonly offset: number; readonly maxBytes: number },
  ): Promise<RescueData>;
  /** False when it is not kept any more. `by`: what it was written again as. */
  resolveRescue(id: number, state: Exclude<RescueState, 'kept'>, by?: string): Promise<boolean>;
  /**
   * Inside the function of a write that does nothing else: all changes of a transaction of another
   * replica's ledger, in their order. Each row that is as it was before the first change of it
   * becomes what the last one made of it; with `force` any row does. One that is that already stays
   * as it is. When a row is something else, nothing is written. The users' triggers and foreign
   * keys do not act, for what they did is among the changes. Throws UNKNOWN_TABLE, CONSTRAINT.
   */
  writeRescued(changes: readonly RescueChange[], options: { readonly force: boolean }): RescueWrite;
}
