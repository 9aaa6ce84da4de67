import { startOfText } from '../codec/utf8.js';
import { TaggedValue, type Value, type ValueTag } from './value.js';

/** A value that is too long to be kept or shown: its beginning. */
export interface CutShort {
  readonly start: string | Uint8Array;
  /** Of the whole value: UTF-16 units of a text, bytes of anything else. */
  readonly length: number;
  /** Of a tagged value, as text that is not UTF-8: `start` has bytes then. */
  readonly tag?: ValueTag;
}

/** Of what is longer than `longest` only so much of the beginning, and no half of a character. */
export function cutShort(value: Value | CutShort, longest: number, kept: number = longest): Value | CutShort {
  const whole = wholeOf(value);
  if (whole === undefined || whole.start.length <= longest) return value;
  const { start } = whole;
  return { ...whole, start: typeof start === 'string' ? startOfText(start, kept) : start.slice(0, kept) };
}

function wholeOf(value: Value | CutShort): CutShort | undefined {
  if (typeof value === 'string' || value instanceof Uint8Array) return { start: value, length: value.length };
  if (value === null || typeof value !== 'object') return undefined;
  if (!(value instanceof TaggedValue)) return value;
  const { tag, bytes } = value;
  return { start: bytes, length: bytes.length, tag };
}
