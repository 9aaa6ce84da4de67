import { decodeChanges, type Batch, type Change, type DictionaryTable, type Value } from '@antiphon/core';
import { SAME_TIME_MS, JULIAN_DAY } from './captured-times.js';
import type { Connection } from './connection.js';
import { quoteName } from './identifiers.js';
import type { TrackedTable } from './local-table.js';
import { keyNames } from './metadata.js';
import { FIRST_CLAIM, OUTBOX_INSERT } from './outbox-kinds.js';
import { bindingOf } from './values.js';

/** A table of a batch as it is here; undefined when it is not. */
type Mapping = { readonly table: TrackedTable; readonly key: readonly number[] } | undefined;

/**
 * Which rows own transactions changed that the log has and this database has not, and when each was changed last: what such a row's
 * captured changes up to then were is in the log already. Kept in temporary tables of the connection: there may be any number of them.
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
    for (const { table: index, row, earlierUs = 0 } of changes) {
      const mapping = mappings[index];
      if (mapping === undefined) continue;
      if (!this.#noted.has(mapping.table.id)) this.#create(mapping.table);
      const bindings = mapping.key.map((column) => bindingOf(row[column] as Value));
      const keys = keyNames(mapping.table).join(', ');
      this.connection
        .statement(
          `INSERT INTO ${pastTable(mapping.table)} VALUES (${bindings.map(({ expression }) => expression).join(', ')}, ?) ` +
            `ON CONFLICT (${keys}) DO UPDATE SET time = max(time, excluded.time)`,
        )
        .run(...bindings.map(({ value }) => value), time - earlierUs);
    }
  }

  #mapping(entry: DictionaryTable): Mapping {
    const table = this.tables().find(({ name }) => name === entry.name);
    if (table === undefined) return undefined;
    const key = table.key.map(({ column }) => entry.columns.indexOf(table.columns[column]?.name ?? ''));
    return key.includes(-1) ? undefined : { table, key };
  }

  #create(table: TrackedTable): void {
    const name = pastTable(table);
    const keys = table.key.map(({ collation }, index) =>
      table.rowidKey ? `k${index}` : `k${index} COLLATE ${quoteName(collation)}`,
    );
    this.connection.db.exec(`DROP TABLE IF EXISTS ${name}`);
    this.connection.db.exec(
      `CREATE TABLE ${name} (${keys.join(', ')}, time INTEGER NOT NULL, PRIMARY KEY (${keyNames(table).join(', ')})) WITHOUT ROWID`,
    );
    this.#noted.set(table.id, table);
  }

  /**
   * Forgets captured changes that are no later than the noted change of their row, in the caller's transaction. Returns how many.
   * `aheadMs`: of the clock that gives changes their times, before this machine's, by which they were captured.
   */
  forgetCaptured(aheadMs: number): number {
    let forgotten = 0;
    for (const table of this.#noted.values())
      forgotten += this.connection.statement(forgetSql(table)).run(aheadMs - SAME_TIME_MS).changes;
    return forgotten;
  }

  get isEmpty(): boolean {
    return this.#noted.size === 0;
  }

  /** When what was forgotten is committed. */
  end(): void {
    this.#bodies = [];
    for (const table of this.#noted.values())
      this.connection.db.exec(`DROP TABLE IF EXISTS ${pastTable(table)}`);
    this.#noted.clear();
  }
}

function pastTable(table: TrackedTable): string {
  return `temp._antiphon_past${table.id}`;
}

/** A captured update does not change its key: whichever change does is captured as a delete and an insert. */
function forgetSql(table: TrackedTable): string {
  const same = table.key
    .map(
      ({ column }, index) =>
        `p.k${index} = CASE x.op WHEN ${OUTBOX_INSERT} THEN x.n${column} ELSE x.o${column} END`,
    )
    .join(' AND ');
  const made = `(x.at - ${JULIAN_DAY.unixEpoch}) * ${JULIAN_DAY.ms}.0 + ?`;
  return (
    `DELETE FROM _antiphon_outbox WHERE seq IN (SELECT x.seq FROM _antiphon_outbox AS x CROSS JOIN ${pastTable(table)} AS p ` +
    `ON ${same} WHERE x.t = ${table.id} AND x.op < ${FIRST_CLAIM} AND ${made} <= p.time / 1000.0)`
  );
}
