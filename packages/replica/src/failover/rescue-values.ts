import type { RescueChange, RescueConflict } from '@antiphon/core';
import type { ShownRow } from '../repair/shown-row.js';

/** One changed row of a rescued transaction, to be shown. */
export interface ShownRescueChange extends Omit<RescueChange, 'key' | 'before' | 'after' | 'here'> {
  readonly key: ShownRow;
  /** The row before this change, and after it; absent when there was none. */
  readonly before?: ShownRow;
  readonly after?: ShownRow;
  /** The row as it is in this database now. */
  readonly here?: ShownRow;
  /** The rows have so many more columns, which did not fit into the answer. */
  readonly moreColumns?: number;
}

/** A row that is now neither what the transaction found nor what it made of it. */
export interface ShownRescueConflict extends Omit<RescueConflict, 'key' | 'before' | 'after' | 'here'> {
  readonly key: ShownRow;
  /** The row before the transaction, and after it; absent when there was none. */
  readonly before?: ShownRow;
  readonly after?: ShownRow;
  /** The row as it is on the primary now. */
  readonly here?: ShownRow;
  /** The rows have so many more columns, which did not fit into the answer. */
  readonly moreColumns?: number;
}
