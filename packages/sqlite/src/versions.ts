import {
  counterOf,
  wins,
  type Row,
  type RowConflict,
  TaggedValue,
  type Value,
  type VectorClock,
  type Version,
} from '@antiphon/core';
import type { Connection } from './connection.js';
import { isBindFailure, isNullViolation } from './errors.js';
import { FIRST_CLAIM, OUTBOX_DELETE } from './outbox-kinds.js';
import { keyBytesOftenDiffer, LEAST_INTEGER, mayBeLeastReal, type TrackedTable } from './local-table.js';
import { keyNames, versionTable } from './metadata.js';
import { nextSize } from './row-statements.js';
import { bindingOf, type SqliteValue } from './values.js';

/** What every change of one transaction shares. */
export interface Stamp extends Version {
  /** What its origin had applied before it. */
  readonly context: VectorClock;
}

export interface Verdict {
  /** Rows to write, in order. */
  readonly rows: readonly Row[];
  readonly conflicts: readonly Contested[];
}

/** A row that a change met which did not know it; looked at before the change is written. */
export interface Contested extends Pick<RowConflict, 'key' | 'winner' | 'loser'> {
  /** The change is the winner. */
  readonly won: boolean;
  /** What it makes of the row; absent where it deletes it. */
  readonly row?: Row;
  /**
   * A change of the same run that was admitted before it, and is not written yet: the other one.
   * `row` is absent where that deletes the row.
   */
  readonly before?: { readonly row?: Row };
}

const NONE: readonly Contested[] = [];

interface StoredVersion extends Version {
  readonly dead: number;
}

/**
 * Version per row: `(hybrid time, origin, counter)`, highest wins, deleted rows included.
 * Statements expect every change to succeed what it finds, many rows at once; only when one does
 * not are the rows looked at one by one.
 */
export class RowVersions {
  constructor(private readonly connection: Connection) {}

  /** Own changes in the outbox rows (from, to]: they succeed whatever is there. */
  stampSealed(tables: readonly TrackedTable[], from: number, to: number, version: Version): void {
    for (const table of tables) {
      this.connection
        .statement(this.#stampSql(table))
        .run(version.time, version.origin, version.counter, from, to);
    }
  }

  readonly #stamps = new Map<number, string>();

  #stampSql(table: TrackedTable): string {
    const known = this.#stamps.get(table.id);
    if (known !== undefined) return known;
    const keys = versionKey(
      table,
      table.key.map(({ column }) => `CASE op WHEN ${OUTBOX_DELETE} THEN o${column} ELSE n${column} END`),
    );
    const sql =
      `INSERT INTO ${versionTable(table)} SELECT ${keys}, ?, ?, ?, op = ${OUTBOX_DELETE} FROM _antiphon_outbox ` +
      `WHERE seq > ? AND seq <= ? AND t = ${table.id} AND op < ${FIRST_CLAIM} ORDER BY seq ${this.#onConflict(table)}`;
    this.#stamps.set(table.id, sql);
    return sql;
  }

