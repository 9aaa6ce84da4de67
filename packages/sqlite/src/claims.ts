import { claimOf, type BatchEncoder, type NamedClaim, type Row, type Value } from '@antiphon/core';
import { comparedValue, type Comparison } from './claim-values.js';
import type { IndexedColumn, LocalTable, TrackedTable } from './local-table.js';
import type { LockedRow } from './locks.js';
import type { ChangeSink, ClaimSink } from './outbox-encoder.js';
import { isCaptured, referencesBetween, type TableReference } from './references.js';

interface ComparedColumn extends Comparison {
  /** Index into the row that the claim is about. */
  readonly column: number;
}

/** A kind of claim that rows of one table make. */
interface ClaimKind {
  readonly space: 'row' | 'unique' | 'reference';
  readonly mode: 'exclusive' | 'shared';
  /** What the claim is known by: a table, with its columns where it is not the primary key's. */
  readonly name: string;
  readonly columns: readonly ComparedColumn[];
  /** Of a partial index: any change of a row may bring it into the index. */
  readonly partial: boolean;
}

/** What changes of one table claim. */
interface TableClaims {
  readonly table: TrackedTable;
  readonly row: ClaimKind;
  readonly locked: ClaimKind;
  readonly unique: readonly ClaimKind[];
  /** As a child: what its rows refer to, as far as their images show it. */
  readonly refers: readonly ClaimKind[];
  /** All that its rows refer to, by number; of values in the order of the foreign key. */
  readonly references: readonly ClaimKind[];
  /** As a parent: what rows of replicated tables refer to. */
  readonly referred: readonly ClaimKind[];
}

/** What changes claim, by table number. */
export type ClaimRules = ReadonlyMap<number, TableClaims>;

export function claimRules(tables: readonly TrackedTable[]): ClaimRules {
  const references = referencesBetween(tables).map(claimsOf);
  return new Map(
    tables.map((table) => [
      table.id,
      {
        table,
        row: rowKind(table, 'exclusive'),
        locked: rowKind(table, 'shared'),
        unique: table.uniqueIndexes.map((index): ClaimKind => ({
          space: 'unique',
          mode: 'exclusive',
          name: named(table, index.columns),
          columns: index.columns.map((part) => compared(table, part, false)),
          partial: index.where !== undefined,
        })),
        refers: references.flatMap(({ child, refers }) => (child === table ? (refers ?? []) : [])),
        references: references.filter(({ child }) => child === table).map(({ inOrder }) => inOrder),
        referred: distinct(
          references.filter(({ parent }) => parent === table).map(({ referred }) => referred),
        ),
      },
    ]),
  );
}

function rowKind(table: TrackedTable, mode: 'exclusive' | 'shared'): ClaimKind {
  const columns = table.key.map((part) => compared(table, part, false));
  // A rowid is a number, whatever its column was called.
  const rowid = columns.map((column): ComparedColumn => ({ ...column, affinity: 'integer' }));
  return { space: 'row', mode, name: table.name, columns: table.rowidKey ? rowid : columns, partial: false };
}

function compared(table: LocalTable, { column, collation }: IndexedColumn, loose: boolean): ComparedColumn {
  const affinity = table.columns[column]?.affinity ?? 'none';
  return { column, affinity, collation: collation.toUpperCase(), loose };
}

function named(table: LocalTable, columns: readonly IndexedColumn[]): string {
  return `${table.name}(${columns.map(({ column }) => table.columns[column]?.name ?? '?').join(',')})`;
}

interface Reference {
  readonly child: TrackedTable;
  readonly parent: TrackedTable;
  /** Of an image of the child; undefined where images do not show it. */
  readonly refers: ClaimKind | undefined;
  /** Of the values alone, in the order of the foreign key. */
  readonly inOrder: ClaimKind;
  readonly referred: ClaimKind;
}

/** The claims of both sides, under one name and in one order of the columns. */
function claimsOf(reference: TableReference): Reference {
  const { child, parent, pairs } = reference;
  const sorted = pairs.map((pair, place) => ({ ...pair, place })).sort((a, b) => a.to.column - b.to.column);
  const columns = sorted.map(({ to }) => compared(parent, to, true));
  const name = named(
    parent,
    sorted.map(({ to }) => to),
  );
  const refers = (of: (pair: (typeof sorted)[number]) => number | undefined): ClaimKind => ({
    ...{ space: 'reference', mode: 'shared', name, partial: false },
    columns: columns.map((column, index) => {
      const pair = sorted[index];
      return { ...column, column: (pair && of(pair)) ?? 0 };
    }),
  });
  return {
    child,
    parent,
    referred: { space: 'reference', mode: 'exclusive', name, columns, partial: false },
    refers: isCaptured(reference) ? refers(({ from }) => from) : undefined,
    inOrder: refers(({ place }) => place),
  };
}

