import {
  AntiphonError,
  DEFAULT_ROW_LIMITS,
  MAX_NAMED_DIFFERENCES,
  type RowDifferences,
  type RowLimits,
  type Value,
} from '@antiphon/core';
import { balanced } from './balanced.js';
import type { Connection } from './connection.js';
import { quoteName } from './identifiers.js';
import { collated, columnName, type TrackedTable } from './local-table.js';
import { hiddenTable } from './metadata.js';
import { FIRST_CLAIM, OUTBOX_DELETE, OUTBOX_INSERT, OUTBOX_SUSPECT } from './outbox-kinds.js';
import type { Pace } from './pace.js';
import { describeRowLimits, isStoredTooLarge } from './row-limits.js';

/** The database that what replication knows is attached as. */
export const KNOWN = '_antiphon_known';

/** Rows compared between two looks at the clock. */
const PAGE_ROWS = 2000;
/** What a key shows of a long text or BLOB. */
const SHOWN_LENGTH = 200;

export const CHANGED = 1;
export const ONLY_HERE = 2;
export const MISSING_HERE = 3;
export type DifferenceKind = typeof CHANGED | typeof ONLY_HERE | typeof MISSING_HERE;

/** Where the differences stand: `n0…` is a row as it is here, `o0…` as replication knows it. */
export const DIFFERENCES = 'temp._antiphon_differences';
/**
 * The newest captured image of each row that waits in the outbox: `v0…`, `k0…` its key, `dead` when
 * it was deleted.
 */
const CAPTURED = 'temp._antiphon_captured';
/** What each of these rows was when it was first captured; `absent` when there was none. */
const FIRST = 'temp._antiphon_first';
/** The key up to which a table was compared. */
const PLACE = 'temp._antiphon_place';

/**
 * How a table differs from what replication knows of it, row by row, in a temporary table. What
 * replication knows is in the attached database, but for what was captured and waits in the outbox:
 * that is newer. All of it in SQL, so that every value stays what it is. Inside the caller's
 * transaction.
 */
export class TableDifference {
  readonly #width: number;
  readonly #keys: readonly number[];

  constructor(
    private readonly connection: Connection,
    private readonly table: TrackedTable,
    /**
     * Some of its rows are hidden by a unique-key conflict: they are there, and not in the table.
     */
    private readonly hasHidden: boolean,
    private readonly limits: RowLimits = DEFAULT_ROW_LIMITS,
  ) {
    this.#width = table.columns.length;
    this.#keys = table.key.map(({ column }) => column);
  }

