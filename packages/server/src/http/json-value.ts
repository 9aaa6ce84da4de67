import { AntiphonError, isRecord, type Parameter, Real, TaggedValue, type Value } from '@antiphon/core';
import { WholeFloat } from './whole-float.js';

/** A value of a database in JSON, as docs/http.md describes it. */
export type JsonValue =
  | null
  | string
  | number
  | WholeFloat
  | { readonly base64: string; readonly tag?: string }
  | { readonly integer: string }
  | { readonly real: string };

const INT64_MAX = 2n ** 63n - 1n;
const DIGITS = /^-?\d{1,19}$/;
/** Half of a surrogate pair: JSON can say it, and UTF-8 cannot. */
export const HALF_A_PAIR = /\p{Surrogate}/u;
export const NO_UTF8 = 'holds half of a surrogate pair, which UTF-8 cannot carry';

/** What comes out goes in again as it is: docs/decisions/0110-what-comes-out-goes-in.md. */
export function toJsonValue(value: Value): JsonValue {
  if (value === null || typeof value === 'string') return value;
  if (typeof value === 'bigint') return isExact(value) ? Number(value) : { integer: value.toString() };
  if (typeof value === 'number') return floatToJson(value);
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (value instanceof TaggedValue) return { base64: toBase64(value.bytes), tag: value.tag };
  return { base64: toBase64(value) };
}

function floatToJson(value: number): JsonValue {
  // NaN is NULL in SQLite.
  if (Number.isNaN(value)) return null;
  if (!Number.isFinite(value)) return { real: value > 0 ? 'Infinity' : '-Infinity' };
  return Number.isInteger(value) ? new WholeFloat(value) : value;
}

/** Marks what holds values of a database: a number in it is a float, also without a fraction. */
class OfDatabase {
  constructor(readonly item: unknown) {}
}

/** For `toJsonTree`. */
export function ofDatabase(item: unknown): unknown {
  return item === undefined ? undefined : new OfDatabase(item);
}

/**
 * Whatever a library call returned, with the values of a database within it. A number counts
 * something, unless `ofDatabase` says that it is a float.
 */
export function toJsonTree(input: unknown, isOfDatabase = false): unknown {
  if (input instanceof OfDatabase) return toJsonTree(input.item, true);
  if (typeof input === 'number') return isOfDatabase ? floatToJson(input) : countToJson(input);
  if (typeof input === 'bigint') return toJsonValue(input);
  if (input instanceof Uint8Array || input instanceof TaggedValue) return toJsonValue(input);
  if (Array.isArray(input)) return input.map((item) => toJsonTree(item, isOfDatabase));
  if (!isRecord(input)) return input;
  const fields = Object.entries(input).map(([name, item]) => [name, toJsonTree(item, isOfDatabase)] as const);
  return Object.fromEntries(fields);
}

function countToJson(input: number): JsonValue {
  return Number.isFinite(input) ? input : floatToJson(input);
}

/** @throws AntiphonError BAD_OPTION, which names the `place` */
export function fromJsonValue(input: unknown, place: string): Parameter {
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
  if (!Number.isFinite(input))
    throw bad(place, '{"real": "Infinity"} where that is meant, and else a number');
  if (!Number.isInteger(input)) return input;
  if (Number.isSafeInteger(input)) return BigInt(input);
  const message =
    `\`${place}\` is a number that JSON readers round. ` +
    'Give {"integer": "…"} with its digits as text, or {"real": …} if it is a float.';
  throw new AntiphonError('BAD_OPTION', message);
}

function fromTagged(input: Readonly<Record<string, unknown>>, place: string): Parameter {
  const { base64: bytes, tag, integer, real, ...others } = input;
  const given = [bytes, integer, real].filter((one) => one !== undefined).length;
  if (Object.keys(others).length > 0 || given !== 1 || (tag !== undefined && bytes === undefined))
    throw bad(place, '{"base64": "…"}, {"integer": "digits"} or {"real": number}, and nothing beside it');
  if (tag !== undefined) throw tagged(place);
  if (integer !== undefined) return fromInteger(integer, place);
  return bytes === undefined ? fromReal(real, place) : fromBytes(bytes, place);
}

/** Buffer skips what is not base64; bytes that were not meant are worse than an error. */
function fromBytes(text: unknown, place: string): Uint8Array {
  const bytes = typeof text === 'string' ? Buffer.from(text, 'base64') : undefined;
  if (bytes === undefined || toBase64(bytes) !== text)
    throw bad(place, 'base64 with its padding as `base64`');
  return new Uint8Array(bytes);
}

/** SQLite binds no text that is not UTF-8. */
function tagged(place: string): AntiphonError {
  const message =
    `\`${place}\` is text that is not UTF-8, which no parameter can be. ` +
    'Send its bytes without the `tag`, and write CAST(? AS TEXT) in the statement.';
  return new AntiphonError('BAD_OPTION', message);
}

function fromInteger(input: unknown, place: string): bigint {
  const value = typeof input === 'string' && DIGITS.test(input) ? BigInt(input) : undefined;
  if (value === undefined || value > INT64_MAX || value < -INT64_MAX - 1n)
    throw bad(place, 'the digits of a 64-bit integer, as text, as `integer`');
  return value;
}

function fromReal(input: unknown, place: string): Real {
  if (typeof input === 'number' && Number.isFinite(input)) return new Real(input);
  // Its number was written as a float, and says so itself.
  if (isRecord(input) && typeof input['real'] === 'number') return fromReal(input['real'], place);
  if (input === 'Infinity') return new Real(Infinity);
  if (input === '-Infinity') return new Real(-Infinity);
  if (input === 'NaN') throw bad(place, 'null: SQLite has no NaN, and keeps NULL in its place');
  throw bad(place, 'a number, "Infinity" or "-Infinity" as `real`');
}

function isExact(value: bigint): boolean {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER);
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function bad(place: string, wanted: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', `\`${place}\` is not valid. Give ${wanted}.`);
}
