import {
  decodeChanges,
  type Batch,
  type Change,
  type DictionaryTable,
  type PartBatch,
  type Value,
} from '@antiphon/core';
import { SAME_TIME_MS, JULIAN_DAY } from './captured-times.js';
import { balanced } from './balanced.js';
import type { Connection } from './connection.js';
import { quoteName } from './identifiers.js';
import type { TrackedTable } from './local-table.js';
import { FIRST_CLAIM, OUTBOX_DELETE, OUTBOX_INSERT } from './outbox-kinds.js';
import { bindingOf } from './values.js';

/** A table of a batch as it is here; undefined when it is not. */
type Mapping = { readonly table: TrackedTable; readonly columns: readonly number[] } | undefined;

/**
 * How much later than it was captured a change may count as made: clocks are read, and never go
 * back.
 */
const LATER_MS = 1000;
/** Captured so long before this database had its last time: the clock was set back since. */
const MISDATED_MS = 10_000;
const BUCKET_MS = 100;

/**
 * What own transactions made of rows that the log has and this database has not, and when: a
 * captured change that made the same of its row, at that time, is in the log already, and so is
 * what was captured of that row before it. Anything else, an earlier time included, was written
 * after this database went back, and must not get lost: a row may be given once more what it had
 * meanwhile, by a clock that is behind. Kept in temporary tables of the connection: there may be
 * any number of them.
 */
export class PastChanges {
  readonly #noted = new Map<number, TrackedTable>();
  /** Of the newest transaction in parts: its last one may be given again. */
  #parts: PartBatch[] = [];
  /**
   * Something was captured when the first of the log's transactions was noted. What is captured
   * later is written on top of what the log has.
   */
  #isNeeded: boolean | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly tables: () => readonly TrackedTable[],
  ) {}

  /**
   * Nothing, where no change waits. `known`: transactions up to this counter are in the database.
   * After it has thrown, the same batches may be given again.
   */
  note(batches: readonly Batch[], known: number): void {
    this.#isNeeded ??= this.#somethingWaits();
    if (!this.#isNeeded) return;
    for (const batch of batches) {
      if (batch.kind === 'transactions') {
        for (const { counter, time, changes } of batch.transactions)
          if (counter > known) this.#noteChanges(batch.tables, changes, time);
      } else if (batch.firstCounter > known) {
        while ((this.#parts.at(-1)?.offset ?? -1) >= batch.offset) this.#parts.pop();
        this.#parts.push(batch);
        if (!batch.last) continue;
        const bodies = this.#parts.map(({ body }) => body);
        this.#noteChanges(batch.tables, decodeChanges(bodies, batch.tables), batch.time);
      }
    }
  }

  #somethingWaits(): boolean {
    const sql = 'SELECT EXISTS (SELECT 1 FROM _antiphon_outbox)';
    return this.connection.statement(sql, 'value').get() === 1;
  }

  #noteChanges(tables: readonly DictionaryTable[], changes: Iterable<Change>, time: number): void {
    const mappings = tables.map((entry) => this.#mapping(entry));
    for (const { op, table: index, row, earlierUs = 0 } of changes) {
      const mapping = mappings[index];
      if (mapping === undefined) continue;
      if (!this.#noted.has(mapping.table.id)) this.#create(mapping.table);
      const bindings = mapping.columns.map((column) => bindingOf(row[column] as Value));
      this.connection
        .statement(
          `INSERT INTO ${pastTable(mapping.table)} VALUES (?, ?, ${bindings.map(({ expression }) => expression).join(', ')})`,
        )
        .run(time - earlierUs, op === 'delete' ? 1 : 0, ...bindings.map(({ value }) => value));
    }
  }

  #mapping(entry: DictionaryTable): Mapping {
    const table = this.tables().find(({ name }) => name === entry.name);
    if (table === undefined) return undefined;
    const columns = table.columns.map(({ name }) => entry.columns.indexOf(name));
    return columns.includes(-1) ? undefined : { table, columns };
  }

  #create(table: TrackedTable): void {
    const [past, covered] = [pastTable(table), coveredTable(table)];
    const columns = table.columns.map((_, index) => `v${index}`).join(', ');
    const key = table.key.map(({ column, collation }) =>
      table.rowidKey ? `v${column}` : `v${column} COLLATE ${quoteName(collation)}`,
    );
    this.connection.db.exec(`DROP TABLE IF EXISTS ${past}; DROP TABLE IF EXISTS ${covered}`);
    this.connection.db.exec(
      `CREATE TABLE ${past} (time INTEGER NOT NULL, dead INTEGER NOT NULL, ${columns})`,
    );
    this.connection.db.exec(
      `CREATE INDEX temp._antiphon_past_key${table.id} ON _antiphon_past${table.id} (${key.join(', ')})`,
    );
    this.connection.db.exec(
      `CREATE TABLE ${covered} (${key.join(', ')}, last INTEGER NOT NULL, PRIMARY KEY (${keyColumns(table).join(', ')})) WITHOUT ROWID`,
    );
    this.#noted.set(table.id, table);
  }

  /**
   * Forgets captured changes that the log has, in the caller's transaction. Returns how many.
   * `aheadMs`: of the clock that gives changes their times, before this machine's, by which they
   * were captured. `eachRow`: rows of one transaction have times of their own; else they have that
   * of its last one.
   */
  forgetCaptured(aheadMs: number, eachRow: boolean): number {
    if (!eachRow) this.#noteTimes(aheadMs);
    let forgotten = 0;
    for (const table of this.#noted.values()) {
      this.connection.statement(coverSql(table, eachRow)).run(...(eachRow ? [aheadMs, aheadMs] : []));
      forgotten += this.connection.statement(forgetSql(table)).run().changes;
    }
    return forgotten;
  }

  /** When anything was captured, roughly, and the last row of that time. */
  #noteTimes(aheadMs: number): void {
    this.connection.db.exec('DROP TABLE IF EXISTS temp._antiphon_times');
    this.connection.db.exec(
      'CREATE TABLE temp._antiphon_times (bucket INTEGER PRIMARY KEY, last INTEGER NOT NULL)',
    );
    this.connection
      .statement(
        `INSERT INTO temp._antiphon_times SELECT CAST((${MADE}) / ${BUCKET_MS} AS INTEGER) AS bucket, max(x.seq) ` +
          'FROM _antiphon_outbox AS x WHERE x.at IS NOT NULL GROUP BY bucket',
      )
      .run(aheadMs);
  }

  /**
   * What was captured long before this database had its last time, `lastMs`, has a time of a clock
   * that was set back: it counts as made now, and so does what came after it.
   */
  dateMisdated(aheadMs: number, lastMs: number, nowMs: number): void {
    this.connection
      .statement(
        'UPDATE _antiphon_outbox SET at = ? WHERE at IS NOT NULL AND seq >= ' +
          `(SELECT min(x.seq) FROM _antiphon_outbox AS x WHERE ${MADE} < ?)`,
      )
      .run(JULIAN_DAY.unixEpoch + nowMs / JULIAN_DAY.ms, aheadMs, lastMs - MISDATED_MS);
  }

  get isEmpty(): boolean {
    return this.#noted.size === 0;
  }

  /** When what was forgotten is committed. */
  end(): void {
    this.#parts = [];
    this.#isNeeded = undefined;
    for (const table of this.#noted.values())
      this.connection.db.exec(
        `DROP TABLE IF EXISTS ${pastTable(table)}; DROP TABLE IF EXISTS ${coveredTable(table)}`,
      );
    this.connection.db.exec('DROP TABLE IF EXISTS temp._antiphon_times');
    this.#noted.clear();
  }
}

