import { type RescueChange, type RescueConflict, TaggedValue, type Value, isRecord } from '@antiphon/core';
import type { CutValue } from '../repair/quarantined-content.js';

/** A longer text or BLOB is cut where rows are only shown. */
const MAX_VALUE_LENGTH = 200;
/** Of the rows of one answer; a mailbox's answer is one message. */
const MAX_SHOWN_BYTES = 256 * 1024;
/** About what a value takes beside its bytes. */
const VALUE_BYTES = 10;

/** A row to be shown: long values are cut. */
export type ShownRow = readonly (Value | CutValue)[];

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

export function cutRow(row: ShownRow): ShownRow {
  return row.map(cut);
}

/** As it was before it travelled in a message. */
export function revivedRow(row: ShownRow): ShownRow {
  return row.map(revived);
}

export function withCutValues<T extends Images>(change: T): T {
  return withRows(change, cutRow);
}

/** As they were before they travelled in a message. */
export function withRevivedValues<T extends Images & { readonly key: readonly Value[] }>(change: T): T {
  return { ...withRows(change, revivedRow), key: change.key.map(revived) as Value[] };
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
  return [before, after, here]
    .flatMap((row) => row ?? [])
    .reduce<number>((sum, value) => {
      if (typeof value === 'string') return sum + VALUE_BYTES + Buffer.byteLength(value, 'utf8');
      if (value instanceof Uint8Array) return sum + VALUE_BYTES + value.length;
      return sum + VALUE_BYTES + (value instanceof TaggedValue ? value.bytes.length : 0);
    }, 0);
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

function cut(value: Value | CutValue): Value | CutValue {
  const long = typeof value === 'string' || value instanceof Uint8Array ? value : undefined;
  if (long === undefined || long.length <= MAX_VALUE_LENGTH) return value;
  return { start: long.slice(0, MAX_VALUE_LENGTH), length: long.length };
}

/** A message has no classes. */
function revived(value: Value | CutValue): Value | CutValue {
  if (!isRecord(value) || value instanceof TaggedValue || value instanceof Uint8Array) return value;
  const { tag, bytes } = value as Partial<TaggedValue>;
  return tag !== undefined && bytes instanceof Uint8Array ? new TaggedValue(tag, bytes) : value;
}
