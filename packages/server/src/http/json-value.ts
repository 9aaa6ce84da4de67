import { AntiphonError, isRecord, TaggedValue, type Value, type ValueTag } from '@antiphon/core';

/** A value of a database in JSON, as docs/http.md describes it. */
export type JsonValue =
  null | string | number | { readonly base64: string; readonly tag?: string } | { readonly real: string };

const INT64_MAX = 2n ** 63n - 1n;
const DIGITS = /^-?\d{1,19}$/;
/** Half of a surrogate pair: JSON can say it, and UTF-8 cannot. */
export const HALF_A_PAIR = /\p{Surrogate}/u;
export const NO_UTF8 = 'holds half of a surrogate pair, which UTF-8 cannot carry';
const TAGS: readonly string[] = ['raw-text', 'decimal', 'datetime', 'json', 'uuid'] satisfies ValueTag[];

/** Integers that a number does not hold exactly are text. */
export function toJsonValue(value: Value): JsonValue {
  if (value === null || typeof value === 'string') return value;
  if (typeof value === 'bigint') return isExact(value) ? Number(value) : value.toString();
  // NaN is NULL in SQLite, and in JSON.
  if (typeof value === 'number')
    return Number.isFinite(value) || Number.isNaN(value) ? value : infinite(value);
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (value instanceof TaggedValue) return { base64: toBase64(value.bytes), tag: value.tag };
  return { base64: toBase64(value) };
}

/** Whatever a library call returned, with the values of a database within it. */
export function toJsonTree(input: unknown): unknown {
  if (typeof input === 'bigint' || typeof input === 'number') return toJsonValue(input);
  if (input instanceof Uint8Array || input instanceof TaggedValue) return toJsonValue(input);
  if (Array.isArray(input)) return input.map(toJsonTree);
  if (!isRecord(input)) return input;
  return Object.fromEntries(Object.entries(input).map(([name, value]) => [name, toJsonTree(value)]));
}

/** @throws AntiphonError BAD_OPTION, which names the `place` */
export function fromJsonValue(input: unknown, place: string): Value {
  if (typeof input === 'string') return wellFormed(input, place);
  if (input === null) return input;
  // SQLite has no booleans: true is 1 there, as in its SQL.
  if (typeof input === 'boolean') return input ? 1n : 0n;
  if (typeof input === 'number') return fromNumber(input, place);
  if (isRecord(input)) return fromTagged(input, place);
  throw bad(place, 'null, true, false, a number, text, {"base64": …}, {"integer": …} or {"real": …}');
}

/** The driver would put U+FFFD in its place, without a word. */
function wellFormed(text: string, place: string): string {
  if (!HALF_A_PAIR.test(text)) return text;
  throw new AntiphonError('BAD_OPTION', `\`${place}\` ${NO_UTF8}. Send whole characters.`);
}

/** A number without a fraction is an integer, as in the SQL of most databases. */
function fromNumber(input: number, place: string): Value {
  if (!Number.isInteger(input)) return input;
  if (Number.isSafeInteger(input)) return BigInt(input);
  const message =
    `\`${place}\` is a number that JSON readers round. ` +
    'Give {"integer": "…"} with its digits as text, or {"real": …} if it is a float.';
  throw new AntiphonError('BAD_OPTION', message);
}

function fromTagged(input: Readonly<Record<string, unknown>>, place: string): Value {
  const { base64: bytes, tag, integer, real, ...others } = input;
  const isAlone = Object.keys(others).length === 0;
  if (isAlone && typeof bytes === 'string' && integer === undefined && real === undefined)
    return fromBytes(bytes, tag, place);
  if (isAlone && tag === undefined && bytes === undefined) {
    if (integer !== undefined && real === undefined) return fromInteger(integer, place);
    if (real !== undefined && integer === undefined) return fromReal(real, place);
  }
  throw bad(place, '{"base64": "…"}, {"integer": "digits"} or {"real": number}, and nothing beside it');
}

/** Buffer skips what is not base64; bytes that were not meant are worse than an error. */
function fromBytes(text: string, tag: unknown, place: string): Value {
  const bytes = Buffer.from(text, 'base64');
  if (toBase64(bytes) !== text) throw bad(place, 'base64 with its padding as `base64`');
  if (tag === undefined) return new Uint8Array(bytes);
  if (typeof tag === 'string' && TAGS.includes(tag))
    return new TaggedValue(tag as ValueTag, new Uint8Array(bytes));
  throw bad(place, `one of ${TAGS.join(', ')} as \`tag\``);
}

function fromInteger(input: unknown, place: string): bigint {
  const value = typeof input === 'string' && DIGITS.test(input) ? BigInt(input) : undefined;
  if (value === undefined || value > INT64_MAX || value < -INT64_MAX - 1n)
    throw bad(place, 'the digits of a 64-bit integer, as text, as `integer`');
  return value;
}

function fromReal(input: unknown, place: string): number {
  if (typeof input === 'number') return input;
  if (input === 'Infinity') return Infinity;
  if (input === '-Infinity') return -Infinity;
  throw bad(place, 'a number, "Infinity" or "-Infinity" as `real`');
}

function isExact(value: bigint): boolean {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER);
}

function infinite(value: number): JsonValue {
  return { real: value > 0 ? 'Infinity' : '-Infinity' };
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function bad(place: string, wanted: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', `\`${place}\` is not valid. Give ${wanted}.`);
}
