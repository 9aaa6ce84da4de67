import { isRecord, startOfText, TaggedValue, type Value } from '@antiphon/core';
import type { CutValue } from './quarantined-content.js';

/** A longer text or BLOB is cut where rows are only shown. */
const MAX_VALUE_LENGTH = 200;
/** About what a value takes beside its bytes. */
const VALUE_BYTES = 10;

/** A row to be shown: long values are cut. */
export type ShownRow = readonly (Value | CutValue)[];

export function cutRow(row: ShownRow): ShownRow {
  return row.map(cut);
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

function cut(value: Value | CutValue): Value | CutValue {
  const long = typeof value === 'string' || value instanceof Uint8Array ? value : undefined;
  if (long === undefined || long.length <= MAX_VALUE_LENGTH) return value;
  const start =
    typeof long === 'string' ? startOfText(long, MAX_VALUE_LENGTH) : long.slice(0, MAX_VALUE_LENGTH);
  return { start, length: long.length };
}

/** A message has no classes. */
function revived(value: Value | CutValue): Value | CutValue {
  if (!isRecord(value) || value instanceof TaggedValue || value instanceof Uint8Array) return value;
  const { tag, bytes } = value as Partial<TaggedValue>;
  return tag !== undefined && bytes instanceof Uint8Array ? new TaggedValue(tag, bytes) : value;
}
