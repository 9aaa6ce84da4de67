import {
  BatchEncoder,
  ChangeEncoder,
  encodePart,
  type BatchHeader,
  type DictionaryTable,
  type HybridClock,
  type Version,
} from '@antiphon/core';
import type { Connection } from './connection.js';
import type { DisplacedRows } from './displaced.js';
import type { TrackedTable } from './local-table.js';
import { dictionaryTable, OutboxEncoder } from './outbox-encoder.js';
import { CHUNK_ROWS, type Outbox } from './outbox.js';
import type { Pace } from './pace.js';
import { storeSealed } from './sealed-messages.js';
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

/** The header of a message of this replica. Its context is left out where nobody compares versions. */
export function batchHeader(
  state: ReplicaState,
  firstCounter: number,
  time: number,
  tables: readonly DictionaryTable[],
  rowVersions: boolean,
): BatchHeader {
  const { identity, epoch } = state;
  return {
    origin: identity.replica,
    firstCounter,
    epoch,
    time,
    context: rowVersions ? state.vector : EMPTY_CONTEXT,
    schemaVersion: identity.schemaVersion,
    tables,
  };
}

/** Turns outbox rows into sealed messages, on one connection, inside the caller's transaction. */
export class Sealer {
  readonly #encoder = new BatchEncoder();
  readonly #dictionary = new Map<number, DictionaryTable>();
  /** Index of each table in the dictionary of the batch that is open, by table number. */
  readonly #indexes = new Map<number, number>();
  #state: ReplicaState;
  #header: BatchHeader | undefined;
  readonly #rows: OutboxEncoder;

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
    this.#rows = new OutboxEncoder(outbox, (id) => this.#indexOf(id));
    this.#state = state;
  }

  /** Starts over with the copy of the state that this database transaction works on. */
  begin(state: ReplicaState): void {
    this.#state = state;
    this.#header = undefined;
    this.#rows.forget();
    this.clock.restore(state.time);
  }

  /**
   * Seals the outbox rows in (from, ends[0]], (ends[0], ends[1]], … as one transaction each, and forgets them.
   * Suspects must be resolved. The last message stays open until `finish`.
   */
  async seal(from: number, ends: readonly number[], pace: Pace): Promise<void> {
    this.#rows.forget();
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
      this.#rows.encode(this.#encoder, start, end, last);
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
    return batchHeader(this.#state, counter, time, tables, this.versions !== undefined);
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
    let offset = 0;
    let rows = 0;
    const cut = (last: boolean): void => {
      const body = encoder.take(PART_BYTES);
      this.#store(counter, counter, part, last, rows, encodePart(header, offset, last, body));
      part++;
      offset += body.length;
      rows = 0;
    };
    for (let from = start; from < end; from += CHUNK_ROWS) {
      const to = Math.min(from + CHUNK_ROWS, end);
      rows += this.#rows.encode(encoder, from, to, to);
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
    storeSealed(this.connection, this.#state, { firstCounter, lastCounter, part, last, data }, changes);
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
}