  async find(pace: Pace): Promise<void> {
    const { connection } = this;
    this.#begin();
    connection.db.exec(`CREATE TEMP TABLE _antiphon_place (${list(this.#keys.length, 'k').join(', ')})`);
    const captured = this.#takeCaptured();
    await this.#inPages('main', this.#hereSql(captured), pace);
    await this.#inPages(KNOWN, this.#missingSql(captured), pace);
    if (captured) connection.db.exec(this.#capturedSql());
    this.#assertReplicable();
  }

  /**
   * Instead, how rows that wait in the outbox were before they were first captured: what nobody
   * captured came between what replication knows and that. Then `n0…` is what they were.
   */
  findBeforeCaptured(): void {
    this.#begin();
    this.#takeFirst();
    this.connection.db.exec(this.#beforeSql());
  }

  #begin(): void {
    const images = [...list(this.#width, 'n'), ...list(this.#width, 'o')].join(', ');
    this.drop();
    this.connection.db.exec(`CREATE TEMP TABLE _antiphon_differences (kind INTEGER, ${images})`);
  }

  drop(): void {
    for (const name of ['differences', 'captured', 'first', 'place'])
      this.connection.db.exec(`DROP TABLE IF EXISTS temp._antiphon_${name}`);
  }

  count(kind: DifferenceKind): RowDifferences {
    const count = this.connection.db
      .prepare(`SELECT count(*) FROM ${DIFFERENCES} WHERE kind = ?`, 'value')
      .get(kind) as number;
    const image = kind === MISSING_HERE ? 'o' : 'n';
    const key = this.#keys.map((column) => shownKey(`${image}${column}`));
    const keys = this.connection.db
      .prepare(
        `SELECT ${key.join(', ')} FROM ${DIFFERENCES} WHERE kind = ? ORDER BY rowid LIMIT ${MAX_NAMED_DIFFERENCES}`,
        'exact array',
      )
      .all(kind) as Value[][];
    return { count, keys };
  }

  /**
   * The same row, whichever of its images are compared. `left` and `right` give the expression of a
   * column.
   */
  sameKey(left: (column: number) => string, right: (column: number) => string): string {
    const parts = this.table.key.map(
      (part) => `${left(part.column)} = ${collated(this.table, right(part.column), part)}`,
    );
    return balanced(parts, 'AND');
  }

  /** True when there are any. */
  #takeCaptured(): boolean {
    const { table, connection } = this;
    const key = (column: number): string =>
      `CASE op WHEN ${OUTBOX_DELETE} THEN o${column} ELSE n${column} END`;
    const keys = this.#keys.map((column, index) => `${key(column)} AS k${index}`);
    const values = list(this.#width, 'n').map((name, column) => `${name} AS v${column}`);
    const grouped = table.key.map((part) => collated(table, key(part.column), part)).join(', ');
    connection.db.exec(
      `CREATE TEMP TABLE _antiphon_captured AS
       SELECT ${keys.join(', ')}, ${values.join(', ')}, op = ${OUTBOX_DELETE} AS dead FROM main._antiphon_outbox
       WHERE seq IN (SELECT max(seq) FROM main._antiphon_outbox
         WHERE t = ${table.id} AND op < ${OUTBOX_SUSPECT} GROUP BY ${grouped})`,
    );
    const indexed = table.key.map((part, index) => collated(table, `k${index}`, part)).join(', ');
    connection.db.exec(`CREATE INDEX temp._antiphon_captured_key ON _antiphon_captured (${indexed})`);
    return connection.db.prepare(`SELECT EXISTS (SELECT 1 FROM ${CAPTURED})`, 'value').get() === 1;
  }

  async #inPages(database: string, sql: (page: string) => string, pace: Pace): Promise<void> {
    const { connection, table } = this;
    const from = `${database}.${quoteName(table.name)}`;
    const key = table.key.map((part) => collated(table, columnName(table, part.column), part)).join(', ');
    const keyColumns = this.#keys.map((column) => columnName(table, column)).join(', ');
    const columns = table.columns.map((_, column) => columnName(table, column)).join(', ');
    const after = `WHERE (${key}) > (SELECT * FROM ${PLACE})`;
    const page = (where: string): string =>
      `(SELECT ${columns} FROM ${from} ${where} ORDER BY ${key} LIMIT ${PAGE_ROWS})`;
    const last = (where: string): string =>
      `SELECT ${keyColumns} FROM ${from} ${where} ORDER BY ${key} LIMIT 1 OFFSET ${PAGE_ROWS - 1}`;
    connection.db.exec(`DELETE FROM ${PLACE}`);
    connection.db.exec(sql(page('')));
    const first = connection.db.prepare(`INSERT INTO ${PLACE} ${last('')}`);
    const next = connection.db.prepare(`INSERT INTO ${PLACE} ${last(after)}`);
    const forget = connection.db.prepare(
      `DELETE FROM ${PLACE} WHERE rowid < (SELECT max(rowid) FROM ${PLACE})`,
    );
    const compare = connection.db.prepare(sql(page(after)));
    for (let more = first.run().changes; more > 0; more = next.run().changes) {
      forget.run();
      compare.run();
      if (pace.due()) await pace.rest();
    }
  }

  /** Rows that are here, and differ from what is known or are not known. */
  #hereSql(captured: boolean): (page: string) => string {
    const { table } = this;
    const known = `${KNOWN}.${quoteName(table.name)}`;
    const here = (column: number): string => `r.${columnName(table, column)}`;
    const there = (column: number): string => `s.${columnName(table, column)}`;
    const absent = `${there(this.#keys[0] ?? 0)} IS NULL`;
    return (page) =>
      `INSERT INTO ${DIFFERENCES} SELECT CASE WHEN ${absent} THEN ${ONLY_HERE} ELSE ${CHANGED} END, ` +
      `${this.#all(here)}, ${this.#all(there)} ` +
      `FROM ${page} AS r LEFT JOIN ${known} AS s ON ${this.sameKey(there, here)} ` +
      `WHERE (${absent} OR ${this.#differ(here, there)})${this.#notCaptured(captured, here)}`;
  }

  /** Rows that are known and not here. */
  #missingSql(captured: boolean): (page: string) => string {
    const { table } = this;
    const here = (column: number): string => `r.${columnName(table, column)}`;
    const there = (column: number): string => `s.${columnName(table, column)}`;
    const nothing = list(this.#width, 'NULL').map(() => 'NULL');
    return (page) =>
      `INSERT INTO ${DIFFERENCES} SELECT ${MISSING_HERE}, ${nothing.join(', ')}, ${this.#all(there)} ` +
      `FROM ${page} AS s ` +
      `WHERE NOT EXISTS (SELECT 1 FROM main.${quoteName(table.name)} AS r WHERE ${this.sameKey(here, there)})` +
      `${this.#notHidden(there)}${this.#notCaptured(captured, there)}`;
  }

  /** Rows that wait in the outbox: what was captured last of them is what is known. */
  #capturedSql(): string {
    const { table } = this;
    const here = (column: number): string => `r.${columnName(table, column)}`;
    const value = (column: number): string => `c.v${column}`;
    const key = (column: number): string => `c.k${this.#keys.indexOf(column)}`;
    const gone = `${here(this.#keys[0] ?? 0)} IS NULL`;
    return (
      `INSERT INTO ${DIFFERENCES} SELECT ` +
      `CASE WHEN ${gone} THEN ${MISSING_HERE} WHEN c.dead THEN ${ONLY_HERE} ELSE ${CHANGED} END, ` +
      `${this.#all(here)}, ${this.#all(value)} FROM ${CAPTURED} AS c ` +
      `LEFT JOIN main.${quoteName(table.name)} AS r ON ${this.sameKey(here, key)} ` +
      `WHERE CASE WHEN ${gone} THEN NOT c.dead${this.#notHidden(key)} ` +
      `WHEN c.dead THEN 1 ELSE ${this.#differ(here, value)} END`
    );
  }

