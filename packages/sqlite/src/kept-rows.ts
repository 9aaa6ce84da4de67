import { AntiphonError } from '@antiphon/core';
import { balanced } from './balanced.js';
import type { Connection } from './connection.js';
import { isRefusal } from './errors.js';
import { quoteName, quoteText } from './identifiers.js';
import { collated, columnName, keyBytesMayDiffer, type TrackedTable } from './local-table.js';
import { createKeptTable, keptTable } from './metadata.js';
import { referencesBetween } from './references.js';
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

/**
 * The oldest kept rows of these tables, as an ordinary write: deletes, and inserts or updates. In the transaction of
 * a write; foreign keys count at its end, as they did for whoever wrote the rows. Throws CONSTRAINT.
 */
export function writeKept(connection: Connection, tables: readonly TrackedTable[]): number {
  const { db } = connection;
  const parentsFirst = inOrder(tables);
  const lots = lotsOf(connection, parentsFirst);
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
  let written = 0;
  for (const { table, last } of lots)
    written += db.prepare(`DELETE FROM ${keptTable(table)} WHERE _antiphon_rowid <= ?`).run(last).changes;
  return written;
}

/** The kept rows of a table up to this one. */
interface Lot {
  readonly table: TrackedTable;
  readonly last: number;
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
  return new AntiphonError('CONSTRAINT', `A kept row of ${names} cannot be written again: ${why}.`, {
    cause,
    ...(only && { context: { table: only.name } }),
  });
}

/** Parents before what refers to them, as far as there is such an order. */
function inOrder(tables: readonly TrackedTable[]): readonly TrackedTable[] {
  const references = referencesBetween(tables);
  const ordered = new Set<TrackedTable>();
  const visit = (table: TrackedTable, below: readonly TrackedTable[]): void => {
    if (ordered.has(table) || below.includes(table)) return;
    for (const { child, parent } of references) if (child === table) visit(parent, [...below, table]);
    ordered.add(table);
  };
  for (const table of tables) visit(table, []);
  return [...ordered];
}

function deleteMissing(connection: Connection, { table, last }: Lot): void {
  connection.db.prepare(deleteKept(table, `k._antiphon_kind = '${MISSING}'`)).run(last);
}

function writeRows(connection: Connection, { table, last }: Lot, tables: readonly TrackedTable[]): void {
  const { db } = connection;
  const write = db.prepare(
    `INSERT OR ABORT INTO ${quoteName(table.name)} (${columnList(table)}) SELECT ${columnList(table)} FROM ${keptTable(table)} ` +
      `WHERE _antiphon_rowid <= ? AND _antiphon_kind <> '${MISSING}' ORDER BY _antiphon_rowid ${onConflict(table)}`,
  );
  try {
    write.run(last);
  } catch (thrown) {
    // They may want each other's unique values. Out of the way with all of them, where that deletes nothing else.
    const isParent = referencesBetween(tables).some(
      ({ parent, actsOnDelete }) => parent === table && actsOnDelete,
    );
    if (!isRefusal(thrown) || isParent) throw thrown;
    db.prepare(deleteKept(table, `k._antiphon_kind <> '${MISSING}'`)).run(last);
    write.run(last);
  }
}

function deleteKept(table: TrackedTable, condition: string): string {
  const same = table.key
    .map((part) => {
      const name = columnName(table, part.column);
      return `r.${name} = ${collated(table, `k.${name}`, part)}`;
    })
    .join(' AND ');
  return `DELETE FROM ${quoteName(table.name)} AS r WHERE EXISTS (SELECT 1 FROM ${keptTable(table)} AS k WHERE k._antiphon_rowid <= ? AND ${condition} AND ${same})`;
}

/** As many rows as go in one write. */
function lotsOf(connection: Connection, tables: readonly TrackedTable[]): readonly Lot[] {
  const lots: Lot[] = [];
  let room = { rows: WRITTEN_ROWS, bytes: WRITTEN_BYTES };
  for (const table of tables) {
    const { last, rows, bytes, all } = lastToWrite(connection, table, room, lots.length === 0);
    if (last !== undefined) lots.push({ table, last });
    if (!all) break;
    room = { rows: room.rows - rows, bytes: room.bytes - bytes };
  }
  return lots;
}

/** Up to which row they fit; `all`: none is left. The first of a write goes whatever its size. */
function lastToWrite(
  connection: Connection,
  table: TrackedTable,
  room: { readonly rows: number; readonly bytes: number },
  isFirst: boolean,
): { readonly last?: number; readonly rows: number; readonly bytes: number; readonly all: boolean } {
  const sizes = table.columns.map(
    (_, column) => `ifnull(length(CAST(${columnName(table, column)} AS BLOB)), 0)`,
  );
  const kept = connection.db
    .prepare(
      `SELECT _antiphon_rowid, ${balanced(sizes, '+')} FROM ${keptTable(table)} ORDER BY _antiphon_rowid LIMIT ${room.rows + 1}`,
      'array',
    )
    .all() as [number, number][];
  let bytes = 0;
  let last: number | undefined;
  for (const [index, [rowid, size]] of kept.entries()) {
    const fits = index < room.rows && bytes + size <= room.bytes;
    if (!fits && !(isFirst && index === 0))
      return { rows: index, bytes, all: false, ...(last !== undefined && { last }) };
    bytes += size;
    last = rowid;
  }
  return { rows: kept.length, bytes, all: true, ...(last !== undefined && { last }) };
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
