import type { Row } from '@antiphon/core';
import type { TrackedTable } from './local-table.js';
import type { Stamp } from './versions.js';

/** Changes of one table that wait to be written together: all of one kind, in order. */
export interface RowRun {
  readonly table: TrackedTable;
  readonly kind: 'upsert' | 'delete';
  readonly rows: readonly Row[];
  /** One per row. */
  readonly stamps: readonly Stamp[];
}

/** A run is written when it has this many rows. */
const MAX_RUN_ROWS = 256;

/**
 * Regroups changes into runs. The order within a table is kept; between tables it need not be,
 * since foreign keys rest while changes are applied.
 */
export class ApplyQueue {
  #runs = new Map<number, { table: TrackedTable; kind: 'upsert' | 'delete'; rows: Row[]; stamps: Stamp[] }>();

  constructor(private readonly write: (run: RowRun) => void) {}

  add(table: TrackedTable, kind: 'upsert' | 'delete', row: Row, stamp: Stamp): void {
    let run = this.#runs.get(table.id);
    if (run === undefined) {
      run = { table, kind, rows: [], stamps: [] };
      this.#runs.set(table.id, run);
    } else if (run.kind !== kind) {
      this.#flush(run);
      run.kind = kind;
    }
    run.rows.push(row);
    run.stamps.push(stamp);
    if (run.rows.length >= MAX_RUN_ROWS) this.#flush(run);
  }

  flush(): void {
    for (const run of this.#runs.values()) this.#flush(run);
  }

  /** Forgets what was not written: its transaction was rolled back. */
  clear(): void {
    // Not clear(): V8 keeps what a cleared map held, and its successors, until it collects the old
    // generation.
    this.#runs = new Map();
  }

  #flush(run: { table: TrackedTable; kind: 'upsert' | 'delete'; rows: Row[]; stamps: Stamp[] }): void {
    if (run.rows.length === 0) return;
    const { rows, stamps } = run;
    run.rows = [];
    run.stamps = [];
    this.write({ table: run.table, kind: run.kind, rows, stamps });
  }
}
