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
const UNLIMITED = { rows: Number.MAX_SAFE_INTEGER - 1, bytes: Number.MAX_SAFE_INTEGER };

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
 * Kept rows of these tables, as an ordinary write: deletes, and inserts or updates. In the transaction of a write;
 * foreign keys count at its end, as they did for whoever wrote the rows. Rows of one table may need each other in any
 * order: when the oldest do without, then perhaps the newest, and all of them together as their writer had them.
 * Throws CONSTRAINT.
 */
export function writeKept(connection: Connection, tables: readonly TrackedTable[]): readonly Lot[] {
  const parentsFirst = inOrder(tables);
  let refusal: unknown;
  for (const choice of CHOICES) {
    if (choice === 'newest' && !parentsFirst.every((table) => keysDiffer(connection, table))) continue;
    const lots = lotsOf(connection, parentsFirst, choice);
    connection.db.exec(`SAVEPOINT ${ATTEMPT}`);
    try {
      writeLots(connection, lots, tables);
      // For good, where the write is committed in place.
      forgetKept(connection, lots);
      connection.db.exec(`RELEASE ${ATTEMPT}`);
      return lots;
    } catch (thrown) {
      connection.db.exec(`ROLLBACK TO ${ATTEMPT}; RELEASE ${ATTEMPT}`);
      refusal ??= thrown;
      if (!(thrown instanceof AntiphonError) || thrown.code !== 'CONSTRAINT') throw thrown;
    }
  }
  throw refusal;
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
}

/**
 * Also in a write of its own, after theirs was committed: where the log commits a write, what it did to tables that are
 * not replicated is undone (decision 28).
 */
export function forgetKept({ db }: Connection, lots: readonly Pick<Lot, 'table' | 'from' | 'to'>[]): void {
  for (const { table, from, to } of lots)
    db.prepare(`DELETE FROM ${keptTable(table)} WHERE ${IN_LOT}`).run(from, to);
}

/** Which rows go in one write when not all of them do. */
const CHOICES = ['oldest', 'newest', 'all'] as const;
type Choice = (typeof CHOICES)[number];

const ATTEMPT = '_antiphon_kept_attempt';

/** The kept rows of a table from one to another. */
export interface Lot {
  readonly table: TrackedTable;
  readonly from: number;
  readonly to: number;
  readonly rows: number;
}

const IN_LOT = '_antiphon_rowid BETWEEN ? AND ?';

/** A row that was kept twice has to be written in that order. */
function keysDiffer({ db }: Connection, table: TrackedTable): boolean {
  const key = table.key.map((part) => collated(table, columnName(table, part.column), part)).join(', ');
  return (
    db
      .prepare(`SELECT 1 FROM ${keptTable(table)} GROUP BY ${key} HAVING count(*) > 1 LIMIT 1`, 'value')
      .get() === undefined
  );
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

function deleteMissing(connection: Connection, { table, from, to }: Lot): void {
  connection.db.prepare(deleteKept(table, `k._antiphon_kind = '${MISSING}'`)).run(from, to);
}

function writeRows(connection: Connection, { table, from, to }: Lot, tables: readonly TrackedTable[]): void {
  const { db } = connection;
  const write = db.prepare(
    `INSERT OR ABORT INTO ${quoteName(table.name)} (${columnList(table)}) SELECT ${columnList(table)} FROM ${keptTable(table)} ` +
      `WHERE ${IN_LOT} AND _antiphon_kind <> '${MISSING}' ORDER BY _antiphon_rowid ${onConflict(table)}`,
  );
  try {
    write.run(from, to);
  } catch (thrown) {
    // They may want each other's unique values. Out of the way with all of them, where that deletes nothing else.
    const isParent = referencesBetween(tables).some(
      ({ parent, actsOnDelete }) => parent === table && actsOnDelete,
    );
    if (!isRefusal(thrown) || isParent) throw thrown;
    db.prepare(deleteKept(table, `k._antiphon_kind <> '${MISSING}'`)).run(from, to);
    write.run(from, to);
  }
}

function deleteKept(table: TrackedTable, condition: string): string {
  const same = table.key
    .map((part) => {
      const name = columnName(table, part.column);
      return `r.${name} = ${collated(table, `k.${name}`, part)}`;
    })
    .join(' AND ');
  return `DELETE FROM ${quoteName(table.name)} AS r WHERE EXISTS (SELECT 1 FROM ${keptTable(table)} AS k WHERE k.${IN_LOT} AND ${condition} AND ${same})`;
}

/** As many rows as go in one write. */
function lotsOf(connection: Connection, tables: readonly TrackedTable[], choice: Choice): readonly Lot[] {
  const lots: Lot[] = [];
  let room = choice === 'all' ? UNLIMITED : { rows: WRITTEN_ROWS, bytes: WRITTEN_BYTES };
  for (const table of tables) {
    const { lot, rows, bytes, all } = lotToWrite(connection, table, room, choice, lots.length === 0);
    if (lot !== undefined) lots.push(lot);
    if (!all) break;
    room = { rows: room.rows - rows, bytes: room.bytes - bytes };
  }
  return lots;
}

/** `all`: none is left. The first of a write goes whatever its size. */
function lotToWrite(
  connection: Connection,
  table: TrackedTable,
  room: typeof UNLIMITED,
  choice: Choice,
  isFirst: boolean,
): { readonly lot?: Lot; readonly rows: number; readonly bytes: number; readonly all: boolean } {
  const sizes = table.columns.map(
    (_, column) => `ifnull(length(CAST(${columnName(table, column)} AS BLOB)), 0)`,
  );
  const kept = connection.db
    .prepare(
      `SELECT _antiphon_rowid, ${balanced(sizes, '+')} FROM ${keptTable(table)}
       ORDER BY _antiphon_rowid ${choice === 'newest' ? 'DESC' : 'ASC'} LIMIT ?`,
      'array',
    )
    .all(room.rows + 1) as [number, number][];
  let [rows, bytes] = [0, 0];
  for (const [, size] of kept) {
    const fits = rows < room.rows && bytes + size <= room.bytes;
    if (!fits && !(isFirst && rows === 0)) break;
    bytes += size;
    rows++;
  }
  const all = rows === kept.length;
  const ends = [kept[0]?.[0], kept[rows - 1]?.[0]];
  const [from = 0, to = 0] = choice === 'newest' ? ends.toReversed() : ends;
  return { rows, bytes, all, ...(rows > 0 && { lot: { table, from, to, rows } }) };
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
