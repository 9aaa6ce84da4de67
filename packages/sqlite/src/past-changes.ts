import { decodeChanges, type Batch, type Change, type DictionaryTable, type Value } from '@antiphon/core';
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
 * What own transactions made of rows that the log has and this database has not, and when: a captured change
 * that made the same of its row, no later, is in the log already, and so is what was captured of that row
 * before it. Anything else was written after this database went back, whatever the clock says, and must not
 * get lost. Kept in temporary tables of the connection: there may be any number of them.
 */
export class PastChanges {
  readonly #noted = new Map<number, TrackedTable>();
  /** Of a transaction in parts that has not ended. */
  #bodies: Uint8Array[] = [];

  constructor(
    private readonly connection: Connection,
    private readonly tables: () => readonly TrackedTable[],
  ) {}

  /** Nothing, where no change waits. `known`: transactions up to this counter are in the database. */
  note(batches: readonly Batch[], known: number): void {
    if (!this.#somethingWaits()) return;
    for (const batch of batches) {
      if (batch.kind === 'transactions') {
        for (const { counter, time, changes } of batch.transactions)
          if (counter > known) this.#noteChanges(batch.tables, changes, time);
      } else if (batch.firstCounter > known) {
        if (batch.offset === 0) this.#bodies = [];
        this.#bodies.push(batch.body);
        if (!batch.last) continue;
        this.#noteChanges(batch.tables, decodeChanges(this.#bodies, batch.tables), batch.time);
        this.#bodies = [];
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
   * `aheadMs`: of the clock that gives changes their times, before this machine's, by which they were captured.
   */
  forgetCaptured(aheadMs: number): number {
    let forgotten = 0;
    for (const table of this.#noted.values()) {
      this.connection.statement(coverSql(table)).run(aheadMs - SAME_TIME_MS);
      forgotten += this.connection.statement(forgetSql(table)).run().changes;
    }
    return forgotten;
  }

  get isEmpty(): boolean {
    return this.#noted.size === 0;
  }

  /** When what was forgotten is committed. */
  end(): void {
    this.#bodies = [];
    for (const table of this.#noted.values())
      this.connection.db.exec(
        `DROP TABLE IF EXISTS ${pastTable(table)}; DROP TABLE IF EXISTS ${coveredTable(table)}`,
      );
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

/** A captured update does not change its key: whichever change does is captured as a delete and an insert. */
function sameRow(table: TrackedTable, outbox: string, other: string): string {
  return table.key
    .map(
      ({ column }) =>
        `${other}.v${column} = CASE ${outbox}.op WHEN ${OUTBOX_INSERT} THEN ${outbox}.n${column} ELSE ${outbox}.o${column} END`,
    )
    .join(' AND ');
}

function coverSql(table: TrackedTable): string {
  const made = `(x.at - ${JULIAN_DAY.unixEpoch}) * ${JULIAN_DAY.ms}.0 + ?`;
  const values = table.columns.map((_, index) => `p.v${index} IS x.n${index}`);
  const alike = `CASE WHEN x.op = ${OUTBOX_DELETE} THEN p.dead = 1 ELSE p.dead = 0 AND ${balanced(values, 'AND')} END`;
  const key = keyColumns(table);
  return (
    `INSERT INTO ${coveredTable(table)} SELECT ${key.map((name) => `p.${name}`).join(', ')}, max(x.seq) ` +
    `FROM _antiphon_outbox AS x CROSS JOIN ${pastTable(table)} AS p ON ${sameRow(table, 'x', 'p')} ` +
    `WHERE x.t = ${table.id} AND x.op < ${FIRST_CLAIM} AND ${made} <= p.time / 1000.0 AND ${alike} ` +
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
