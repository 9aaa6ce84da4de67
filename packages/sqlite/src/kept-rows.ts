import type { KeptTable } from '@antiphon/core';
import type { Connection } from './connection.js';
import { quoteName, quoteText } from './identifiers.js';
import { collated, columnName, type TrackedTable } from './local-table.js';
import { captureAgain, captureNothing, createKeptTable, keptTable } from './metadata.js';
import { CHANGED, DIFFERENCES, MISSING_HERE, ONLY_HERE, type TableDifference } from './table-difference.js';

/**
 * What a row was when it was set back, in `_antiphon_kind`: it is to be deleted, the others to be
 * written.
 */
export const MISSING = 'missing here';

/**
 * Gives the table the content that replication knows. What goes is kept. In the caller's
 * transaction, without foreign keys.
 */
export function setBack(connection: Connection, table: TrackedTable, difference: TableDifference): void {
  const { db } = connection;
  const images = (prefix: 'n' | 'o'): string =>
    table.columns.map((_, column) => `d.${prefix}${column}`).join(', ');
  createKeptTable(connection, table);
  const keep = (kind: number, what: string, image: 'n' | 'o'): void =>
    void db
      .prepare(
        `INSERT INTO ${keptTable(table)} (_antiphon_rowid, _antiphon_kind, _antiphon_at, ${columnList(table)})
         SELECT ? + d.rowid, ${quoteText(what)}, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), ${images(image)}
         FROM ${DIFFERENCES} AS d WHERE d.kind = ?`,
      )
      .run(BigInt(lastNumber(connection, table)), kind);
  keep(MISSING_HERE, MISSING, 'o');
  keep(CHANGED, 'changed', 'n');
  keep(ONLY_HERE, 'only here', 'n');
  captureNothing(connection);
  const here = (column: number): string => `r.${columnName(table, column)}`;
  const indexed = table.key.map(({ column }) => `n${column}`).join(', ');
  db.exec(`CREATE INDEX temp._antiphon_differences_key ON _antiphon_differences (${indexed})`);
  db.exec(
    `DELETE FROM ${quoteName(table.name)} AS r WHERE EXISTS (SELECT 1 FROM ${DIFFERENCES} AS d ` +
      `WHERE d.kind <> ${MISSING_HERE} AND ${difference.sameKey((column) => `d.n${column}`, here)})`,
  );
  db.exec(
    `INSERT OR ABORT INTO ${quoteName(table.name)} (${columnList(table)}) ` +
      `SELECT ${images('o')} FROM ${DIFFERENCES} AS d ` +
      `WHERE d.kind <> ${ONLY_HERE} ORDER BY d.rowid`,
  );
  captureAgain(connection);
}

/** No kept row is ever given a number that an attempt was noted for: it may still arrive. */
function lastNumber({ db }: Connection, table: TrackedTable): number {
  return db
    .prepare(
      `SELECT max((SELECT coalesce(max(_antiphon_rowid), 0) FROM ${keptTable(table)}),
         (SELECT coalesce(max(kept), 0) FROM _antiphon_kept_attempts WHERE tbl = ${table.id}))`,
      'value',
    )
    .get() as number;
}

/** Those of these tables of which there is a table of kept rows. */
export function tablesWithKept({ db }: Connection, tables: readonly TrackedTable[]): readonly TrackedTable[] {
  const present = new Set(
    db
      .prepare(
        `SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '_antiphon_kept[0-9]*'`,
        'value',
      )
      .all() as string[],
  );
  return present.size === 0 ? [] : tables.filter((table) => present.has(keptTable(table)));
}

export function keptRows(connection: Connection, tables: readonly TrackedTable[]): readonly KeptTable[] {
  return tablesWithKept(connection, tables).flatMap((table) => {
    const keptIn = keptTable(table);
    const [rows, inDoubt] = connection.db
      .prepare(`SELECT count(*), count(_antiphon_doubt) FROM ${keptIn}`, 'array')
      .get() as [number, number];
    return rows === 0 ? [] : [{ table: table.name, keptIn, rows, inDoubt }];
  });
}

/** The condition that two rows of the table, kept or not, have the same key. */
export function sameKey(table: TrackedTable, one: string, other: string): string {
  return table.key
    .map((part) => {
      const name = columnName(table, part.column);
      return `${one}.${name} = ${collated(table, `${other}.${name}`, part)}`;
    })
    .join(' AND ');
}

export function columnList(table: TrackedTable): string {
  return table.columns.map((_, column) => columnName(table, column)).join(', ');
}
