import { ValueWriter } from '../codec/value-writer.js';
import type { Claim } from '../model/transaction.js';
import type { Value } from '../model/value.js';

/** What a claim is on: a row, a value of a unique index, or a row that others refer to. */
export type ClaimSpace = 'row' | 'unique' | 'reference';

export type ClaimMode = 'exclusive' | 'shared';

/** The encoding that is hashed; one buffer for all. */
const writer = new ValueWriter();

/**
 * The claim on what `values` name in a table: a primary key, or the values of an index (whose
 * columns are then part of `table`, as in `orders(email)`). Values that the database takes for
 * equal must be made the same before: integer 5 and float 5.0 are not.
 *
 * Different things may share a fingerprint, once in 2^52 pairs: that costs a needless conflict,
 * never a missed one. Throws MALFORMED_MESSAGE and MESSAGE_TOO_LARGE for values that could not be
 * written to the log either.
 */
export function claimOf(space: ClaimSpace, table: string, values: readonly Value[], mode: ClaimMode): Claim {
  writer.truncate(0);
  writer.writeArrayHeader(values.length + 2);
  writer.writeText(space);
  writer.writeText(table);
  for (let i = 0; i < values.length; i++) writer.writeValue(values[i] as Value);
  return fingerprint(writer.bytes, writer.length) * 2 + (mode === 'shared' ? 1 : 0);
}

/** 52 bits; equal for the exclusive and the shared claim on one thing. */
export function fingerprintOf(claim: Claim): number {
  return Math.floor(claim / 2);
}

export function isShared(claim: Claim): boolean {
  return claim !== fingerprintOf(claim) * 2;
}

/**
 * Two 32-bit lanes over little-endian words, each with constants of its own and stirred into the
 * other one, in the manner of MurmurHash3 x86 128 (Austin Appleby, public domain); docs/wire.md,
 * section 5, has it step by step. Not for secrets: whoever may write to the log can make
 * collisions, and thereby conflicts.
 */
function fingerprint(bytes: Uint8Array, length: number): number {
  let a = 0x9e3779b9 | 0;
  let b = 0x243f6a88 | 0;
  for (let at = 0; at < length; at += 4) {
    const word = wordAt(bytes, at, length);
    a ^= Math.imul(rotate(Math.imul(word, 0xcc9e2d51), 15), 0x1b873593);
    a = (Math.imul(rotate(a, 13) + b, 5) + 0xe6546b64) | 0;
    b ^= Math.imul(rotate(Math.imul(word, 0x239b961b), 17), 0xab0e9789);
    b = (Math.imul(rotate(b, 17) + a, 5) + 0x561ccd1b) | 0;
  }
  a ^= length;
  b ^= length;
  a = (a + b) | 0;
  b = (b + a) | 0;
  a = avalanche(a);
  b = avalanche(b);
  a = (a + b) | 0;
  b = (b + a) | 0;
  return (b & 0xf_ffff) * 0x1_0000_0000 + (a >>> 0);
}

/** Four bytes, the first one lowest; zeros behind the end. */
function wordAt(bytes: Uint8Array, at: number, length: number): number {
  const left = length - at;
  let word = bytes[at] as number;
  if (left > 1) word |= (bytes[at + 1] as number) << 8;
  if (left > 2) word |= (bytes[at + 2] as number) << 16;
  if (left > 3) word |= (bytes[at + 3] as number) << 24;
  return word;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** Every bit that comes in changes every bit that goes out, half of the time. */
function avalanche(word: number): number {
  let mixed = word ^ (word >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