  #onConflict(table: TrackedTable, time = 'excluded.time'): string {
    const differing = table.key.flatMap((part, index) =>
      keyBytesOftenDiffer(table, part) ? [`k${index}`] : [],
    );
    const set = [...differing, 'origin', 'counter', 'dead'].map((name) => `${name} = excluded.${name}`);
    return `ON CONFLICT (${keyNames(table).join(', ')}) DO UPDATE SET time = ${time}, ${set.join(', ')}`;
  }

  /** Decides which of these remote changes win, and stores their versions. */
  admit(table: TrackedTable, rows: readonly Row[], stamps: readonly Stamp[], dead: boolean): Verdict {
    const context = commonContext(stamps);
    const keyWidth = table.key.length;
    for (let from = 0; from < rows.length;) {
      const size = nextSize(rows.length - from, keyWidth + 3);
      let changes: number;
      try {
        changes = this.#expectSuccession(table, rows, stamps, from, size, dead, context);
      } catch (thrown) {
        if (!isBindFailure(thrown) && !isNullViolation(thrown)) throw thrown;
        changes = -1;
      }
      if (changes !== size) return this.#oneByOne(table, rows, stamps, from, dead);
      from += size;
    }
    return { rows, conflicts: NONE };
  }

  /**
   * Stores all versions, each of which succeeds one that its origin knew, or else fails as a whole
   * and stores none.
   */
  #expectSuccession(
    table: TrackedTable,
    rows: readonly Row[],
    stamps: readonly Stamp[],
    from: number,
    size: number,
    dead: boolean,
    context: readonly (readonly [string, number])[],
  ): number {
    const first = stamps[from] as Stamp;
    let shared = true;
    for (let index = 1; index < size && shared; index++) shared = stamps[from + index] === first;
    const parameters: SqliteValue[] = [];
    if (shared) parameters.push(first.time, first.origin, first.counter);
    for (let index = 0; index < size; index++) {
      const row = rows[from + index] as Row;
      for (const { column } of table.key) parameters.push(row[column] as SqliteValue);
      if (shared) continue;
      const stamp = stamps[from + index] as Stamp;
      parameters.push(stamp.time, stamp.origin, stamp.counter);
    }
    for (const [origin, counter] of context) parameters.push(origin, counter);
    return this.connection
      .statement(this.#successionSql(table, size, shared, dead, context.length))
      .run(...parameters).changes;
  }

  readonly #successions = new Map<string, string>();

  #successionSql(table: TrackedTable, size: number, shared: boolean, dead: boolean, origins: number): string {
    const cacheKey = `${table.id}/${size}/${shared}/${dead}/${origins}`;
    const known = this.#successions.get(cacheKey);
    if (known !== undefined) return known;
    const name = versionTable(table);
    const seen = origins === 0 ? '0' : `CASE ${name}.origin ${'WHEN ? THEN ? '.repeat(origins)}ELSE 0 END`;
    const tuple = (width: number): string => `(${new Array<string>(width).fill('?').join(', ')})`;
    const tuples = (width: number): string =>
      `(VALUES ${new Array<string>(size).fill(tuple(width)).join(', ')}) AS r`;
    const column = (alias: string, from: number, count: number): string =>
      Array.from({ length: count }, (_, index) => `${alias}.column${from + index}`).join(', ');
    const keys = table.key.length;
    // Rows of one transaction share their version: it is bound once.
    const key = versionKey(
      table,
      table.key.map((_, index) => `r.column${1 + index}`),
    );
    const source = shared
      ? `SELECT ${key}, ${column('s', 1, 3)}, ${dead ? 1 : 0} FROM (VALUES (?, ?, ?)) AS s CROSS JOIN ${tuples(keys)} WHERE true`
      : `SELECT ${key}, ${column('r', keys + 1, 3)}, ${dead ? 1 : 0} FROM ${tuples(keys + 3)} WHERE true`;
    const succeeds =
      `(excluded.time, excluded.origin, excluded.counter) >= (${name}.time, ${name}.origin, ${name}.counter) ` +
      `AND (${name}.origin = excluded.origin OR ${name}.counter <= ${seen})`;
    // A time must not be NULL, so SQLite takes back the whole statement: what comes later in the
    // run would hide the conflict.
    const sql = `INSERT INTO ${name} ${source} ${this.#onConflict(table, `iif(${succeeds}, excluded.time, NULL)`)}`;
    if (this.#successions.size > 1000) this.#successions.clear();
    this.#successions.set(cacheKey, sql);
    return sql;
  }

  /** From row `from` on. */
  #oneByOne(
    table: TrackedTable,
    rows: readonly Row[],
    stamps: readonly Stamp[],
    from: number,
    dead: boolean,
  ): Verdict {
    const winners = rows.slice(0, from);
    const admitted = winners.map((_, index) => index);
    const conflicts: Contested[] = [];
    for (let index = from; index < rows.length; index++) {
      const row = rows[index] as Row;
      const stamp = stamps[index] as Stamp;
      const stored = this.versionOf(table, row);
      const won = wins(stamp, stored);
      if (stored !== undefined && isConflict(stamp, stored, won)) {
        const [winner, loser] = won ? [stamp, stored] : [stored, stamp];
        const before = admitted.findLast(
          (one) => isSameVersion(stamps[one] as Stamp, stored) && isSameKey(table, rows[one] as Row, row),
        );
        conflicts.push({
          key: table.key.map(({ column }) => row[column] as Value),
          winner: versionOnly(winner),
          loser: versionOnly(loser),
          won,
          ...(!dead && { row }),
          ...(before !== undefined && { before: dead ? {} : { row: rows[before] as Row } }),
        });
      }
      if (!won) continue;
      this.#put(table, row, stamp, dead);
      winners.push(row);
      admitted.push(index);
    }
    return { rows: winners, conflicts };
  }

  /** The version of the row with this row's key, whether it is there, deleted or hidden. */
  versionOf(table: TrackedTable, row: Row): StoredVersion | undefined {
    const bindings = table.key.map(({ column }) => bindingOf(row[column] as Value));
    const condition = bindings.map(({ expression }, index) => `k${index} = ${expression}`).join(' AND ');
    return this.connection
      .statement(`SELECT time, origin, counter, dead FROM ${versionTable(table)} WHERE ${condition}`)
      .get(...bindings.map(({ value }) => value)) as StoredVersion | undefined;
  }

  #put(table: TrackedTable, row: Row, stamp: Version, dead: boolean): void {
    const bindings = table.key.map(({ column }) => bindingOf(row[column] as Value));
    const keys = versionKey(
      table,
      bindings.map(({ expression }) => expression),
    );
    this.connection
      .statement(
        `INSERT INTO ${versionTable(table)} VALUES (${keys}, ?, ?, ?, ${dead ? 1 : 0}) ${this.#onConflict(table)}`,
      )
      .run(...bindings.map(({ value }) => value), stamp.time, stamp.origin, stamp.counter);
  }
}

