import { AntiphonError, sentence } from '@antiphon/core';
import type { Connection } from './connection.js';
import { isRefusal } from './errors.js';
import { quoteName } from './identifiers.js';
import { allLots, IN_LOT, oldestLots, type Lot } from './kept-lots.js';
import { KeptOrder } from './kept-order.js';
import { columnList, MISSING, sameKey } from './kept-rows.js';
import { collated, columnName, keyBytesMayDiffer, type TrackedTable } from './local-table.js';
import { keptTable } from './metadata.js';
import { parentsFirst, referencesBetween } from './references.js';

const ATTEMPT = '_antiphon_kept_attempt';

/** Writes kept rows again, some at a time, each inside the transaction of a write. */
export class KeptWrites {
  #order: KeptOrder | undefined;
  #written: readonly Lot[] | undefined;

  /**
   * Kept rows of these tables, as an ordinary write: deletes, and inserts or updates; they are not
   * kept any longer then. Foreign keys count at its end, as they did for whoever wrote the rows.
   * The oldest ones, as long as they need none that are not there; then in the order in which they
   * need each other; then all of them together, as their writer had them. Throws CONSTRAINT.
   */
  write(connection: Connection, tables: readonly TrackedTable[]): readonly Lot[] {
    let refusal: AntiphonError | undefined;
    for (const lots of this.#choices(connection, parentsFirst(tables))) {
      connection.db.exec(`SAVEPOINT ${ATTEMPT}`);
      try {
        writeLots(connection, lots, tables);
        connection.db.exec(`RELEASE ${ATTEMPT}`);
        this.#written = lots;
        this.#order?.written();
        return lots;
      } catch (thrown) {
        connection.db.exec(`ROLLBACK TO ${ATTEMPT}; RELEASE ${ATTEMPT}`);
        if (!(thrown instanceof AntiphonError) || thrown.code !== 'CONSTRAINT') throw thrown;
        refusal ??= thrown;
      }
    }
    if (refusal !== undefined) throw refusal;
    return [];
  }

  *#choices(connection: Connection, tables: readonly TrackedTable[]): Generator<readonly Lot[]> {
    if (this.#order?.isOf(tables) !== true) {
      this.#order = undefined;
      const oldest = oldestLots(connection, tables);
      if (oldest.length === 0) return;
      yield oldest;
    }
    for (let again = true; again;) {
      const order = (this.#order ??= new KeptOrder(connection, tables));
      yield* order.lots();
      this.#order = undefined;
      again = order.hasWritten;
    }
    const all = allLots(connection, tables);
    if (all.length > 0) yield all;
  }

  /** Other rows are kept now. */
  startOver(): void {
    this.#order = undefined;
  }

  /** Of the write that has just ended; undefined when it wrote none. */
  takeWritten(): readonly Lot[] | undefined {
    const written = this.#written;
    this.#written = undefined;
    return written;
  }
}

function writeLots(connection: Connection, lots: readonly Lot[], tables: readonly TrackedTable[]): void {
  const { db } = connection;
  db.exec('PRAGMA defer_foreign_keys = ON');
  try {
    for (const lot of lots.toReversed()) attempt(lot.table, () => deleteMissing(connection, lot));
    for (const lot of lots) attempt(lot.table, () => writeRows(connection, lot, tables));
    if (db.violatesForeignKeys())
      throw refused(tables, 'a row refers to one that is not there: FOREIGN KEY constraint failed');
  } finally {
    // Other writes may follow in the same transaction.
    db.exec('PRAGMA defer_foreign_keys = OFF');
  }
  for (const { table, rows } of lots)
    db.prepare(`DELETE FROM ${keptTable(table)} WHERE ${IN_LOT}`).run(JSON.stringify(rows));
}

function attempt(table: TrackedTable, write: () => void): void {
  try {
    write();
  } catch (thrown) {
    if (!isRefusal(thrown)) throw thrown;
    throw refused([table], thrown instanceof Error ? thrown.message : String(thrown), thrown);
  }
}

function refused(tables: readonly TrackedTable[], why: string, cause?: unknown): AntiphonError {
  const names = tables.map(({ name }) => name).join(', ');
  const [only] = tables.length === 1 ? tables : [];
  return new AntiphonError('CONSTRAINT', `A kept row of ${names} cannot be written again: ${sentence(why)}`, {
    cause,
    ...(only && { context: { table: only.name } }),
  });
}

function deleteMissing({ db }: Connection, { table, rows }: Lot): void {
  const missing = `k.${IN_LOT} AND k._antiphon_kind = '${MISSING}'`;
  const list = JSON.stringify(rows);
  const [any] = db.prepare(`SELECT 1 FROM ${keptTable(table)} AS k WHERE ${missing} LIMIT 1`).all(list);
  // Looks at every row of the table.
  if (any !== undefined) db.prepare(deleteKept(table, missing)).run(list);
}

function writeRows({ db }: Connection, { table, rows }: Lot, tables: readonly TrackedTable[]): void {
  const list = JSON.stringify(rows);
  const write = db.prepare(
    // A table may be called `excluded`.
    `INSERT OR ABORT INTO ${quoteName(table.name)} AS _antiphon_row (${columnList(table)}) ` +
      `SELECT ${columnList(table)} FROM ${keptTable(table)} ` +
      `WHERE ${IN_LOT} AND _antiphon_kind <> '${MISSING}' ORDER BY _antiphon_rowid ${onConflict(table)}`,
  );
  try {
    write.run(list);
  } catch (thrown) {
    // They may want each other's unique values. Out of the way with all of them, where that deletes
    // nothing else.
    const isParent = referencesBetween(tables).some(
      ({ parent, actsOnDelete }) => parent === table && actsOnDelete,
    );
    if (!isRefusal(thrown) || isParent) throw thrown;
    db.prepare(deleteKept(table, `k.${IN_LOT} AND k._antiphon_kind <> '${MISSING}'`)).run(list);
    write.run(list);
  }
}

function deleteKept(table: TrackedTable, condition: string): string {
  const same = sameKey(table, 'r', 'k');
  return (
    `DELETE FROM ${quoteName(table.name)} AS r ` +
    `WHERE EXISTS (SELECT 1 FROM ${keptTable(table)} AS k WHERE ${condition} AND ${same})`
  );
}

function onConflict(table: TrackedTable): string {
  const target = table.key.map((part) => collated(table, columnName(table, part.column), part)).join(', ');
  const settable = table.columns.flatMap((_, index) => {
    const part = table.key.find(({ column }) => column === index);
    return part === undefined || keyBytesMayDiffer(table, part) ? [columnName(table, index)] : [];
  });
  const set = settable.map((name) => `${name} = excluded.${name}`).join(', ');
  return `ON CONFLICT (${target}) DO ${settable.length === 0 ? 'NOTHING' : `UPDATE SET ${set}`}`;
}
