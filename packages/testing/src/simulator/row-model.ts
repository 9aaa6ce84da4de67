import type { MemoryTable } from '../memory/store/index.js';
import { keyTextOf } from '../memory/store/key-order.js';
import { CompiledTable } from '../memory/store/table.js';
import type { Row } from '@antiphon/core';
import type { ModelTransaction } from './log-model.js';

interface Written {
  readonly key: string;
  /** undefined: deleted. */
  readonly row: Row | undefined;
  readonly by: ModelTransaction;
}

/** The rows that a set of transactions leaves behind, by table and key; worked out the slow and obvious way. */
export class RowModel {
  readonly #tables: readonly CompiledTable[];

  constructor(
    tables: readonly MemoryTable[],
    /** Otherwise transactions are taken in the order of the log, those of the one writer that are not there yet in theirs. */
    private readonly lastWriterWins: boolean,
  ) {
    this.#tables = tables.map((table) => new CompiledTable(table));
  }

  /** Visible rows: table name → key → row. */
  rows(transactions: readonly ModelTransaction[]): ReadonlyMap<string, ReadonlyMap<string, Row>> {
    const ordered = [...transactions].sort(this.lastWriterWins ? byVersion : byPlace);
    return new Map(this.#tables.map((table) => [table.name, this.#visible(table, ordered)]));
  }

  #visible(table: CompiledTable, ordered: readonly ModelTransaction[]): ReadonlyMap<string, Row> {
    const written = new Map<string, Written>();
    for (const by of ordered) {
      for (const change of by.changes) {
        if (change.table !== table.name) continue;
        const key = keyTextOf(table.schema, change.row);
        written.set(key, { key, row: change.op === 'delete' ? undefined : change.row, by });
      }
    }
    const visible = new Map<string, Row>();
    const latestFirst = [...written.values()].sort(
      (a, b) => byVersion(b.by, a.by) || (a.key < b.key ? -1 : 1),
    );
    const taken = new Set<string>();
    for (const { key, row } of latestFirst) {
      if (row === undefined) continue;
      const texts = table
        .uniqueTexts(row)
        .flatMap((text, set) => (text === undefined ? [] : [`${set} ${text}`]));
      if (this.lastWriterWins && texts.some((text) => taken.has(text))) continue;
      for (const text of texts) taken.add(text);
      visible.set(key, row);
    }
    return visible;
  }
}

function byPlace(a: ModelTransaction, b: ModelTransaction): number {
  const [first = Infinity, second = Infinity] = [a.seq, b.seq];
  return first === second ? a.counter - b.counter : first - second;
}

function byVersion(a: ModelTransaction, b: ModelTransaction): number {
  if (a.time !== b.time) return a.time - b.time;
  if (a.origin !== b.origin) return a.origin < b.origin ? -1 : 1;
  return a.counter - b.counter;
}
