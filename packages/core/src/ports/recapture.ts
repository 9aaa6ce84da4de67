import type { VectorClock } from '../clocks/vector-clock.js';
import type { Value } from '../model/value.js';

/** A table whose changes may have gone uncaptured, and why. */
export interface UncapturedTable {
  readonly table: string;
  readonly reason: string;
}

/** Keys that a report names of each kind of difference, at most. */
export const MAX_NAMED_DIFFERENCES = 10;

export interface RowDifferences {
  readonly count: number;
  /** Of the first of them, in key order. */
  readonly keys: readonly (readonly Value[])[];
}

/**
 * A table that replication knows to have more rows than this is not to lose most of them without a
 * confirmation.
 */
const FEW_ROWS = 10;

/**
 * Whether making it good deletes all rows that replication knows of the table, or more than half of
 * more than ten: a table that was dropped and created again looks as if somebody had deleted its
 * rows.
 */
export function deletesMost({ way, missingHere, knownRows }: RecaptureReport): boolean {
  if (way === 'set-back' || missingHere.count === 0) return false;
  return missingHere.count >= knownRows || (knownRows > FEW_ROWS && missingHere.count > knownRows / 2);
}

/** How a table differs from what replication knows of it, and what was done about that. */
export interface RecaptureReport {
  readonly table: string;
  /** Why changes may have gone uncaptured; absent when nothing shows that they did. */
  readonly reason?: string;
  /**
   * `capture`: others get the differences, as changes of this replica. `set-back`: where nobody may
   * write, the table gets the content that replication knows, and the rows that go are kept.
   * `write-again`: likewise where only the library may write, and what is kept is to be written
   * again (`writeKept`).
   */
  readonly way: 'capture' | 'set-back' | 'write-again';
  readonly changed: RowDifferences;
  readonly onlyHere: RowDifferences;
  /**
   * Rows that replication knows, and that are gone here: deleted, or lost by whoever rebuilt the
   * table.
   */
  readonly missingHere: RowDifferences;
  /** So many rows has the table, as replication knows it. */
  readonly knownRows: number;
  /**
   * The table of this database that keeps the rows that were set back; absent when there are none.
   */
  readonly keptIn?: string;
  /** Other tables whose changes may have gone uncaptured. */
  readonly remaining: readonly string[];
}

export interface CompareOptions {
  /** Changes nothing. */
  readonly dryRun: boolean;
  /** Also when that deletes most rows of the table everywhere (`deletesMost`). */
  readonly deleteRows?: boolean;
  /** The state of this database that the reference was made for. */
  readonly vector: VectorClock;
  readonly lastCounter: number;
}

/** Rows of a table that were set back and are to be written again. */
export interface KeptTable {
  readonly table: string;
  /** The table of this database that keeps them. */
  readonly keptIn: string;
  readonly rows: number;
  /**
   * So many of them may have been written already, and nobody can tell: the database was restored
   * from a copy. They are not written again before `_antiphon_doubt` is NULL.
   */
  readonly inDoubt: number;
}
