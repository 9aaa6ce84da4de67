import type { Connection } from './connection.js';
import { allLots, sizesOf, WRITTEN_BYTES, WRITTEN_ROWS, type Lot } from './kept-lots.js';
import { MISSING, sameKey } from './kept-rows.js';
import { quoteName } from './identifiers.js';
import { collated, columnName, type TrackedTable } from './local-table.js';
import { keptTable } from './metadata.js';
import { neededFirst, needsOf, type Needs } from './needed-first.js';
import { isCaptured, referencesBetween, type TableReference } from './references.js';

/** A kept row: its table's place among the tables, and its number. */
interface KeptRow {
  readonly table: number;
  readonly row: number;
}

/** A kept row, and one that it needs. */
type Pair = readonly [number, number];

/**
 * An order in which kept rows can be written a few at a time, each after all that it needs: the row
 * that it refers to; the one whose unique value it takes; before a row is deleted, those that refer
 * to it. What needs each other goes together. Made once for many writes, since it looks at all kept
 * rows; memory grows with their number.
 */
export class KeptOrder {
  #hasWritten = false;
  readonly #rows: readonly KeptRow[];
  readonly #needs: Needs;
  readonly #groups: readonly (readonly number[])[];
  /** Groups before it are written or were refused. */
  #at = 0;
  /** By row: 1 when it was refused, or needs one that was. */
  readonly #refused: Uint8Array;
  /** Rows that go in one write; fewer after a refusal, to find out which of them it is. */
  #room = WRITTEN_ROWS;

  constructor(
    private readonly connection: Connection,
    /** Parents first. */
    private readonly tables: readonly TrackedTable[],
  ) {
    const nodes = new Nodes(tables, allLots(connection, tables));
    this.#rows = nodes.rows;
    this.#refused = new Uint8Array(nodes.rows.length);
    this.#needs = needsOf(nodes.rows.length, pairsOf(connection, tables, nodes));
    this.#groups = neededFirst(this.#needs);
  }

  isOf(tables: readonly TrackedTable[]): boolean {
    return (
      tables.length === this.tables.length &&
      tables.every((table) => this.tables.some(({ id }) => id === table.id))
    );
  }

  /** Something of it was written: what was refused before may go now. */
  get hasWritten(): boolean {
    return this.#hasWritten;
  }

  written(): void {
    this.#hasWritten = true;
    this.#room = Math.min(2 * this.#room, WRITTEN_ROWS);
  }

  /** One write after the other. Whoever asks for the next one was refused the one before. */
  *lots(): Generator<readonly Lot[]> {
    while (this.#at < this.#groups.length) {
      const { chosen, end } = this.#next();
      const nodes = chosen.flat();
      if (nodes.length > 0) yield this.#lotsOf(nodes);
      if (chosen.length > 1) this.#room = Math.ceil(nodes.length / 2);
      else {
        for (const node of nodes) this.#refused[node] = 1;
        this.#at = end;
      }
    }
  }

  /** Groups of which there are rows left to write. */
  #next(): { readonly chosen: readonly (readonly number[])[]; readonly end: number } {
    const groups = this.#candidates();
    const sizes = this.#sizes(groups.flat());
    const chosen: (readonly number[])[] = [];
    let bytes = 0;
    let end = this.#at;
    for (const group of groups) {
      const rows = group.filter((node) => sizes.has(node));
      const size = rows.reduce((sum, node) => sum + (sizes.get(node) ?? 0), 0);
      if (chosen.length > 0 && bytes + size > WRITTEN_BYTES) break;
      if (rows.length > 0) chosen.push(rows);
      bytes += size;
      end++;
    }
    return { chosen, end };
  }

  /**
   * From where it is on; what needs a row that was refused is left out. What needs each other goes
   * together.
   */
  #candidates(): readonly (readonly number[])[] {
    const groups: (readonly number[])[] = [];
    let rows = 0;
    for (let at = this.#at; at < this.#groups.length; at++) {
      const group = this.#groups[at] ?? [];
      const isRefused = group.some((node) => this.#needsRefused(node));
      if (isRefused) for (const node of group) this.#refused[node] = 1;
      else if (rows > 0 && rows + group.length > this.#room) break;
      else rows += group.length;
      groups.push(isRefused ? [] : group);
    }
    return groups;
  }

  #needsRefused(node: number): boolean {
    const { first, needed } = this.#needs;
    const end = first[node + 1] ?? 0;
    for (let at = first[node] ?? 0; at < end; at++) if (this.#refused[needed[at] ?? node] === 1) return true;
    return false;
  }

  #sizes(nodes: readonly number[]): ReadonlyMap<number, number> {
    const sizes = new Map<number, number>();
    const byTable = this.#lotsOf(nodes).map((lot) => [lot.table, sizesOf(this.connection, lot)] as const);
    const ofTable = new Map(byTable);
    for (const node of nodes) {
      const { table = 0, row = 0 } = this.#rows[node] ?? {};
      const tracked = this.tables[table];
      const size = tracked === undefined ? undefined : ofTable.get(tracked)?.get(row);
      if (size !== undefined) sizes.set(node, size);
    }
    return sizes;
  }

  #lotsOf(nodes: readonly number[]): readonly Lot[] {
    return this.tables.flatMap((table, place) => {
      const rows = nodes.flatMap((node) => {
        const kept = this.#rows[node];
        return kept?.table === place ? [kept.row] : [];
      });
      return rows.length === 0 ? [] : [{ table, rows: rows.sort((one, other) => one - other) }];
    });
  }
}

