import { AntiphonError } from '@antiphon/core';
import { balanced } from './balanced.js';
import type { Connection } from './connection.js';
import { isRefusal } from './errors.js';
import { quoteName, quoteText } from './identifiers.js';
import { collated, columnName, keyBytesMayDiffer, type TrackedTable } from './local-table.js';
import { createKeptTable, keptTable } from './metadata.js';
import { CHANGED, DIFFERENCES, MISSING_HERE, ONLY_HERE, type TableDifference } from './table-difference.js';

/** What a row was when it was set back, in `_antiphon_kind`. */
const MISSING = 'missing here';
/**
 * Kept rows that are written in one write, and their bytes: the message of a synchronous write goes to the
 * log whole.
 */
const WRITTEN_ROWS = 500;
const WRITTEN_BYTES = 128 * 1024;

/**
 * Gives the table the content that replication knows. What goes is kept. In the caller's transaction, without
 * foreign keys.
 */
export function setBack(connection: Connection, table: TrackedTable, difference: TableDifference): void {
  const { db } = connection;
  const images = (prefix: 'n' | 'o'): string =>
    table.columns.map((_, column) => `d.${prefix}${column}`).join(', ');
  createKeptTable(connection, table);
  const keep = (kind: number, what: string, image: 'n' | 'o'): void =>
    void db
      .prepare(
        `INSERT INTO ${keptTable(table)} SELECT NULL, ${quoteText(what)}, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), ${images(image)} FROM ${DIFFERENCES} AS d WHERE d.kind = ?`,
      )
      .run(kind);
  keep(MISSING_HERE, MISSING, 'o');
  keep(CHANGED, 'changed', 'n');
  keep(ONLY_HERE, 'only here', 'n');
  db.exec('INSERT INTO _antiphon_guard VALUES (1)');
  const here = (column: number): string => `r.${columnName(table, column)}`;
  const indexed = table.key.map(({ column }) => `n${column}`).join(', ');
  db.exec(`CREATE INDEX temp._antiphon_differences_key ON _antiphon_differences (${indexed})`);
  db.exec(
    `DELETE FROM ${quoteName(table.name)} AS r WHERE EXISTS (SELECT 1 FROM ${DIFFERENCES} AS d ` +
      `WHERE d.kind <> ${MISSING_HERE} AND ${difference.sameKey((column) => `d.n${column}`, here)})`,
  );
  db.exec(
    `INSERT OR ABORT INTO ${quoteName(table.name)} (${columnList(table)}) SELECT ${images('o')} FROM ${DIFFERENCES} AS d ` +
      `WHERE d.kind <> ${ONLY_HERE} ORDER BY d.rowid`,
  );
  db.exec('DELETE FROM _antiphon_guard');
}

export function keptRows(
  connection: Connection,
  tables: readonly TrackedTable[],
): { readonly table: string; readonly keptIn: string; readonly rows: number }[] {
  const present = new Set(
    connection.db
      .prepare(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '_antiphon_kept*'`, 'value')
      .all() as string[],
  );
  return tables.flatMap((table) => {
    const keptIn = keptTable(table);
    if (!present.has(keptIn)) return [];
    const rows = connection.db.prepare(`SELECT count(*) FROM ${keptIn}`, 'value').get() as number;
    return rows === 0 ? [] : [{ table: table.name, keptIn, rows }];
  });
}

/** The oldest kept rows, as an ordinary write: deletes, and inserts or updates. In the transaction of a write. */
export function writeKept(connection: Connection, table: TrackedTable): number {
  const kept = keptTable(table);
  const last = lastToWrite(connection, table);
  if (last === undefined) return 0;
  const { db } = connection;
  const row = (column: number): string => `r.${columnName(table, column)}`;
  const same = table.key
    .map((part) => `${row(part.column)} = ${collated(table, `k.${columnName(table, part.column)}`, part)}`)
    .join(' AND ');
  try {
    db.prepare(
      `DELETE FROM ${quoteName(table.name)} AS r WHERE EXISTS (SELECT 1 FROM ${kept} AS k WHERE k._antiphon_rowid <= ? AND k._antiphon_kind = '${MISSING}' AND ${same})`,
    ).run(last);
    db.prepare(
      `INSERT OR ABORT INTO ${quoteName(table.name)} (${columnList(table)}) SELECT ${columnList(table)} FROM ${kept} ` +
        `WHERE _antiphon_rowid <= ? AND _antiphon_kind <> '${MISSING}' ORDER BY _antiphon_rowid ${onConflict(table)}`,
    ).run(last);
  } catch (thrown) {
    if (!isRefusal(thrown)) throw thrown;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new AntiphonError('CONSTRAINT', `a kept row of ${table.name} cannot be written again: ${why}`, {
      cause: thrown,
      context: { table: table.name },
    });
  }
  return db.prepare(`DELETE FROM ${kept} WHERE _antiphon_rowid <= ?`).run(last).changes;
}

function lastToWrite(connection: Connection, table: TrackedTable): number | undefined {
  const sizes = table.columns.map(
    (_, column) => `ifnull(length(CAST(${columnName(table, column)} AS BLOB)), 0)`,
  );
  const rows = connection.db
    .prepare(
      `SELECT _antiphon_rowid, ${balanced(sizes, '+')} FROM ${keptTable(table)} ORDER BY _antiphon_rowid LIMIT ${WRITTEN_ROWS}`,
      'array',
    )
    .all() as [number, number][];
  let sum = 0;
  let last: number | undefined;
  for (const [rowid, size] of rows) {
    sum += size;
    if (last !== undefined && sum > WRITTEN_BYTES) break;
    last = rowid;
  }
  return last;
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

function columnList(table: TrackedTable): string {
  return table.columns.map((_, column) => columnName(table, column)).join(', ');
}