  #takeFirst(): void {
    const { table, connection } = this;
    const key = (column: number): string =>
      `CASE op WHEN ${OUTBOX_INSERT} THEN n${column} ELSE o${column} END`;
    const keys = this.#keys.map((column, index) => `${key(column)} AS k${index}`);
    const values = list(this.#width, 'o').map((name, column) => `${name} AS v${column}`);
    const grouped = table.key.map((part) => collated(table, key(part.column), part)).join(', ');
    connection.db.exec(
      `CREATE TEMP TABLE _antiphon_first AS
       SELECT ${keys.join(', ')}, ${values.join(', ')}, op = ${OUTBOX_INSERT} AS absent FROM main._antiphon_outbox
       WHERE seq IN (SELECT min(seq) FROM main._antiphon_outbox
         WHERE t = ${table.id} AND op < ${FIRST_CLAIM} GROUP BY ${grouped})`,
    );
  }

  #beforeSql(): string {
    const { table } = this;
    const known = (column: number): string => `s.${columnName(table, column)}`;
    const value = (column: number): string => `f.v${column}`;
    const key = (column: number): string => `f.k${this.#keys.indexOf(column)}`;
    const unknown = `${known(this.#keys[0] ?? 0)} IS NULL`;
    return (
      `INSERT INTO ${DIFFERENCES} SELECT ` +
      `CASE WHEN f.absent THEN ${MISSING_HERE} WHEN ${unknown} THEN ${ONLY_HERE} ELSE ${CHANGED} END, ` +
      `${this.#all(value)}, ${this.#all(known)} FROM ${FIRST} AS f ` +
      `LEFT JOIN ${KNOWN}.${quoteName(table.name)} AS s ON ${this.sameKey(known, key)} ` +
      `WHERE CASE WHEN f.absent THEN NOT ${unknown} WHEN ${unknown} THEN 1 ELSE ${this.#differ(value, known)} END`
    );
  }

  #all(image: (column: number) => string): string {
    return this.table.columns.map((_, column) => image(column)).join(', ');
  }

  /** Exact: text by its bytes, and 1 is not 1.0 where the column keeps them apart. */
  #differ(left: (column: number) => string, right: (column: number) => string): string {
    const differences = this.table.columns.flatMap(({ affinity }, column) => {
      const bytes = `${left(column)} IS NOT ${right(column)} COLLATE BINARY`;
      return affinity === 'none' ? [bytes, `typeof(${left(column)}) <> typeof(${right(column)})`] : [bytes];
    });
    return `(${balanced(differences, 'OR')})`;
  }

  #notCaptured(captured: boolean, row: (column: number) => string): string {
    if (!captured) return '';
    const key = (column: number): string => `c.k${this.#keys.indexOf(column)}`;
    return ` AND NOT EXISTS (SELECT 1 FROM ${CAPTURED} AS c WHERE ${this.sameKey(key, row)})`;
  }

  #notHidden(row: (column: number) => string): string {
    if (!this.hasHidden) return '';
    const { table } = this;
    const hidden = (column: number): string => `d.${columnName(table, column)}`;
    return ` AND NOT EXISTS (SELECT 1 FROM main.${hiddenTable(table)} AS d WHERE ${this.sameKey(hidden, row)})`;
  }

  /** What no message can hold, or has no identity, would stop this replica later. */
  #assertReplicable(): void {
    const { connection, table } = this;
    const isNull = balanced(
      this.#keys.map((column) => `n${column} IS NULL`),
      'OR',
    );
    const unnamed = connection.db
      .prepare(`SELECT count(*) FROM ${DIFFERENCES} WHERE kind <> ${MISSING_HERE} AND (${isNull})`, 'value')
      .get() as number;
    if (unnamed > 0) {
      throw new AntiphonError(
        'CONSTRAINT',
        `${unnamed} rows of ${table.name} have NULL in their primary key, so they cannot be replicated. ` +
          'Give them a value, or delete them, then recapture again.',
        { context: { table: table.name } },
      );
    }
    const { limits } = this;
    const large = connection.db
      .prepare(
        `SELECT count(*) FROM ${DIFFERENCES} WHERE ${isStoredTooLarge(list(this.#width, 'n'), limits)}`,
        'value',
      )
      .get() as number;
    if (large === 0) return;
    throw new AntiphonError(
      'MESSAGE_TOO_LARGE',
      `${large === 1 ? '1 row' : `${large} rows`} of ${table.name} ${large === 1 ? 'is' : 'are'} too large to be replicated: ` +
        `${describeRowLimits(limits)}. ` +
        'Split their values, or keep them outside of the database, then recapture again.',
      { context: { table: table.name } },
    );
  }
}

function list(width: number, prefix: string): string[] {
  return Array.from({ length: width }, (_, index) => `${prefix}${index}`);
}

/**
 * The beginning of a long value, and any other one as it is: SQLite's substr() makes NULL of an
 * empty BLOB, and its substr() and length() take a text for ended at a NUL.
 */
function shownKey(value: string): string {
  const bytes = `CAST(${value} AS BLOB)`;
  return `CASE typeof(${value})
    WHEN 'blob' THEN iif(length(${value}) <= ${SHOWN_LENGTH}, ${value}, substr(${value}, 1, ${SHOWN_LENGTH}))
    WHEN 'text' THEN CASE WHEN length(${bytes}) <= 4 * ${SHOWN_LENGTH} THEN ${value}
      WHEN length(${value}) >= ${SHOWN_LENGTH} THEN substr(${value}, 1, ${SHOWN_LENGTH})
      ELSE CAST(substr(${bytes}, 1, ${SHOWN_LENGTH}) AS TEXT) END
    ELSE ${value} END`;
}
