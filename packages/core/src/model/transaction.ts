import type { Row, Value } from './value.js';
import type { VectorClock } from '../clocks/vector-clock.js';

/**
 * When a change was made, where that was well before its transaction's time; changes made while no
 * replica ran are captured so.
 */
export interface ChangeTime {
  /**
   * So many microseconds before the transaction's time. Absent: at that time. Of two changes of one
   * row, the later has no more.
   */
  readonly earlierUs?: number;
}

/**
 * One row changed. `table` indexes the dictionary of the batch.
 * A change of the primary key travels as a delete and an insert of the same transaction.
 */
export type Change = ChangeTime & RowChange;

export type RowChange =
  | { readonly op: 'insert'; readonly table: number; readonly row: Row }
  | {
      readonly op: 'update';
      readonly table: number;
      /** The whole new row. */
      readonly row: Row;
      /** Indexes of the columns that changed, ascending. */
      readonly changed: readonly number[];
      /** What those columns held before, in the order of `changed`. */
      readonly before: readonly Value[];
    }
  | { readonly op: 'delete'; readonly table: number; /** The whole row as it was. */ readonly row: Row };

/** A table as one batch names it: enough to read the batch without any other knowledge. */
export interface DictionaryTable {
  readonly name: string;
  readonly columns: readonly string[];
  readonly key: readonly number[];
}

/** Common to every message of the log. */
export interface BatchHeader {
  readonly origin: string;
  /** Counter of the first (or only) transaction in the batch. */
  readonly firstCounter: number;
  readonly epoch: number;
  /** Hybrid time of the first transaction, in microseconds. */
  readonly time: number;
  /**
   * What the origin had applied, itself included, before the first transaction; empty when nobody
   * needs it.
   */
  readonly context: VectorClock;
  readonly schemaVersion: number;
  readonly tables: readonly DictionaryTable[];
}

/**
 * What a transaction of a certified group wrote or locked: a fingerprint (52 bits) times two, plus
 * one when the claim is shared. `claimOf` makes them. Two claims on the same thing conflict unless
 * both are shared.
 */
export type Claim = number;

/** What a synchronous group carries besides its transactions. */
export interface SyncSection {
  /** Names this attempt at publishing the group, for ever: `[A-Za-z0-9]{1,40}`. */
  readonly token: string;
  /** The entry of the log that the group's transactions had seen everything up to. */
  readonly readSeq: number;
  /**
   * Where a replica says that it has committed the group durably; absent when nobody waits for
   * that.
   */
  readonly reply?: string;
  /** One list per transaction of the batch; all of them empty where nothing is certified. */
  readonly claims: readonly (readonly Claim[])[];
}

export interface SealedTransaction {
  readonly counter: number;
  /** That of its last change. */
  readonly time: number;
  readonly changes: readonly Change[];
}

/** Whole transactions of one origin, counters consecutive from `firstCounter`. */
export interface TransactionBatch extends BatchHeader {
  readonly kind: 'transactions';
  /** Present when the batch is a synchronous group. */
  readonly sync?: SyncSection;
  readonly transactions: readonly SealedTransaction[];
}

/**
 * A piece of one big transaction (`firstCounter`): bytes of its changes, encoded back to back. All
 * of them together are applied at once, when the one with `last` has come. A transaction that is
 * sent again may be cut elsewhere: only its bytes count.
 */
export interface PartBatch extends BatchHeader {
  readonly kind: 'part';
  /** Where its bytes begin among those of the transaction. */
  readonly offset: number;
  readonly last: boolean;
  readonly body: Uint8Array;
}

export type Batch = TransactionBatch | PartBatch;
