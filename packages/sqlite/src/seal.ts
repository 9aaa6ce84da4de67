import {
  BatchEncoder,
  ChangeEncoder,
  encodePart,
  type BatchHeader,
  type DictionaryTable,
  type HybridClock,
  type Row,
  type Value,
  type Version,
} from '@antiphon/core';
import type { Connection } from './connection.js';
import type { DisplacedRows } from './displaced.js';
import { OUTBOX_DELETE, OUTBOX_INSERT, OUTBOX_UPDATE } from './capture-triggers.js';
import { tableSchema, type TrackedTable } from './local-table.js';
import { PARTS_PER_COUNTER } from './metadata.js';
import { CHUNK_ROWS, hasReplacementCharacter, type Outbox, type OutboxChunk } from './outbox.js';
import type { Pace } from './pace.js';
import { sameValue } from './values.js';
import type { ReplicaState } from './state.js';
import type { RowVersions } from './versions.js';

/** Transactions are packed into one message up to these. */
const PACK_BYTES = 180_000;
const PACK_ROWS = 1000;
/** A transaction over this is cut into parts of this size. */
export const PART_BYTES = 256 * 1024;

/** Rows that are looked at in one go to learn which tables a big transaction touches. */
const TABLE_SCAN_ROWS = 20_000;

const EMPTY_CONTEXT = {};
const NO_TABLES: readonly DictionaryTable[] = [];

/** Where changes are written to: a batch of whole transactions, or the body of a big one. */
type ChangeSink = Pick<ChangeEncoder, 'insert' | 'update' | 'delete'>;

export function dictionaryTable(table: TrackedTable): DictionaryTable {
  const { name, columns, key } = tableSchema(table);
  return { name, columns: columns.map((column) => column.name), key };
}

