import {
  BatchEncoder,
  ChangeEncoder,
  encodePart,
  type BatchHeader,
  type DictionaryTable,
  type HybridClock,
  type VectorClock,
} from '@antiphon/core';
import type { SealRange } from './captured-times.js';
import type { Connection } from './connection.js';
import type { HiddenRows } from './hidden-rows.js';
import type { TrackedTable } from './local-table.js';
import { dictionaryTable, OutboxEncoder } from './outbox-encoder.js';
import { CHUNK_ROWS, type Outbox } from './outbox.js';
import type { Pace } from './pace.js';
import { storeSealed } from './sealed-messages.js';
import type { ReplicaState } from './state.js';
import type { SealingLimits } from './surroundings.js';
import type { RowVersions } from './versions.js';

/** Changes in one message. */
const PACK_ROWS = 1000;

/** Rows that are looked at in one go to learn which tables a big transaction touches. */
const TABLE_SCAN_ROWS = 20_000;

/** Outbox rows in (start, end], and the hybrid time of their changes. */
interface Stretch {
  readonly start: number;
  readonly end: number;
  readonly time: number;
}

const EMPTY_CONTEXT = {};
const NO_TABLES: readonly DictionaryTable[] = [];

/**
 * The header of a message of this replica. What it builds on goes without saying where one replica
 * writes, but for what the primaries before it have written.
 */
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
    epoch: epoch.number,
    time,
    context: rowVersions ? state.vector : writtenBefore(state),
    schemaVersion: identity.schemaVersion,
    tables,
  };
}

/** By other primaries; only their epochs put anything of theirs into this database. */
function writtenBefore({ identity, epoch, vector }: ReplicaState): VectorClock {
  if (epoch.number === 0) return EMPTY_CONTEXT;
  const { [identity.replica]: _, ...others } = vector;
  return others;
}

/** Turns outbox rows into sealed messages, on one connection, inside the caller's transaction. */
export class Sealer {
  readonly #encoder = new BatchEncoder();
  readonly #dictionary = new Map<number, DictionaryTable>();
  /** Index of each table in the dictionary of the batch that is open, by table number. */
  readonly #indexes = new Map<number, number>();
  #state: ReplicaState;
  #header: BatchHeader | undefined;
  readonly #limits: SealingLimits;
  readonly #rows: OutboxEncoder;

  constructor(
    private readonly connection: Connection,
    private readonly outbox: Outbox,
    private readonly clock: HybridClock,
    private readonly versions: RowVersions | undefined,
    private readonly hidden: HiddenRows | undefined,
    tables: readonly TrackedTable[],
    state: ReplicaState,
  ) {
    for (const table of tables) this.#dictionary.set(table.id, dictionaryTable(table));
    this.#rows = new OutboxEncoder(outbox, (id) => this.#indexOf(id));
    this.#state = state;
    this.#limits = connection.surroundings.sealing;
  }

  /** Starts over with the copy of the state that this database transaction works on. */
  begin(state: ReplicaState): void {
    this.#state = state;
    this.#header = undefined;
    this.#rows.forget();
    this.clock.restore(state.time);
  }

  /**
   * Seals the outbox rows of each range as one transaction, the first of which begins after `from`.
   * Suspects must be resolved. The last message stays open until `finish`.
   */
  async seal(from: number, ranges: readonly SealRange[], pace: Pace): Promise<void> {
    this.#rows.forget();
    let start = from;
    const last = ranges.at(-1)?.end ?? from;
    for (const range of ranges) {
      const counter = this.#state.lastCounter + 1;
      const stretches = this.#timed(start, range);
      const time = Math.max(...stretches.map((stretch) => stretch.time));
      this.clock.restore(time);
      if (range.end - start > CHUNK_ROWS || !this.#pack(stretches, last, counter, time))
        await this.#sealInParts(stretches, counter, time, pace);
      if (this.versions !== undefined)
        for (const stretch of stretches) await this.#stamp(this.versions, stretch, counter, pace);
      this.#state.lastCounter = counter;
      if (!this.#state.recovering) this.#state.ownCounter = counter;
      this.#state.time = time;
      start = range.end;
      if (pace.due()) await pace.rest();
    }
  }

  /**
   * The rows of a range with their times, all later than what was seen when they were captured.
   * Each is later than the one before, so that the last change of a row has the latest time; but
   * for rows that were moved, which are the only change of theirs.
   */
  #timed(start: number, { end, spans, undated = false }: SealRange): readonly Stretch[] {
    if (undated) return [{ start, end, time: this.clock.tickIdle() }];
    if (spans === undefined) return [{ start, end, time: this.clock.tick() }];
    let from = start;
    return spans.map((span) => {
      const { end, writtenMs, moved } = span;
      const time = moved === true ? this.clock.timeAt(writtenMs) : this.clock.tickAt(writtenMs);
      const stretch = { start: from, end, time };
      from = span.end;
      return stretch;
    });
  }

  async #stamp(
    versions: RowVersions,
    { start, end, time }: Stretch,
    counter: number,
    pace: Pace,
  ): Promise<void> {
    const version = { time, origin: this.#state.identity.replica, counter };
    for (let from = start; from < end; from += CHUNK_ROWS) {
      const to = Math.min(from + CHUNK_ROWS, end);
      const tables = this.outbox.tablesOf(from, to);
      this.hidden?.noteSealed(this.#state, tables, from, to);
      versions.stampSealed(tables, from, to, version);
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

  /**
   * Adds a transaction to the open message, or to a new one; false when it is too big for a
   * message.
   */
  #pack(stretches: readonly Stretch[], last: number, counter: number, time: number): boolean {
    const rows = (stretches.at(-1)?.end ?? 0) - (stretches[0]?.start ?? 0);
    if (this.#header !== undefined && this.#encoder.changes + rows > PACK_ROWS) this.finish();
    for (;;) {
      const alone = this.#header === undefined;
      const header = this.#header ?? this.#open(counter, time);
      this.#encoder.transaction(time - header.time);
      for (const stretch of stretches) {
        this.#encoder.earlier(time - stretch.time);
        this.#rows.encode(this.#encoder, stretch.start, stretch.end, last);
      }
      const { byteLength } = this.#encoder;
      if (byteLength <= this.#limits.packBytes) return true;
      if (alone && byteLength <= this.#limits.partBytes) {
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

  async #sealInParts(
    stretches: readonly Stretch[],
    counter: number,
    time: number,
    pace: Pace,
  ): Promise<void> {
    this.finish();
    const tables = await this.#tablesOf(stretches[0]?.start ?? 0, stretches.at(-1)?.end ?? 0, pace);
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
      const body = encoder.take(this.#limits.partBytes);
      this.#store(counter, counter, part, last, rows, encodePart(header, offset, last, body));
      part++;
      offset += body.length;
      rows = 0;
    };
    for (const stretch of stretches) {
      encoder.earlier(time - stretch.time);
      for (let from = stretch.start; from < stretch.end; from += CHUNK_ROWS) {
        const to = Math.min(from + CHUNK_ROWS, stretch.end);
        rows += this.#rows.encode(encoder, from, to, to);
        while (encoder.byteLength > this.#limits.partBytes) cut(false);
        if (pace.due()) await pace.rest();
      }
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