function distinct(kinds: readonly ClaimKind[]): ClaimKind[] {
  return [...new Map(kinds.map((kind) => [kind.name, kind])).values()];
}

/** Passes changes on, and notes what each transaction of them claims. */
export class ClaimCollector implements ChangeSink, ClaimSink {
  #claims: NamedClaim[] = [];
  #seen = new Set<number>();
  /** Shared claims of rows that kept others out. */
  #found = new Set<number>();

  constructor(
    private readonly rules: ClaimRules,
    private readonly encoder: BatchEncoder,
    /** The table number behind an index of the dictionary. */
    private readonly tableIdAt: (index: number) => number,
  ) {}

  get count(): number {
    return this.#claims.length;
  }

  /** What was claimed since the last call, each once. */
  take(): readonly NamedClaim[] {
    // Who has found a row and written it needs no share of it.
    const claims =
      this.#found.size === 0
        ? this.#claims
        : this.#claims.filter(({ claim }) => !this.#found.has(claim) || !this.#seen.has(claim - 1));
    this.#found = new Set();
    this.#claims = [];
    this.#seen = new Set();
    return claims;
  }

  lock({ table, key }: LockedRow): void {
    const rule = this.rules.get(table.id);
    if (rule === undefined) return;
    const columns = rule.locked.columns.map((column, index) => ({ ...column, column: index }));
    this.#claim(rule, { ...rule.locked, columns }, (column) => key[column] ?? null);
  }

  insert(index: number, row: Row): void {
    this.encoder.insert(index, row);
    const rule = this.#rule(index);
    const value = (column: number): Value => row[column] ?? null;
    this.#claim(rule, rule.row, value);
    for (const kind of rule.unique) this.#claim(rule, kind, value);
    for (const kind of rule.refers) this.#claim(rule, kind, value);
  }

  update(index: number, row: Row, changed: readonly number[], before: readonly Value[]): void {
    this.encoder.update(index, row, changed, before);
    const rule = this.#rule(index);
    const value = (column: number): Value => row[column] ?? null;
    const old = (column: number): Value => {
      const at = changed.indexOf(column);
      return (at < 0 ? row[column] : before[at]) ?? null;
    };
    this.#claim(rule, rule.row, value);
    for (const kind of rule.unique)
      if (kind.partial || touches(kind, changed)) this.#claim(rule, kind, value);
    for (const kind of rule.refers) if (touches(kind, changed)) this.#claim(rule, kind, value);
    for (const kind of rule.referred) if (touches(kind, changed)) this.#claim(rule, kind, old);
  }

  delete(index: number, row: Row): void {
    this.encoder.delete(index, row);
    const rule = this.#rule(index);
    const value = (column: number): Value => row[column] ?? null;
    this.#claim(rule, rule.row, value);
    for (const kind of rule.referred) this.#claim(rule, kind, value);
  }

  touched(tableId: number, row: Row): void {
    const rule = this.#ruleOf(tableId);
    this.#claim(rule, rule.row, (column) => row[column] ?? null);
  }

  found(tableId: number, row: Row): void {
    const rule = this.#ruleOf(tableId);
    const claim = this.#claim(rule, rule.locked, (column) => row[column] ?? null);
    if (claim !== undefined) this.#found.add(claim);
  }

  replaced(tableId: number, row: Row): void {
    const rule = this.#ruleOf(tableId);
    for (const kind of [rule.row, ...rule.referred]) this.#claim(rule, kind, (column) => row[column] ?? null);
  }

  referring(tableId: number, reference: number, values: readonly Value[]): void {
    const rule = this.#ruleOf(tableId);
    const kind = rule.references[reference];
    if (kind !== undefined) this.#claim(rule, kind, (place) => values[place] ?? null);
  }

  #rule(index: number): TableClaims {
    return this.#ruleOf(this.tableIdAt(index));
  }

  #ruleOf(tableId: number): TableClaims {
    const rule = this.rules.get(tableId);
    if (rule === undefined) throw new TypeError('changes of a table without rules');
    return rule;
  }

  /** Returns the claim if it is a new one. */
  #claim({ table }: TableClaims, kind: ClaimKind, valueOf: (column: number) => Value): number | undefined {
    const key = kind.columns.map(({ column }) => valueOf(column));
    // NULL is equal to nothing: no unique index minds it, no foreign key asks for it.
    if (key.includes(null)) return undefined;
    const values = kind.columns.map((column, index) => comparedValue(key[index] ?? null, column));
    const claim = claimOf(kind.space, kind.name, values, kind.mode);
    if (this.#seen.has(claim)) return undefined;
    this.#seen.add(claim);
    this.#claims.push({ claim, table: table.name, key });
    return claim;
  }
}

function touches(kind: ClaimKind, changed: readonly number[]): boolean {
  return kind.columns.some(({ column }) => changed.includes(column));
}
