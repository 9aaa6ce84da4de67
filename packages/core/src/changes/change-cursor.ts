import { compareVectors, type VectorClock } from '../clocks/vector-clock.js';
import { decodeControl, encodeControl, isRecord } from '../codec/control.js';
import { AntiphonError } from '../errors/antiphon-error.js';

/**
 * A place in the stream of changes: between two changes of a transaction or of a synchronous group,
 * which is admitted as a whole, or between two of those.
 */
export interface ChangeCursor {
  readonly generation: string;
  /** Read the log from this entry on. */
  readonly seq: number;
  /** Transactions that were delivered wholly. */
  readonly vector: VectorClock;
  /** Of the next transaction, or synchronous group, so many changes were delivered. */
  readonly skip: number;
  /**
   * Nobody could tell what lies before it: of an origin that is not in the vector, the first
   * transaction that is met counts as its next one.
   */
  readonly isPartial?: true;
}

/** An opaque text, safe in URLs. Everything needed to go on without loss or repetition is in it. */
export function encodeCursor(cursor: ChangeCursor): string {
  const { skip, ...base } = cursor;
  return `${encodeCursorBase(base)}.${skip}`;
}

/** The part that all changes of one transaction share. */
export function encodeCursorBase(cursor: Omit<ChangeCursor, 'skip'>): string {
  const { generation, seq, vector, isPartial = false } = cursor;
  const fields = isPartial ? [generation, seq, vector, isPartial] : [generation, seq, vector];
  return Buffer.from(encodeControl(fields)).toString('base64url');
}

export type CursorOrder = 'before' | 'equal' | 'after' | 'unrelated';

/**
 * Of two places in one stream, which one comes first. A stream delivers one transaction after
 * another, so their vectors are in order; where they are not, or the logs are different ones, the
 * two are `unrelated`.
 */
export function compareCursors(a: ChangeCursor, b: ChangeCursor): CursorOrder {
  if (a.generation !== b.generation) return 'unrelated';
  const order = compareVectors(a.vector, b.vector);
  if (order !== 'equal') return order === 'concurrent' ? 'unrelated' : order;
  const difference = a.skip - b.skip;
  if (difference === 0) return 'equal';
  return difference < 0 ? 'before' : 'after';
}

/** Throws BAD_OPTION. */
export function decodeCursor(text: string): ChangeCursor {
  try {
    const [base = '', skip = ''] = text.split('.');
    const input = decodeControl(Buffer.from(base, 'base64url'));
    if (!Array.isArray(input) || !/^\d+$/.test(skip)) throw new Error('not a cursor');
    const [generation, seq, vector, isPartial] = input as unknown[];
    if (typeof generation !== 'string' || !isRecord(vector)) throw new Error('not a cursor');
    const counters = Object.entries(vector).map(([origin, counter]) => [origin, Number(counter)] as const);
    const numbers = [Number(seq), Number(skip), ...counters.map(([, counter]) => counter)];
    if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0))
      throw new Error('not a cursor');
    const cursor = { generation, seq: Number(seq), skip: Number(skip), vector: Object.fromEntries(counters) };
    return isPartial === true ? { ...cursor, isPartial } : cursor;
  } catch (cause) {
    throw new AntiphonError(
      'BAD_OPTION',
      "`from` is not a cursor. Give 'now', 'beginning', or the cursor of a change.",
      { cause },
    );
  }
}
