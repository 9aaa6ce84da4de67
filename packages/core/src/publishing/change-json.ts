import type { LoggedChange, RowObject } from '../changes/committed-change.js';
import { formatTransactionId } from '../model/transaction-id.js';
import { TaggedValue, type Value } from '../model/value.js';

/**
 * A change as other programs get it (docs/publishing.md). `index`: its number in its transaction,
 * from 0.
 */
export function changeToJson(change: LoggedChange, index: number): Uint8Array {
  const { before, after } = change;
  const images = `${field('key', change.key)}${field('before', before)}${field('after', after)}`;
  return Buffer.from(`${headOf(change, index)}${images}}`);
}

/**
 * In place of a change that is larger than a message may be: what is too large is left out, and
 * `tooLarge` says how many bytes it has. Readers get the row from a replica. `withKey`: unless the
 * key alone is too large.
 */
export function markerToJson(
  change: LoggedChange,
  index: number,
  { bytes, withKey }: { readonly bytes: number; readonly withKey: boolean },
): Uint8Array {
  const key = withKey ? field('key', change.key) : '';
  return Buffer.from(`${headOf(change, index)}${key},"tooLarge":${bytes}}`);
}

function headOf({ id, table, op, last, time, seq }: LoggedChange, index: number): string {
  const head = { id: formatTransactionId(id), index, last, origin: id.origin, counter: id.counter };
  return JSON.stringify({ ...head, table, op, time, seq }).slice(0, -1);
}

function field(name: string, row: RowObject | undefined): string {
  if (row === undefined) return '';
  const columns: string[] = [];
  for (const column in row) columns.push(`${JSON.stringify(column)}:${valueToJson(row[column] ?? null)}`);
  return `,"${name}":{${columns.join(',')}}`;
}

/**
 * As over HTTP (docs/http.md): integers that a double holds exactly as numbers, others as
 * `{"integer":"…"}`; a float with its point, also 5.0; bytes as `{"base64":"…"}`, with a `tag`
 * where they are text that is not valid UTF-8; the infinities of SQLite as `{"real":"Infinity"}`,
 * since JSON has none.
 */
export function valueToJson(value: Value): string {
  switch (typeof value) {
    case 'bigint': {
      const isExact = value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER;
      return isExact ? String(value) : `{"integer":"${value}"}`;
    }
    case 'number':
      return Number.isFinite(value) ? floatToJson(value) : `{"real":"${value}"}`;
    case 'string':
      return JSON.stringify(value);
    case 'boolean':
      return String(value);
    default:
      if (value === null) return 'null';
      if (value instanceof TaggedValue) return `{"base64":"${base64(value.bytes)}","tag":"${value.tag}"}`;
      return `{"base64":"${base64(value)}"}`;
  }
}

/** With its point, so that it does not look like an integer. `value`: finite. */
export function floatToJson(value: number): string {
  if (Object.is(value, -0)) return '-0.0';
  const digits = String(value);
  return /[.e]/.test(digits) ? digits : `${digits}.0`;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
