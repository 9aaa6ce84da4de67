import type { ChangeEncoder, DictionaryTable, Row, Value } from '@antiphon/core';
import {
  OUTBOX_DELETE,
  OUTBOX_FOUND,
  OUTBOX_INSERT,
  OUTBOX_REFERENCE,
  OUTBOX_REPLACED,
  OUTBOX_TOUCHED,
  OUTBOX_UPDATE,
} from './outbox-kinds.js';
import { tableSchema, type TrackedTable } from './local-table.js';
import { CHUNK_ROWS, hasReplacementCharacter, type Outbox, type OutboxChunk } from './outbox.js';
import { sameValue } from './values.js';

/** Where changes are written to: a batch of whole transactions, or the body of a big one. */
export type ChangeSink = Pick<ChangeEncoder, 'insert' | 'update' | 'delete'> & Partial<ClaimSink>;

/** What certification wants to know besides the changes; by the numbers of tables. */
export interface ClaimSink {
  /** Only the columns of the key are there. */
  touched(tableId: number, row: Row): void;
  /** Likewise. */
  found(tableId: number, row: Row): void;
  replaced(tableId: number, row: Row): void;
  referring(tableId: number, reference: number, values: readonly Value[]): void;
}

export function dictionaryTable(table: TrackedTable): DictionaryTable {
  const { name, columns, key } = tableSchema(table);
  return { name, columns: columns.map((column) => column.name), key };
}

/**
 * Reads outbox rows and gives them to a sink as changes, under the table numbers that `indexOf`
 * says.
 */
export class OutboxEncoder {
  #window: OutboxChunk | undefined;
  /** Of the rows in the window, once somebody has asked for them. */
  #numbers: readonly number[] | undefined;

  constructor(
    private readonly outbox: Outbox,
    private readonly indexOf: (tableId: number) => number,
  ) {}

  /** Numbers are given again after a clear: rows that were read before it are others. */
  forget(): void {
    this.#window = undefined;
    this.#numbers = undefined;
  }

  /**
   * Rows of small transactions are read together, up to `last`, and each only once while `from`
   * goes on. Returns how many were encoded.
   */
  encode(sink: ChangeSink, from: number, to: number, last: number): number {
    let chunk = this.#window;
    if (chunk === undefined || chunk.from > from || chunk.to < to) {
      chunk = this.outbox.read(from, Math.min(from + CHUNK_ROWS, last));
      this.#window = chunk;
      this.#numbers = undefined;
    }
    const begin = this.#placeBehind(chunk, from);
    const end = this.#placeBehind(chunk, to);
    if (chunk.uniform !== undefined) this.#encodeUniform(sink, chunk, chunk.uniform, begin, end);
    else for (let index = begin; index < end; index++) this.#encodeMixed(sink, chunk, index);
    return end - begin;
  }

  /** Index of the first row of the window whose number is higher. */
  #placeBehind(chunk: OutboxChunk, number: number): number {
    if (number === chunk.from) return 0;
    if (number === chunk.to) return chunk.rows.length;
    // Only without gaps does the place of a row follow from its number.
    if (chunk.rows.length === chunk.to - chunk.from) return number - chunk.from;
    const numbers = (this.#numbers ??= this.outbox.numbersIn(chunk));
    let [low, high] = [0, numbers.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((numbers[middle] ?? Infinity) > number) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #encodeUniform(
    sink: ChangeSink,
    chunk: OutboxChunk,
    uniform: NonNullable<OutboxChunk['uniform']>,
    begin: number,
    end: number,
  ): void {
    const table = this.indexOf(uniform.table.id);
    const image = uniform.op === OUTBOX_DELETE ? 'o' : 'n';
    for (let index = begin; index < end; index++) {
      let row = chunk.rows[index] as Row;
      if (hasReplacementCharacter(row)) row = this.#exact(chunk, index, image, row);
      if (image === 'n') sink.insert(table, row);
      else sink.delete(table, row);
    }
  }

  #encodeMixed(sink: ChangeSink, chunk: OutboxChunk, index: number): void {
    const fields = chunk.rows[index] as Row;
    const table = this.outbox.table(Number(fields[0]));
    const op = Number(fields[1]);
    const image = (name: 'n' | 'o', width: number): Row => {
      const start = name === 'n' ? 2 : 2 + this.outbox.width;
      const row = fields.slice(start, start + width);
      return hasReplacementCharacter(row) ? this.#exact(chunk, index, name, row) : row;
    };
    const width = table.columns.length;
    if (op === OUTBOX_TOUCHED) return sink.touched?.(table.id, image('o', width));
    if (op === OUTBOX_FOUND) return sink.found?.(table.id, image('o', width));
    if (op === OUTBOX_REPLACED) return sink.replaced?.(table.id, image('o', width));
    if (op === OUTBOX_REFERENCE) {
      const reference = Number(fields[2 + this.outbox.width]);
      return sink.referring?.(table.id, reference, image('n', this.outbox.width));
    }
    const at = this.indexOf(table.id);
    if (op === OUTBOX_INSERT) sink.insert(at, image('n', width));
    else if (op === OUTBOX_DELETE) sink.delete(at, image('o', width));
    else if (op === OUTBOX_UPDATE) this.#encodeUpdate(sink, at, image('n', width), image('o', width));
  }

  #encodeUpdate(sink: ChangeSink, table: number, row: Row, old: Row): void {
    const changed: number[] = [];
    const before: Value[] = [];
    for (let column = 0; column < row.length; column++) {
      const value = old[column] as Value;
      if (sameValue(row[column] as Value, value)) continue;
      changed.push(column);
      before.push(value);
    }
    sink.update(table, row, changed, before);
  }

  #exact(chunk: OutboxChunk, index: number, image: 'n' | 'o', row: Row): Row {
    return row.map((value, column) =>
      typeof value === 'string' ? this.outbox.exactText(chunk, index, image, column, value) : value,
    );
  }
}