function pastTable(table: TrackedTable): string {
  return `temp._antiphon_past${table.id}`;
}

/** The last captured change of each row that the log has. */
function coveredTable(table: TrackedTable): string {
  return `temp._antiphon_covered${table.id}`;
}

function keyColumns(table: TrackedTable): readonly string[] {
  return table.key.map(({ column }) => `v${column}`);
}

/**
 * A captured update does not change its key: whichever change does is captured as a delete and an
 * insert.
 */
function sameRow(table: TrackedTable, outbox: string, other: string): string {
  return table.key
    .map(
      ({ column }) =>
        `${other}.v${column} = CASE ${outbox}.op WHEN ${OUTBOX_INSERT} THEN ${outbox}.n${column} ELSE ${outbox}.o${column} END`,
    )
    .join(' AND ');
}

/** When it was captured, by the clock that gives times; one parameter. */
const MADE = `(x.at - ${JULIAN_DAY.unixEpoch}) * ${JULIAN_DAY.ms}.0 + ?`;

function coverSql(table: TrackedTable, eachRow: boolean): string {
  const [from, to] = [`p.time / 1000.0 - ${LATER_MS}`, `p.time / 1000.0 + ${SAME_TIME_MS}`];
  const bucket = (ms: string): string => `CAST((${ms}) / ${BUCKET_MS} AS INTEGER)`;
  const then = eachRow
    ? `${MADE} >= ${from} AND ${MADE} <= ${to}`
    : `x.seq <= (SELECT max(last) FROM temp._antiphon_times WHERE bucket BETWEEN ${bucket(from)} AND ${bucket(to)})`;
  const values = table.columns.map((_, index) => `p.v${index} IS x.n${index}`);
  const alike = `CASE WHEN x.op = ${OUTBOX_DELETE} THEN p.dead = 1 ELSE p.dead = 0 AND ${balanced(values, 'AND')} END`;
  const key = keyColumns(table);
  return (
    `INSERT INTO ${coveredTable(table)} SELECT ${key.map((name) => `p.${name}`).join(', ')}, max(x.seq) ` +
    `FROM _antiphon_outbox AS x CROSS JOIN ${pastTable(table)} AS p ON ${sameRow(table, 'x', 'p')} ` +
    `WHERE x.t = ${table.id} AND x.op < ${FIRST_CLAIM} AND ${alike} AND ${then} ` +
    `GROUP BY ${key.map((name) => `p.${name}`).join(', ')} ` +
    `ON CONFLICT DO UPDATE SET last = max(last, excluded.last)`
  );
}

function forgetSql(table: TrackedTable): string {
  return (
    `DELETE FROM _antiphon_outbox WHERE seq IN (SELECT x.seq FROM _antiphon_outbox AS x CROSS JOIN ${coveredTable(table)} AS c ` +
    `ON ${sameRow(table, 'x', 'c')} WHERE x.t = ${table.id} AND x.op < ${FIRST_CLAIM} AND x.seq <= c.last)`
  );
}
