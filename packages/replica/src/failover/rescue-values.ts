import type { RescueChange, RescueConflict, Value } from '@antiphon/core';
import { bytesOfRow, cutRow, revivedRow, type ShownRow } from '../repair/shown-row.js';

/** Of the rows of one answer; a mailbox's answer is one message. */
const MAX_SHOWN_BYTES = 256 * 1024;

/** One changed row of a rescued transaction, to be shown. */
export interface ShownRescueChange extends Omit<RescueChange, 'before' | 'after' | 'here'> {
  /** The row before this change, and after it; absent when there was none. */
  readonly before?: ShownRow;
  readonly after?: ShownRow;
  /** The row as it is in this database now. */
  readonly here?: ShownRow;
}

/** A row that is now neither what the transaction found nor what it made of it. */
export interface ShownRescueConflict extends Omit<RescueConflict, 'before' | 'after' | 'here'> {
  /** The row before the transaction, and after it; absent when there was none. */
  readonly before?: ShownRow;
  readonly after?: ShownRow;
  /** The row as it is on the primary now. */
  readonly here?: ShownRow;
}

type Images = Partial<Record<'before' | 'after' | 'here', ShownRow>>;

export function withCutValues<T extends Images>(change: T): T {
  return withRows(change, cutRow);
}

/** As they were before they travelled in a message. */
export function withRevivedValues<T extends Images & { readonly key: readonly Value[] }>(change: T): T {
  return { ...withRows(change, revivedRow), key: revivedRow(change.key) as Value[] };
}

/** The first of them, as many as one answer holds; at least one. */
export function fitting<T extends Images>(changes: readonly T[]): readonly T[] {
  let bytes = 0;
  const end = changes.findIndex((change, index) => {
    bytes += bytesOf(change);
    return index > 0 && bytes > MAX_SHOWN_BYTES;
  });
  return end === -1 ? changes : changes.slice(0, end);
}

export function bytesOf({ before, after, here }: Images): number {
  return bytesOfRow(before) + bytesOfRow(after) + bytesOfRow(here);
}

function withRows<T extends Images>(change: T, map: (row: ShownRow) => ShownRow): T {
  const { before, after, here } = change;
  return {
    ...change,
    ...(before && { before: map(before) }),
    ...(after && { after: map(after) }),
    ...(here && { here: map(here) }),
  };
}
