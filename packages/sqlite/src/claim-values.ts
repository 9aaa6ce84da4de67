import { TaggedValue, type Value } from '@antiphon/core';
import type { Affinity } from './local-table.js';

const INT64_LIMIT = 2 ** 63;
/** Whole numbers below are shown with all their digits. */
const EXACT_LIMIT = 1e15;
const NUMERIC_TEXT = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;
const INTEGER_TEXT = /^\s*[+-]?\d+\s*$/;
const SPACE = 0x20;

/** How a column compares with others of its index. */
export interface Comparison {
  readonly affinity: Affinity;
  /** BINARY, NOCASE or RTRIM, in capitals. */
  readonly collation: string;
  /**
   * A foreign key's column gives its values to the parent's, whose affinity and collation then
   * decide, and which of several indexes it meets is not told. So text that looks like a number
   * becomes one, and case and blanks at the end do not count: that can only make two keys equal
   * that are not, a conflict too many, never one too few.
   */
  readonly loose: boolean;
}

/**
 * The one value that stands for all that SQLite takes for equal in such a column, of those that it
 * can hold: equal results where SQLite compares equal. https://www.sqlite.org/datatype3.html#comparison_expressions
 */
export function comparedValue(value: Value, comparison: Comparison): Value {
  if (comparison.loose) return looseValue(value);
  const { affinity, collation } = comparison;
  if (typeof value === 'string') {
    const number = isNumeric(affinity) ? numberInText(value) : undefined;
    if (number !== undefined) return comparedNumber(number, affinity);
    return collation === 'BINARY' ? value : collatedText(value, collation);
  }
  if (typeof value === 'bigint' || typeof value === 'number') return comparedNumber(value, affinity);
  if (value instanceof TaggedValue && collation !== 'BINARY')
    return new TaggedValue(value.tag, collatedBytes(value.bytes, collation));
  return value;
}

function looseValue(value: Value): Value {
  if (typeof value === 'string') {
    const text = upToNul(value);
    const number = numberInText(text);
    return number === undefined ? looseText(text) : looseNumber(number);
  }
  if (typeof value === 'bigint' || typeof value === 'number') return looseNumber(value);
  if (!(value instanceof TaggedValue)) return value;
  // Text that is not UTF-8: its bytes, each as a letter.
  return new TaggedValue(
    value.tag,
    Buffer.from(looseText(Buffer.from(value.bytes).toString('latin1')), 'latin1'),
  );
}

/** NOCASE stops at a NUL, and so does SQLite when it reads a number. */
function upToNul(text: string): string {
  const end = text.indexOf('\0');
  return end < 0 ? text : text.slice(0, end);
}

function looseText(text: string): string {
  return lowered(upToNul(text)).replace(/ +$/, '');
}

/**
 * A float becomes text in a column of text, with 15 digits in many versions of SQLite, so more of
 * them must not tell numbers apart. An infinite one becomes `Inf`, which no column reads as a
 * number.
 */
function looseNumber(number: bigint | number): Value {
  const float = Number(number);
  if (!Number.isFinite(float)) return float < 0 ? '-inf' : 'inf';
  const isShort = Number.isInteger(float) && Math.abs(float) < EXACT_LIMIT;
  return comparedNumber(isShort ? float : Number(float.toPrecision(15)), 'none');
}

function isNumeric(affinity: Affinity): boolean {
  return affinity === 'integer' || affinity === 'real' || affinity === 'numeric';
}

/** 5 and 5.0 are equal, whatever the column makes of them. */
function comparedNumber(value: bigint | number, affinity: Affinity): Value {
  const number = affinity === 'real' ? Number(value) : value;
  if (typeof number === 'bigint') return number;
  return Number.isInteger(number) && number >= -INT64_LIMIT && number < INT64_LIMIT ? BigInt(number) : number;
}

function numberInText(text: string): bigint | number | undefined {
  if (!NUMERIC_TEXT.test(text)) return undefined;
  if (!INTEGER_TEXT.test(text)) return Number(text);
  const integer = BigInt(text);
  return BigInt.asIntN(64, integer) === integer ? integer : Number(text);
}

function lowered(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

function collatedText(text: string, collation: string): string {
  if (collation === 'RTRIM') return text.replace(/ +$/, '');
  const lower = lowered(text);
  const end = lower.indexOf('\0');
  // NOCASE stops at a NUL: what follows counts by its length alone.
  return end < 0 ? lower : `${lower.slice(0, end)}\0${Buffer.byteLength(text)}`;
}

/** The same for text that is not UTF-8. */
function collatedBytes(bytes: Uint8Array, collation: string): Uint8Array {
  if (collation === 'RTRIM') {
    let end = bytes.length;
    while (end > 0 && bytes[end - 1] === SPACE) end--;
    return bytes.subarray(0, end);
  }
  const end = bytes.indexOf(0);
  const lower = bytes
    .subarray(0, end < 0 ? bytes.length : end)
    .map((byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte));
  return end < 0 ? lower : Buffer.concat([lower, Buffer.from(`\0${bytes.length}`)]);
}
