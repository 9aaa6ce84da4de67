import type { Row } from '@antiphon/core';
import type { ModelTransaction } from './log-model.js';
import { keyTextOf, uniqueTexts, type SimulatedTable } from './table.js';

/** What one change leaves of a row. */
interface Written {
  readonly key: string;
  /** undefined: deleted. */
  readonly row: Row | undefined;
  readonly by: ModelTransaction;
  /** Of the change, which may have been made well before its transaction's. */
  readonly time: number;
}

/**
 * The rows that a set of transactions leaves behind, by table and key; worked out the slow and
 * obvious way.
 */
export class RowModel {
  constructor(
    private readonly tables: readonly SimulatedTable[],
    /**
     * Otherwise transactions are taken in the order of the log, those of the one writer that are
     * not there yet in theirs.
     */
    readonly lastWriterWins: boolean,
  ) {}

  /** Visible rows: table name → key → row. */
  rows(transactions: readonly ModelTransaction[]): ReadonlyMap<string, ReadonlyMap<string, Row>> {
    return new Map(this.tables.map((table) => [table.name, this.#visible(table, transactions)]));
  }

  #visible(table: SimulatedTable, transactions: readonly ModelTransaction[]): ReadonlyMap<string, Row> {
    return this.lastWriterWins ? visibleByVersion(table, transactions) : visibleByPlace(table, transactions);
  }
}

/** Of two rows that want one unique value, the one with the higher version is visible. */
function visibleByVersion(
  table: SimulatedTable,
  transactions: readonly ModelTransaction[],
): ReadonlyMap<string, Row> {
  const changes = transactions.flatMap((by) => writtenBy(by, table));
  // Equal ones are of one transaction: the order in which it made them stays.
  changes.sort(byVersion);
  const written = new Map<string, Written>();
  for (const change of changes) written.set(change.key, change);
  const visible = new Map<string, Row>();
  const latestFirst = [...written.values()].sort((a, b) => byVersion(b, a) || (a.key < b.key ? -1 : 1));
  const taken = new Set<string>();
  for (const { key, row } of latestFirst) {
    if (row === undefined) continue;
    const texts = takenBy(table, row);
    if (texts.some((text) => taken.has(text))) continue;
    for (const text of texts) taken.add(text);
    visible.set(key, row);
  }
  return visible;
}

/** A row gives way to one that a later transaction gives its unique value. */
function visibleByPlace(
  table: SimulatedTable,
  transactions: readonly ModelTransaction[],
): ReadonlyMap<string, Row> {
  const visible = new Map<string, Row>();
  for (const by of [...transactions].sort(byPlace)) {
    const written = new Map(writtenBy(by, table).map(({ key, row }) => [key, row]));
    for (const key of written.keys()) visible.delete(key);
    for (const [key, row] of written) {
      if (row === undefined) continue;
      const taken = takenBy(table, row);
      for (const [other, old] of visible)
        if (takenBy(table, old).some((text) => taken.includes(text))) visible.delete(other);
      visible.set(key, row);
    }
  }
  return visible;
}

function takenBy(table: SimulatedTable, row: Row): readonly string[] {
  return uniqueTexts(table, row).flatMap((text, set) => (text === undefined ? [] : [`${set} ${text}`]));
}

function writtenBy(by: ModelTransaction, table: SimulatedTable): readonly Written[] {
  return by.changes
    .filter((change) => change.table === table.name)
    .map(({ op, row, earlierUs = 0 }) => ({
      key: keyTextOf(table, row),
      row: op === 'delete' ? undefined : row,
      by,
      time: by.time - earlierUs,
    }));
}

function byPlace(a: ModelTransaction, b: ModelTransaction): number {
  const [first = Infinity, second = Infinity] = [a.seq, b.seq];
  return first === second ? a.counter - b.counter : first - second;
}

function byVersion(a: Written, b: Written): number {
  if (a.time !== b.time) return a.time - b.time;
  if (a.by.origin !== b.by.origin) return a.by.origin < b.by.origin ? -1 : 1;
  return a.by.counter - b.by.counter;
}
