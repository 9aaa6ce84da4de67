import {
  decodeBatches,
  decodeChanges,
  type Batch,
  type Change,
  type DictionaryTable,
  type LogEntry,
  type PartBatch,
  type Row,
} from '@antiphon/core';

export interface ModelChange {
  readonly table: string;
  readonly op: 'insert' | 'update' | 'delete';
  readonly row: Row;
}

export interface ModelTransaction {
  readonly origin: string;
  readonly counter: number;
  readonly time: number;
  readonly changes: readonly ModelChange[];
}

/**
 * What a log means, worked out without any code of a replica: of every origin the transactions 1, 2, 3 … in the order in
 * which the log has them, whatever else is lost, repeated or overtaken in it.
 */
export class LogModel {
  readonly transactions: ModelTransaction[] = [];
  readonly #counters = new Map<string, number>();
  readonly #parts = new Map<string, { readonly counter: number; readonly bodies: Uint8Array[] }>();
  /** The counters after each entry, by sequence. */
  readonly #counterAt: ReadonlyMap<string, number>[] = [new Map()];

  feed(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      if (entry.seq < this.#counterAt.length) continue;
      for (const batch of decodeBatches(entry.data)) this.#take(batch);
      this.#counterAt[entry.seq] = new Map(this.#counters);
    }
  }

  /** How far an origin is for someone who has dealt with everything up to `seq`. */
  counterAt(seq: number, origin: string): number {
    return this.#counterAt[seq]?.get(origin) ?? 0;
  }

  #take(batch: Batch): void {
    const next = (this.#counters.get(batch.origin) ?? 0) + 1;
    if (batch.kind === 'part') return this.#takePart(batch, next);
    for (const { counter, time, changes } of batch.transactions) {
      if (counter === (this.#counters.get(batch.origin) ?? 0) + 1)
        this.#commit(batch.origin, counter, time, batch.tables, changes);
    }
  }

  #takePart(batch: PartBatch, next: number): void {
    const { origin, firstCounter: counter } = batch;
    if (counter !== next) return;
    const kept = this.#parts.get(origin);
    const bodies = kept?.counter === counter ? kept.bodies : [];
    if (batch.part !== bodies.length) return;
    bodies.push(batch.body);
    this.#parts.set(origin, { counter, bodies });
    if (batch.last)
      this.#commit(origin, counter, batch.time, batch.tables, [...decodeChanges(bodies, batch.tables)]);
  }

  #commit(
    origin: string,
    counter: number,
    time: number,
    tables: readonly DictionaryTable[],
    changes: readonly Change[],
  ): void {
    this.#counters.set(origin, counter);
    this.transactions.push({
      origin,
      counter,
      time,
      changes: changes.map((change) => named(change, tables)),
    });
  }
}

export function named(change: Change, tables: readonly DictionaryTable[]): ModelChange {
  return { op: change.op, table: tables[change.table]?.name ?? '', row: change.row };
}