/** Turns outbox rows into sealed messages, on one connection, inside the caller's transaction. */
export class Sealer {
  readonly #encoder = new BatchEncoder();
  readonly #dictionary = new Map<number, DictionaryTable>();
  /** Index of each table in the dictionary of the batch that is open, by table number. */
  readonly #indexes = new Map<number, number>();
  #state: ReplicaState;
  #header: BatchHeader | undefined;
  #window: OutboxChunk | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly outbox: Outbox,
    private readonly clock: HybridClock,
    private readonly versions: RowVersions | undefined,
    private readonly displaced: DisplacedRows | undefined,
    tables: readonly TrackedTable[],
    state: ReplicaState,
  ) {
    for (const table of tables) this.#dictionary.set(table.id, dictionaryTable(table));
    this.#state = state;
  }

  /** Starts over with the copy of the state that this database transaction works on. */
  begin(state: ReplicaState): void {
    this.#state = state;
    this.#header = undefined;
    this.#window = undefined;
    this.clock.restore(state.time);
  }

  /**
   * Seals the outbox rows in (from, ends[0]], (ends[0], ends[1]], … as one transaction each, and forgets them.
   * Suspects must be resolved. The last message stays open until `finish`.
   */
  async seal(from: number, ends: readonly number[], pace: Pace): Promise<void> {
    // Numbers are given again after a clear: rows that were read before it are others.
    this.#window = undefined;
    let start = from;
    const last = ends.at(-1) ?? from;
    for (const end of ends) {
      const counter = this.#state.lastCounter + 1;
      const time = this.clock.tick();
      if (end - start > CHUNK_ROWS || !this.#pack(start, end, last, counter, time))
        await this.#sealInParts(start, end, counter, time, pace);
      if (this.versions !== undefined) {
        await this.#stamp(
          this.versions,
          start,
          end,
          { time, origin: this.#state.identity.replica, counter },
          pace,
        );
      }
      this.#state.lastCounter = counter;
      if (!this.#state.recovering) this.#state.ownCounter = counter;
      this.#state.time = time;
      start = end;
      if (pace.due()) await pace.rest();
    }
  }

  async #stamp(
    versions: RowVersions,
    start: number,
    end: number,
    version: Version,
    pace: Pace,
  ): Promise<void> {
    for (let from = start; from < end; from += CHUNK_ROWS) {
      const to = Math.min(from + CHUNK_ROWS, end);
      const tables = this.outbox.tablesOf(from, to);
      versions.stampSealed(tables, from, to, version);
      this.displaced?.noteSealed(this.#state, tables, from, to);
      if (to < end && pace.due()) await pace.rest();
    }
  }

  /** Stores the message that is still open. */
  finish(): void {
    if (this.#header === undefined) return;
    const { firstCounter } = this.#header;
    const encoder = this.#encoder;
    this.#store(
      firstCounter,
      firstCounter + encoder.transactions - 1,
      0,
      true,
      encoder.changes,
      encoder.finish(),
    );
    this.#header = undefined;
  }

  /** Adds a transaction to the open message, or to a new one; false when it is too big for a message. */
  #pack(start: number, end: number, last: number, counter: number, time: number): boolean {
    if (this.#header !== undefined && this.#encoder.changes + (end - start) > PACK_ROWS) this.finish();
    for (;;) {
      const alone = this.#header === undefined;
      const header = this.#header ?? this.#open(counter, time);
      this.#encoder.transaction(time - header.time);
      this.#encode(this.#encoder, start, end, last);
      const { byteLength } = this.#encoder;
      if (byteLength <= PACK_BYTES) return true;
      if (alone && byteLength <= PART_BYTES) {
        this.finish();
        return true;
      }
      this.#encoder.dropTransaction();
      if (alone) {
        this.#header = undefined;
        return false;
      }
      this.finish();
    }
  }

  #open(counter: number, time: number): BatchHeader {
    const header = this.#newHeader(counter, time, NO_TABLES);
    this.#encoder.begin(header);
    this.#indexes.clear();
    this.#header = header;
    return header;
  }

  #newHeader(counter: number, time: number, tables: readonly DictionaryTable[]): BatchHeader {
    const { identity, epoch } = this.#state;
    const context = this.versions === undefined ? EMPTY_CONTEXT : this.#state.vector;
    return {
      origin: identity.replica,
      firstCounter: counter,
      epoch,
      time,
      context,
      schemaVersion: identity.schemaVersion,
      tables,
    };
  }

  async #sealInParts(start: number, end: number, counter: number, time: number, pace: Pace): Promise<void> {
    this.finish();
    const tables = await this.#tablesOf(start, end, pace);
    this.#indexes.clear();
    tables.forEach((table, index) => this.#indexes.set(table.id, index));
    const header = this.#newHeader(
      counter,
      time,
      tables.map((table) => this.#describe(table.id)),
    );
    const encoder = new ChangeEncoder();
    let part = 0;
    let rows = 0;
    const cut = (last: boolean): void => {
      this.#store(
        counter,
        counter,
        part,
        last,
        rows,
        encodePart(header, part, last, encoder.take(PART_BYTES)),
      );
      part++;
      rows = 0;
    };
    for (let from = start; from < end; from += CHUNK_ROWS) {
      const to = Math.min(from + CHUNK_ROWS, end);
      rows += this.#encode(encoder, from, to, to);
      while (encoder.byteLength > PART_BYTES) cut(false);
      if (pace.due()) await pace.rest();
    }
    cut(true);
  }

  async #tablesOf(start: number, end: number, pace: Pace): Promise<TrackedTable[]> {
    const tables = new Map<number, TrackedTable>();
    for (let from = start; from < end; from += TABLE_SCAN_ROWS) {
      for (const table of this.outbox.tablesOf(from, Math.min(from + TABLE_SCAN_ROWS, end)))
        tables.set(table.id, table);
      if (pace.due()) await pace.rest();
    }
    return [...tables.values()];
  }

  #store(
    firstCounter: number,
    lastCounter: number,
    part: number,
    last: boolean,
    changes: number,
    data: Uint8Array,
  ): void {
    this.connection
      .statement('INSERT INTO _antiphon_sealed VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        BigInt(firstCounter) * PARTS_PER_COUNTER + BigInt(part),
        firstCounter,
        lastCounter,
        part,
        last ? 1 : 0,
        changes,
        data.length,
        data,
      );
    this.#state.outboxMessages++;
    this.#state.outboxBytes += data.length;
  }

  #describe(id: number): DictionaryTable {
    return this.#dictionary.get(id) ?? dictionaryTable(this.outbox.table(id));
  }

  #indexOf(id: number): number {
    const known = this.#indexes.get(id);
    if (known !== undefined) return known;
    const index = this.#encoder.addTable(this.#describe(id));
    this.#indexes.set(id, index);
    return index;
  }

  /** Rows of small transactions are read together, up to `last`. Returns how many were encoded. */
  #encode(sink: ChangeSink, from: number, to: number, last: number): number {
    let chunk = this.#window;
    if (chunk === undefined || chunk.from > from || chunk.to < to) {
      chunk = this.outbox.read(from, Math.min(from + CHUNK_ROWS, last));
      // Only without gaps does the place of a row follow from its number.
      if (chunk.rows.length !== chunk.to - from) chunk = chunk.to === to ? chunk : this.outbox.read(from, to);
      this.#window = chunk.rows.length === chunk.to - from ? chunk : undefined;
    }
    const begin = chunk.from === from ? 0 : from - chunk.from;
    const end = chunk.to === to ? chunk.rows.length : to - chunk.from;
    if (chunk.uniform !== undefined) this.#encodeUniform(sink, chunk, chunk.uniform, begin, end);
    else for (let index = begin; index < end; index++) this.#encodeMixed(sink, chunk, index);
    return end - begin;
  }

  #encodeUniform(
    sink: ChangeSink,
    chunk: OutboxChunk,
    uniform: NonNullable<OutboxChunk['uniform']>,
    begin: number,
    end: number,
  ): void {
    const table = this.#indexOf(uniform.table.id);
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
    const width = table.columns.length;
    const at = this.#indexOf(table.id);
    const image = (name: 'n' | 'o'): Row => {
      const start = name === 'n' ? 2 : 2 + this.outbox.width;
      const row = fields.slice(start, start + width);
      return hasReplacementCharacter(row) ? this.#exact(chunk, index, name, row) : row;
    };
    if (op === OUTBOX_INSERT) sink.insert(at, image('n'));
    else if (op === OUTBOX_DELETE) sink.delete(at, image('o'));
    else if (op === OUTBOX_UPDATE) this.#encodeUpdate(sink, at, image('n'), image('o'));
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
