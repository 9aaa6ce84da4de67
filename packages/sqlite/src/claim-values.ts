import { TaggedValue, type Value } from '@antiphon/core';
import type { Affinity } from './local-table.js';

const INT64_LIMIT = 2 ** 63;
const NUMERIC_TEXT = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;
const INTEGER_TEXT = /^\s*[+-]?\d+\s*$/;
const SPACE = 0x20;

/** How a column compares with others of its index. */
export interface Comparison {
  readonly affinity: Affinity;
  /** BINARY, NOCASE or RTRIM, in capitals. */
  readonly collation: string;
  /**
   * A foreign key's column gives its values to the parent's, whose affinity then decides: text that looks like a number may become
   * one. Here it always does, which can only make two keys equal that are not: a conflict too many, never one too few.
   */
  readonly loose: boolean;
}

/**
 * The one value that stands for all that SQLite takes for equal in such a column: equal results where SQLite compares equal.
 * https://www.sqlite.org/datatype3.html#comparison_expressions
 */
export function comparedValue(value: Value, { affinity, collation, loose }: Comparison): Value {
  if (typeof value === 'string') {
    const number = loose || isNumeric(affinity) ? numberInText(value) : undefined;
    if (number !== undefined) return comparedNumber(number, affinity);
    return collation === 'BINARY' ? value : collatedText(value, collation);
  }
  if (typeof value === 'bigint' || typeof value === 'number') {
    // A number in a column of text is one that the caller of `lock` gave: the column would hold it as text.
    if (affinity === 'text' && !loose) return String(value);
    return comparedNumber(value, affinity);
  }
  if (value instanceof TaggedValue && collation !== 'BINARY')
    return new TaggedValue(value.tag, collatedBytes(value.bytes, collation));
  return value;
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

function collatedText(text: string, collation: string): string {
  if (collation === 'RTRIM') return text.replace(/ +$/, '');
  const lower = text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
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
