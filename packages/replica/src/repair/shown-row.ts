import { cutShort, isRecord, TaggedValue, type Value } from '@antiphon/core';
import type { CutValue } from './quarantined-content.js';

/** A longer text or BLOB is cut where rows are only shown. */
const MAX_VALUE_LENGTH = 200;
/** About what a value takes beside its bytes. */
const VALUE_BYTES = 10;

/** A row to be shown: long values are cut. */
export type ShownRow = readonly (Value | CutValue)[];

export function cutRow(row: ShownRow): ShownRow {
  return row.map((value) => cutShort(value, MAX_VALUE_LENGTH));
}

/** As it was before it travelled in a message. */
export function revivedRow(row: ShownRow): ShownRow {
  return row.map(revived);
}

/** About what it takes in a message. */
export function bytesOfRow(row: ShownRow = []): number {
  return row.reduce<number>((sum, value) => {
    if (typeof value === 'string') return sum + VALUE_BYTES + Buffer.byteLength(value, 'utf8');
    if (value instanceof Uint8Array) return sum + VALUE_BYTES + value.length;
    return sum + VALUE_BYTES + (value instanceof TaggedValue ? value.bytes.length : 0);
  }, 0);
}

/** A message has no classes. */
function revived(value: Value | CutValue): Value | CutValue {
  if (!isRecord(value) || value instanceof TaggedValue || value instanceof Uint8Array) return value;
  const { tag, bytes } = value as Partial<TaggedValue>;
  return tag !== undefined && bytes instanceof Uint8Array ? new TaggedValue(tag, bytes) : value;
}
