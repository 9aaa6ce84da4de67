import {
  AntiphonError,
  type Batch,
  type Change,
  type CutShort,
  cutShort,
  decodeBatches,
  decodeChanges,
  type DictionaryTable,
  lastCounterOf,
  type PartBatch,
  type Value,
} from '@antiphon/core';
import { bytesOfRow } from './shown-row.js';

/** What is shown of one message altogether; a mailbox's answer is one message itself. */
const MAX_CHANGES = 200;
const MAX_SHOWN_BYTES = 128 * 1024;
/** A longer text or BLOB is cut, and says how long it is. */
const MAX_VALUE_LENGTH = 200;
const MAX_HEX_BYTES = 512;

/** A value that is too long to be shown. */
export type CutValue = CutShort;

/** One change of a row in a message. */
export interface ShownChange {
  /** `origin:counter` of its transaction. */
  readonly transaction: string;
  readonly op: Change['op'];
  readonly table: string;
  /** By column. Of an update the new row; of a delete the row as it was. */
  readonly row: Readonly<Record<string, Value | CutValue>>;
}

/** A message as far as it can be read. */
export type QuarantinedContent =
  | {
      readonly type: 'readable';
      readonly batches: readonly {
        readonly origin: string;
        readonly firstCounter: number;
        readonly lastCounter: number;
        /** Hybrid time, microseconds. */
        readonly time: number;
        readonly tables: readonly string[];
        /** Set for a piece of one big transaction. */
        readonly part?: { readonly offset: number; readonly bytes: number; readonly last: boolean };
        readonly synchronous: boolean;
      }[];
      readonly changes: readonly ShownChange[];
      /** There are more changes than these. */
      readonly more: boolean;
    }
  | {
      readonly type: 'unreadable';
      readonly reason: string;
      /** The first bytes. */
      readonly hex: string;
      readonly bytes: number;
    };

export function contentOf(data: Uint8Array): QuarantinedContent {
  try {
    const batches = decodeBatches(data);
    const reader = new ShownChanges();
    for (const batch of batches) reader.read(batch);
    return { type: 'readable', batches: batches.map(describe), changes: reader.changes, more: reader.more };
  } catch (error) {
    if (!(error instanceof AntiphonError)) throw error;
    const hex = Buffer.from(data.subarray(0, MAX_HEX_BYTES)).toString('hex');
    return { type: 'unreadable', reason: error.message, hex, bytes: data.length };
  }
}

function describe(batch: Batch) {
  const { origin, firstCounter, time, tables } = batch;
  const common = {
    ...{ origin, firstCounter, lastCounter: lastCounterOf(batch) },
    ...{ time, tables: tables.map(({ name }) => name) },
  };
  if (batch.kind === 'part') {
    const part = { offset: batch.offset, bytes: batch.body.length, last: batch.last };
    return { ...common, part, synchronous: false };
  }
  return { ...common, synchronous: batch.sync !== undefined };
}

class ShownChanges {
  readonly changes: ShownChange[] = [];
  more = false;
  #bytes = 0;

  read(batch: Batch): void {
    if (batch.kind === 'part') return this.#readPart(batch);
    for (const { counter, changes } of batch.transactions)
      this.#take(changes, `${batch.origin}:${counter}`, batch.tables);
  }

  /** The first piece begins with whole changes; the last of them goes on in the next piece. */
  #readPart(batch: PartBatch): void {
    if (!batch.last || batch.offset > 0) this.more = true;
    if (batch.offset > 0) return;
    try {
      const { origin, firstCounter, body, tables } = batch;
      this.#take(decodeChanges([body], tables), `${origin}:${firstCounter}`, tables);
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
    }
  }

  #take(changes: Iterable<Change>, transaction: string, tables: readonly DictionaryTable[]): void {
    for (const { op, table: index, row } of changes) {
      if (this.changes.length >= MAX_CHANGES || this.#bytes > MAX_SHOWN_BYTES) {
        this.more = true;
        return;
      }
      const table = tables[index];
      const shown = Object.fromEntries(
        row.map((value, column) => [table?.columns[column] ?? String(column), this.#shown(value)]),
      );
      this.changes.push({ transaction, op, table: table?.name ?? String(index), row: shown });
    }
  }

  #shown(value: Value): Value | CutValue {
    const cut = cutShort(value, MAX_VALUE_LENGTH);
    this.#bytes += bytesOfRow([cut]);
    return cut;
  }
}
