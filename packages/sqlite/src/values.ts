import { AntiphonError, Real, TaggedValue, type Value } from '@antiphon/core';

import type { SqliteValue } from './driver/driver.js';

export type { SqliteValue } from './driver/driver.js';

/** Equal type and equal bytes. */
export function sameValue(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  if (a instanceof TaggedValue)
    return b instanceof TaggedValue && a.tag === b.tag && Buffer.compare(a.bytes, b.bytes) === 0;
  return false;
}

/** How a replicated value is given to SQLite: what binds as it is, or text by its bytes. */
export type Binding = { readonly expression: '?' | 'CAST(? AS TEXT)'; readonly value: SqliteValue };

/** For values that do not bind as they are; the fast path never comes here. */
export function bindingOf(value: Value): Binding {
  if (typeof value === 'boolean') return { expression: '?', value: value ? 1n : 0n };
  // Not every driver binds text beyond a NUL.
  if (typeof value === 'string' && value.includes('\0'))
    return { expression: 'CAST(? AS TEXT)', value: Buffer.from(value, 'utf8') };
  if (!(value instanceof TaggedValue)) return { expression: '?', value };
  if (value.tag === 'raw-text') return { expression: 'CAST(? AS TEXT)', value: value.bytes };
  throw new AntiphonError(
    'APPLY_REFUSED',
    `SQLite has no type for a ${value.tag} value. Leave the column out, or store it as text at its origin.`,
  );
}

/**
 * A value that a user's program gives. Numbers without a fraction are integers, as SQL writes them;
 * a `Real` is a float all the same: the driver binds numbers as REAL and bigints as INTEGER.
 */
export function bindParameter(value: unknown): SqliteValue {
  if (typeof value === 'string' || typeof value === 'bigint' || value === null) return value;
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? BigInt(value) : value;
  if (typeof value === 'boolean') return value ? 1n : 0n;
  if (value instanceof Uint8Array) return value;
  if (value instanceof Real) return value.real;
  if (value instanceof Date)
    throw new AntiphonError(
      'BAD_SQL',
      'A parameter cannot be a Date. Give its `toISOString()` or `getTime()`.',
    );
  const shown = value === undefined ? 'undefined (use null)' : typeof value;
  throw new AntiphonError(
    'BAD_SQL',
    `A parameter cannot be ${shown}. Give null, a string, number, bigint, boolean, Uint8Array or Real.`,
  );
}

/**
 * What placeholders stand for: a list for `?` and `?1`, an object for `:name`, `@name` and `$name`.
 * A number without a fraction is bound as an INTEGER.
 */
export type Parameters = readonly unknown[] | Readonly<Record<string, unknown>>;

export function bindParameters(parameters: Parameters): SqliteValue[] | Record<string, SqliteValue> {
  if (Array.isArray(parameters)) {
    const bound = new Array<SqliteValue>(parameters.length);
    for (let index = 0; index < parameters.length; index++) bound[index] = bindParameter(parameters[index]);
    return bound;
  }
  return Object.fromEntries(
    Object.entries(parameters as Record<string, unknown>).map(([name, value]) => [
      name,
      bindParameter(value),
    ]),
  );
}

/** Integers that a number holds exactly become numbers: what programs expect to read. */
export function readable(value: unknown): unknown {
  if (typeof value !== 'bigint') return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
