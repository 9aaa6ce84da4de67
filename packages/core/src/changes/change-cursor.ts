import { compareVectors, type VectorClock } from '../clocks/vector-clock.js';
import { decodeControl, encodeControl, isRecord } from '../codec/control.js';
import type { Epoch } from '../model/epoch.js';
import { AntiphonError } from '../errors/antiphon-error.js';

/**
 * A place in the stream of changes: between two changes of a transaction or of a synchronous group,
 * which is admitted as a whole, or between two of those. What was delivered is told by `vector` and
 * `inside` alone; the numbers of entries tell where to read and what was read
 * (docs/decisions/0063).
 */
export interface ChangeCursor {
  readonly generation: string;
  /** The first entry of which something may be left to deliver. */
  readonly seq: number;
  /**
   * Where the first part of a transaction is whose last one had not come. Absent: not before `seq`.
   */
  readonly openSeq?: number;
  /**
   * The hybrid times of transactions whose last part had not come, by origin: parts of another one,
   * in front of what comes before it, were dropped.
   */
  readonly open?: VectorClock;
  /** Transactions that were delivered wholly. */
  readonly vector: VectorClock;
  /** That holds in front of `seq`. Absent: the first one, or nobody could tell. */
  readonly epoch?: Epoch;
  /** By origin: of its next transaction, or synchronous group, so many changes were delivered. */
  readonly inside: VectorClock;
  /** The newest entry that was read. Absent: none was. */
  readonly entry?: ReadEntry;
  /**
   * Nobody could tell what lies before it: of an origin that is not in the vector, the first
   * transaction that is met counts as its next one.
   */
  readonly isPartial?: true;
}

/** Tells an entry from another one under the same number, as `LogEntry` does. */
export interface ReadEntry {
  readonly seq: number;
  readonly storedAtMs: number;
}

/** Of the text of a cursor, everything but the number of changes in its last field. */
export interface CursorBase extends ChangeCursor {
  /** Whose next transaction the changes are counted of; `inside` has those of others. */
  readonly origin: string;
}

/** Read the log from this entry on. */
export function readFrom({ seq, openSeq = seq }: ChangeCursor): number {
  return Math.min(seq, openSeq);
}

/** An opaque text, safe in URLs. Everything needed to go on without loss or repetition is in it. */
export function encodeCursor(cursor: ChangeCursor): string {
  const [origin, count] = Object.entries(cursor.inside).at(-1) ?? ['', 0];
  const { [origin]: _, ...inside } = cursor.inside;
  return `${encodeCursorBase({ ...cursor, inside, origin })}.${count}`;
}

/** The part that all changes of one transaction share. */
export function encodeCursorBase(cursor: CursorBase): string {
  const { generation, seq, vector, inside, origin, entry, isPartial = false, open = {}, epoch } = cursor;
  const read = entry === undefined ? [] : [entry.seq, entry.storedAtMs];
  const fields: unknown[] = [
    generation,
    seq,
    seq - readFrom(cursor),
    vector,
    inside,
    origin,
    read,
    isPartial,
    open,
  ];
  if (epoch !== undefined)
    fields.push([epoch.number, epoch.primary ?? null, epoch.instance ?? null, epoch.seq]);
  return Buffer.from(encodeControl(fields)).toString('base64url');
}

export type CursorOrder = 'before' | 'equal' | 'after' | 'unrelated';

/**
 * Of two places in one stream, which one comes first. A stream delivers one transaction after
 * another, so what they name as delivered is in order; where it is not, or the logs are different
 * ones, the two are `unrelated`.
 */
export function compareCursors(a: ChangeCursor, b: ChangeCursor): CursorOrder {
  if (a.generation !== b.generation) return 'unrelated';
  const byVector = compareVectors(a.vector, b.vector);
  const order = byVector === 'equal' ? compareVectors(a.inside, b.inside) : byVector;
  return order === 'concurrent' ? 'unrelated' : order;
}

/** Throws BAD_OPTION. */
export function decodeCursor(text: string): ChangeCursor {
  try {
    const [base = '', count = '', ...rest] = text.split('.');
    const input = decodeControl(Buffer.from(base, 'base64url'));
    if (!Array.isArray(input) || !/^\d+$/.test(count) || rest.length > 0) throw notACursor();
    return cursorOf(input as unknown[], wholeNumber(Number(count)));
  } catch (cause) {
    throw new AntiphonError(
      'BAD_OPTION',
      "`from` is not a cursor. Give 'now', 'beginning', or the cursor of a change.",
      { cause },
    );
  }
}

function cursorOf(fields: readonly unknown[], count: number): ChangeCursor {
  const [generation, seqField, before, vector, others, origin, read, isPartial, times = {}, epoch] = fields;
  if (typeof generation !== 'string' || typeof origin !== 'string' || !Array.isArray(read))
    throw notACursor();
  const [seq, back, inside] = [wholeNumber(seqField), wholeNumber(before), vectorOf(others)];
  const open = vectorOf(times);
  if (back > seq) throw notACursor();
  return {
    ...{ generation, seq, vector: vectorOf(vector) },
    inside: count === 0 ? inside : { ...inside, [origin]: count },
    ...(back > 0 && { openSeq: seq - back }),
    ...(Object.keys(open).length > 0 && { open }),
    ...(read.length > 0 && { entry: readEntryOf(read) }),
    ...(isPartial === true && { isPartial }),
    ...(epoch !== undefined && { epoch: epochOf(epoch) }),
  };
}

function epochOf(fields: unknown): Epoch {
  const [number, primary, instance, seq] = Array.isArray(fields) ? (fields as unknown[]) : [];
  return {
    number: wholeNumber(number),
    primary: typeof primary === 'string' ? primary : undefined,
    instance: typeof instance === 'string' ? instance : undefined,
    seq: wholeNumber(seq),
  };
}

function readEntryOf([seq, storedAtMs]: readonly unknown[]): ReadEntry {
  if (!Number.isFinite(Number(storedAtMs))) throw notACursor();
  return { seq: wholeNumber(seq), storedAtMs: Number(storedAtMs) };
}

function vectorOf(input: unknown): VectorClock {
  if (!isRecord(input)) throw notACursor();
  return Object.fromEntries(
    Object.entries(input).map(([origin, counter]) => [origin, wholeNumber(counter)] as const),
  );
}

function wholeNumber(input: unknown): number {
  const number = Number(input);
  if (!Number.isSafeInteger(number) || number < 0) throw notACursor();
  return number;
}

function notACursor(): Error {
  return new Error('not a cursor');
}
