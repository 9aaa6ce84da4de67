import { type CutShort, cutShort, isRecord, TaggedValue, type Value } from '@antiphon/core';
import type { Scope } from '../state/scope.js';

/** Of the rows of one answer, which is one message. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** A longer text or BLOB is cut where rows are only shown, and further where they do not fit. */
const LONGEST = [200, 40, 16];
/** About what a value takes beside its bytes, in a message. */
const VALUE_BYTES = 10;
/** Likewise where it is cut or tagged: then it is a map. */
const MAP_BYTES = 50;
/** What is told of a row beside its names and values: ids, times, versions. */
const AROUND_BYTES = 500;
const IMAGES = ['before', 'after', 'kept', 'lost', 'here'] as const;

/** A row to be shown: long values are cut. */
export type ShownRow = readonly (Value | CutShort)[];

/** One row as it was or is, at several times. */
interface Images extends Partial<Record<(typeof IMAGES)[number], ShownRow>> {
  readonly table: string;
  readonly columns: readonly string[];
  readonly key: ShownRow;
  readonly moreColumns?: number;
}

/** How much of the rows goes into one answer: half of a message at most, whatever a message is. */
export function answerBytes({ log }: Pick<Scope, 'log'>): number {
  return Math.min(MAX_ANSWER_BYTES, Math.floor(log.maxMessageBytes / 2));
}

/** Cut so that it fits into an answer: its values, and where that is not enough, its columns. */
export function cutToFit<T extends Images>(shown: T, maxBytes: number): T {
  let cut = shown;
  for (const longest of LONGEST) {
    cut = withRows(shown, (row) => row.map((value) => cutShort(value, longest)));
    if (bytesOf(cut) <= maxBytes) return cut;
  }
  for (let count = shown.columns.length >> 1; ; count >>= 1) {
    const few = firstColumns(cut, count);
    if (count === 0 || bytesOf(few) <= maxBytes) return few;
  }
}

/** The first of them, as many as one answer holds; at least one. */
export function fitting<T extends Images>(shown: readonly T[], maxBytes: number): readonly T[] {
  let bytes = 0;
  const end = shown.findIndex((one, index) => {
    bytes += bytesOf(one);
    return index > 0 && bytes > maxBytes;
  });
  return end === -1 ? shown : shown.slice(0, end);
}

/** As they were before they travelled in a message. */
export function revived<T extends Images>(shown: T): T {
  return withRows(shown, (row) => row.map(revivedValue));
}

/** About what it takes in a message, and hardly less. */
export function bytesOf(shown: Images): number {
  const names = [shown.table, ...shown.columns].reduce((sum, name) => sum + bytesOfValue(name), 0);
  return rowsOf(shown).reduce((sum, row) => sum + bytesOfRow(row), AROUND_BYTES + names);
}

export function bytesOfRow(row: ShownRow): number {
  return row.reduce<number>((sum, value) => sum + bytesOfValue(value), 0);
}

function bytesOfValue(value: Value | CutShort): number {
  if (typeof value === 'string') return VALUE_BYTES + Buffer.byteLength(value, 'utf8');
  if (value instanceof Uint8Array) return VALUE_BYTES + value.length;
  if (value === null || typeof value !== 'object') return VALUE_BYTES;
  return MAP_BYTES + bytesOfValue(value instanceof TaggedValue ? value.bytes : value.start);
}

function rowsOf(shown: Images): readonly ShownRow[] {
  return [shown.key, ...IMAGES.flatMap((name) => [shown[name] ?? []])];
}

function withRows<T extends Images>(shown: T, map: (row: ShownRow) => ShownRow): T {
  const images = IMAGES.flatMap((name) => {
    const row = shown[name];
    return row === undefined ? [] : [[name, map(row)] as const];
  });
  return { ...shown, ...Object.fromEntries(images), key: map(shown.key) };
}

function firstColumns<T extends Images>(shown: T, count: number): T {
  const { columns } = shown;
  const few = withRows(shown, (row) => row.slice(0, count));
  return { ...few, columns: columns.slice(0, count), moreColumns: columns.length - count };
}

/** A message has no classes. */
export function revivedValue<T>(value: T): T | TaggedValue {
  if (!isRecord(value) || value instanceof TaggedValue || value instanceof Uint8Array) return value;
  const { tag, bytes } = value as Partial<TaggedValue>;
  return tag !== undefined && bytes instanceof Uint8Array ? new TaggedValue(tag, bytes) : value;
}
