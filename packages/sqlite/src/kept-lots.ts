import { balanced } from './balanced.js';
import type { Connection } from './connection.js';
import { sameKey } from './kept-rows.js';
import { columnName, type TrackedTable } from './local-table.js';
import { keptTable } from './metadata.js';

/** Kept rows of a table that are written together, by their numbers, ascending. */
export interface Lot {
  readonly table: TrackedTable;
  readonly rows: readonly number[];
}

/**
 * Kept rows that are written in one write, and their bytes: the message of a synchronous write goes
 * to the log whole.
 */
export const WRITTEN_ROWS = 500;
export const WRITTEN_BYTES = 128 * 1024;

/** Of a table of kept rows. Takes the numbers as a JSON list. */
export const IN_LOT = '_antiphon_rowid IN (SELECT value FROM json_each(?))';

/**
 * Not one that nobody can tell about, nor one that was kept again later before what was kept first
 * is written.
 */
function isWritable(table: TrackedTable): string {
  return (
    `k._antiphon_doubt IS NULL AND NOT EXISTS (SELECT 1 FROM ${keptTable(table)} AS o ` +
    `WHERE ${sameKey(table, 'o', 'k')} AND o._antiphon_rowid < k._antiphon_rowid)`
  );
}

function sizeOf(table: TrackedTable): string {
  const sizes = table.columns.map(
    (_, column) => `ifnull(length(CAST(${columnName(table, column)} AS BLOB)), 0)`,
  );
  return balanced(sizes, '+');
}

/** The oldest ones, of one table after the other: as many as go in one write. */
export function oldestLots(connection: Connection, tables: readonly TrackedTable[]): readonly Lot[] {
  const lots: Lot[] = [];
  const room = { rows: WRITTEN_ROWS, bytes: WRITTEN_BYTES };
  for (const table of tables) {
    const kept = connection.db
      .prepare(
        `SELECT _antiphon_rowid, ${sizeOf(table)} FROM ${keptTable(table)} AS k
         WHERE ${isWritable(table)} ORDER BY _antiphon_rowid LIMIT ?`,
        'array',
      )
      .all(BigInt(room.rows + 1)) as [number, number][];
    const rows: number[] = [];
    for (const [row, bytes] of kept) {
      const isFirst = lots.length === 0 && rows.length === 0;
      // The first of a write goes whatever its size.
      if (!isFirst && (room.rows === 0 || bytes > room.bytes)) break;
      rows.push(row);
      room.rows--;
      room.bytes -= bytes;
    }
    if (rows.length > 0) lots.push({ table, rows });
    if (rows.length < kept.length) break;
  }
  return lots;
}

export function allLots(connection: Connection, tables: readonly TrackedTable[]): readonly Lot[] {
  return tables.flatMap((table) => {
    const rows = connection.db
      .prepare(
        `SELECT _antiphon_rowid FROM ${keptTable(table)} AS k WHERE ${isWritable(table)} ORDER BY _antiphon_rowid`,
        'value',
      )
      .all() as number[];
    return rows.length === 0 ? [] : [{ table, rows }];
  });
}

/** Sizes of those of these rows that are there and may be written. */
export function sizesOf(connection: Connection, { table, rows }: Lot): ReadonlyMap<number, number> {
  const sizes = connection.db
    .prepare(
      `SELECT _antiphon_rowid, ${sizeOf(table)} FROM ${keptTable(table)} AS k
       WHERE k.${IN_LOT} AND ${isWritable(table)}`,
      'array',
    )
    .all(JSON.stringify(rows)) as [number, number][];
  return new Map(sizes);
}