/** Kept rows as numbers from 0 on. */
class Nodes {
  readonly rows: readonly KeptRow[];
  readonly #numbers = new Map<TrackedTable, ReadonlyMap<number, number>>();

  constructor(tables: readonly TrackedTable[], lots: readonly Lot[]) {
    const rows: KeptRow[] = [];
    for (const lot of lots) {
      const table = tables.indexOf(lot.table);
      const first = rows.length;
      this.#numbers.set(lot.table, new Map(lot.rows.map((row, index) => [row, first + index])));
      for (const row of lot.rows) rows.push({ table, row });
    }
    this.rows = rows;
  }

  of(table: TrackedTable, row: number): number | undefined {
    return this.#numbers.get(table)?.get(row);
  }
}

function pairsOf(connection: Connection, tables: readonly TrackedTable[], nodes: Nodes): readonly Pair[] {
  const pairs: Pair[] = [];
  const add = (table: TrackedTable, needed: TrackedTable, sql: string): void => {
    for (const pair of connection.db.prepare(sql, 'array').iterate() as IterableIterator<[number, number]>) {
      const [one, other] = [nodes.of(table, pair[0]), nodes.of(needed, pair[1])];
      if (one !== undefined && other !== undefined) pairs.push([one, other]);
    }
  };
  for (const reference of referencesBetween(tables).filter(isCaptured)) {
    const { child, parent } = reference;
    add(child, parent, parentsOf(reference));
    add(parent, child, childrenOf(reference));
  }
  for (const table of tables)
    for (const { columns, where } of table.uniqueIndexes)
      if (where === undefined) add(table, table, holdersOf(table, columns));
  return pairs;
}

/** Of rows to be written: the one that each refers to, where it is not there yet. */
function parentsOf({ child, parent, pairs }: TableReference): string {
  const refersTo = (row: string): string =>
    pairs
      .map(({ from = 0, to }) => {
        const value = collated(parent, `c.${columnName(child, from)}`, to);
        return `${row}.${columnName(parent, to.column)} = ${value}`;
      })
      .join(' AND ');
  return (
    `SELECT c._antiphon_rowid, p._antiphon_rowid FROM ${keptTable(child)} AS c ` +
    `JOIN ${keptTable(parent)} AS p ON ${refersTo('p')} ` +
    `WHERE c._antiphon_kind <> '${MISSING}' AND p._antiphon_kind <> '${MISSING}' ` +
    `AND NOT EXISTS (SELECT 1 FROM ${quoteName(parent.name)} AS r WHERE ${refersTo('r')})`
  );
}

/** Of rows to be deleted: those that refer to each as long as nothing is written of them. */
function childrenOf({ child, parent, pairs }: TableReference): string {
  const refers = pairs
    .map(({ from = 0, to }) => {
      const value = collated(parent, `p.${columnName(parent, to.column)}`, to);
      return `r.${columnName(child, from)} = ${value}`;
    })
    .join(' AND ');
  return (
    `SELECT p._antiphon_rowid, c._antiphon_rowid FROM ${keptTable(parent)} AS p ` +
    `JOIN ${quoteName(child.name)} AS r ON ${refers} ` +
    `JOIN ${keptTable(child)} AS c ON ${sameKey(child, 'c', 'r')} WHERE p._antiphon_kind = '${MISSING}'`
  );
}

/** Of rows to be written: the one that has a unique value of theirs now. */
function holdersOf(table: TrackedTable, columns: TrackedTable['key']): string {
  const holds = columns
    .map(({ column, collation }) => {
      const name = columnName(table, column);
      return `r.${name} = k.${name} COLLATE ${quoteName(collation)}`;
    })
    .join(' AND ');
  return (
    `SELECT k._antiphon_rowid, h._antiphon_rowid FROM ${keptTable(table)} AS k ` +
    `JOIN ${quoteName(table.name)} AS r ON ${holds} ` +
    `JOIN ${keptTable(table)} AS h ON ${sameKey(table, 'h', 'r')} ` +
    `WHERE k._antiphon_kind <> '${MISSING}' AND NOT (${sameKey(table, 'k', 'r')})`
  );
}
