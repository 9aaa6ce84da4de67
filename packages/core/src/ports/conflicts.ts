import type { Version } from '../decisions/version.js';
import type { CutShort } from '../model/cut-short.js';
import type { Value } from '../model/value.js';

/**
 * Two transactions changed one row, and the origin of the winner did not know the loser's change.
 */
export interface RowConflict {
  readonly table: string;
  readonly key: readonly Value[];
  readonly winner: Version;
  readonly loser: Version;
  /** The names of the columns of both rows. */
  readonly columns: readonly string[];
  /** What the winner made of the row; absent where it deleted it. Long values are cut. */
  readonly kept?: readonly (Value | CutShort)[];
  /**
   * What the loser had made of it; absent where it had deleted it, or its row was hidden by a
   * unique-key conflict.
   */
  readonly lost?: readonly (Value | CutShort)[];
}

/** As a database keeps it. */
export interface KeptConflict extends RowConflict {
  readonly id: number;
  /** When it was decided here, in milliseconds since 1970. */
  readonly atMs: number;
  /** The row as it is now; absent where there is none. Long values are cut. */
  readonly here?: readonly (Value | CutShort)[];
}

/** A store keeps so many; older ones are forgotten. */
export const MAX_KEPT_CONFLICTS = 200;

/** The conflicts that a store has decided last. */
export interface ConflictPort {
  /** The newest first; only those before the one with the number `beforeId`, if it is given. */
  conflicts(query: { readonly beforeId?: number; readonly limit: number }): Promise<readonly KeptConflict[]>;
}
