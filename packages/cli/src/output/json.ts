import { AntiphonError, type Parameter, Real, TaggedValue, type Value } from '@antiphon/core';

/**
 * Like JSON.stringify on one line, but exact for database values: a bigint is written as its digits
 * whatever its size, a float keeps its point (5.0), infinities are 1e999 as in the sqlite3 shell,
 * bytes are {"base64": …}, and tagged values are {"tag": …, "base64": …}. Plain numbers are floats
 * only within `databaseValue`.
 */
export function toJson(value: unknown): string {
  if (value === undefined || value === null) return 'null';
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof DatabaseValue) return valueToJson(value.value);
  if (value instanceof Uint8Array) return bytesToJson(value);
  if (value instanceof TaggedValue) return valueToJson(value);
  if (Array.isArray(value)) return `[${value.map(toJson).join(',')}]`;
  if (typeof value === 'object') {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${toJson(member)}`).join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

/**
 * Marks a value as one of a database, whose integers are bigints, so that its floats are written as
 * floats.
 */
class DatabaseValue {
  constructor(readonly value: Value) {}
}

export function databaseValue(value: Value): unknown {
  return new DatabaseValue(value);
}

/** For people: as `toJson`, but text without quotes. */
export function valueToText(value: Value): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString('hex')}'`;
  if (value instanceof TaggedValue)
    return value.tag === 'raw-text' ? hex(value.bytes) : Buffer.from(value.bytes).toString();
  return valueToJson(value);
}

/**
 * Values that identify a row, in a line of text: text that could be taken for something else is
 * quoted.
 */
export function keyToText(value: Value): string {
  const isPlain =
    typeof value !== 'string' ||
    (value !== 'NULL' && /^[\p{L}\p{N}_.:@+-]+( [\p{L}\p{N}_.:@+-]+)*$/u.test(value));
  return isPlain ? valueToText(value) : JSON.stringify(value).replace(UNSEEN, escaped);
}

/** Control and formatting characters that JSON leaves as they are. */
const UNSEEN = /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function valueToJson(value: Value): string {
  if (value === null) return 'null';
  if (typeof value === 'number') return floatToJson(value);
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return bytesToJson(value);
  if (value instanceof TaggedValue) {
    return `{"tag":${JSON.stringify(value.tag)},"base64":"${Buffer.from(value.bytes).toString('base64')}"}`;
  }
  return JSON.stringify(value);
}

function floatToJson(value: number): string {
  if (Number.isNaN(value)) return 'null';
  if (!Number.isFinite(value)) return value > 0 ? '1e999' : '-1e999';
  if (Object.is(value, -0)) return '-0.0';
  const digits = String(value);
  return /[.e]/.test(digits) ? digits : `${digits}.0`;
}

function bytesToJson(bytes: Uint8Array): string {
  return `{"base64":"${Buffer.from(bytes).toString('base64')}"}`;
}

function hex(bytes: Uint8Array): string {
  return `x'${Buffer.from(bytes).toString('hex')}'`;
}

const INT64_MAX = 2n ** 63n - 1n;
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const INTEGER = /^-?\d+$/;
/** Private-use characters: no JSON text that people type starts a string with one. */
const INTEGER_MARK = '\uE000i';

/**
 * Parameters as JSON, a list or a mapping of names: the inverse of `toJson`. A number without point
 * and exponent is an integer, exact up to 64 bits; any other is a float.
 *
 * @throws AntiphonError BAD_OPTION
 */
export function parseParams(text: string): readonly Parameter[] | Readonly<Record<string, Parameter>> {
  const parsed = parseExact(text);
  if (Array.isArray(parsed)) return parsed.map((item: unknown, index) => toValue(item, `--params[${index}]`));
  if (typeof parsed === 'object' && parsed !== null) {
    return Object.fromEntries(
      Object.entries(parsed).map(([key, item]) => [key, toValue(item, `--params.${key}`)]),
    );
  }
  throw badParams('`--params` must be a JSON list, like [1, "x", null], or an object of names.');
}

function parseExact(text: string): unknown {
  try {
    JSON.parse(text);
    const marked = text.replace(TOKEN, (token) =>
      INTEGER.test(token) ? JSON.stringify(INTEGER_MARK + token) : token,
    );
    return JSON.parse(marked);
  } catch (error) {
    throw badParams(`\`--params\` is not valid JSON (${(error as Error).message}).`);
  }
}

function toValue(item: unknown, place: string): Parameter {
  if (typeof item === 'string' && item.startsWith(INTEGER_MARK))
    return toInteger(item.slice(INTEGER_MARK.length), place);
  if (item === null || typeof item === 'string') return item;
  if (typeof item === 'number') return Number.isInteger(item) ? new Real(item) : item;
  // SQLite has no booleans: true is 1 there, as in its SQL.
  if (typeof item === 'boolean') return item ? 1n : 0n;
  if (typeof item === 'object' && !Array.isArray(item)) {
    const { base64, ...others } = item as Record<string, unknown>;
    if (typeof base64 === 'string' && Object.keys(others).length === 0) return toBytes(base64, place);
  }
  throw badParams(`\`${place}\` must be null, true, false, a number, text or {"base64": "…"}.`);
}

/** Buffer skips what is not base64; bytes that were not meant are worse than an error. */
function toBytes(base64: string, place: string): Uint8Array {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.toString('base64') === base64) return new Uint8Array(bytes);
  throw badParams(
    `\`${place}\` is not base64. Give text of A-Z, a-z, 0-9, + and /, filled up to four characters with =.`,
  );
}

function toInteger(digits: string, place: string): bigint {
  const value = BigInt(digits);
  if (value > INT64_MAX || value < -INT64_MAX - 1n)
    throw badParams(`\`${place}\` does not fit into 64 bits: ${digits}.`);
  return value;
}

function badParams(message: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', message, { context: { option: '--params' } });
}