/** A version is of both forms of a least integer, so it is kept under one of them. */
function versionKey(table: TrackedTable, expressions: readonly string[]): string {
  const forms = table.key.map((part, index) => {
    const expression = expressions[index] ?? '?';
    return mayBeLeastReal(table, part)
      ? `ifnull(nullif(${expression}, ${LEAST_INTEGER}), ${LEAST_INTEGER})`
      : expression;
  });
  return forms.join(', ');
}

/**
 * What every one of these transactions' origins had applied of others: what succeeds this for all
 * succeeds it for each.
 */
function commonContext(stamps: readonly Stamp[]): (readonly [string, number])[] {
  const [first] = stamps;
  if (first === undefined) return [];
  let common: Record<string, number> | undefined;
  let previous = first;
  for (const stamp of stamps) {
    if (stamp === previous || (stamp.context === previous.context && stamp.origin === previous.origin))
      continue;
    previous = stamp;
    common ??= { ...first.context };
    for (const origin of Object.keys(common)) {
      if (origin !== stamp.origin)
        common[origin] = Math.min(common[origin] ?? 0, counterOf(stamp.context, origin));
    }
  }
  return Object.entries(common ?? first.context);
}

/**
 * The origin of the one did not know the other: a lost change always, unless it is its own
 * origin's.
 */
function isConflict(stamp: Stamp, stored: Version, won: boolean): boolean {
  if (stored.origin === stamp.origin) return false;
  return !won || stored.counter > counterOf(stamp.context, stored.origin);
}

function isSameVersion(one: Version, another: Version): boolean {
  return one.time === another.time && one.origin === another.origin && one.counter === another.counter;
}

/** Of one transaction there are few keys that differ only in what a collation passes over. */
function isSameKey(table: TrackedTable, one: Row, another: Row): boolean {
  return table.key.every(({ column }) => comparable(one[column]) === comparable(another[column]));
}

function comparable(value: Value | undefined): unknown {
  if (typeof value === 'string') return value.trimEnd().toLowerCase();
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof TaggedValue) return `tagged ${Buffer.from(value.bytes).toString('hex')}`;
  return value instanceof Uint8Array ? `bytes ${Buffer.from(value).toString('hex')}` : value;
}

function versionOnly({ time, origin, counter }: Version): Version {
  return { time, origin, counter };
}
