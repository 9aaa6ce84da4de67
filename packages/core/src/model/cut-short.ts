import { startOfText } from '../codec/utf8.js';
import type { Value } from './value.js';

/** A text or BLOB that is too long to be kept or shown: its beginning. */
export interface CutShort {
  readonly start: string | Uint8Array;
  /** Of the whole value: UTF-16 units of a text, bytes of a BLOB. */
  readonly length: number;
}

/** Of what is longer than `longest` only so much of the beginning, and no half of a character. */
export function cutShort(value: Value | CutShort, longest: number, kept: number = longest): Value | CutShort {
  const long = typeof value === 'string' || value instanceof Uint8Array ? value : undefined;
  if (long === undefined || long.length <= longest) return value;
  const start = typeof long === 'string' ? startOfText(long, kept) : long.slice(0, kept);
  return { start, length: long.length };
}
