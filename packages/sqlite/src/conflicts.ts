import {
  decodeDocument,
  encodeDocument,
  type CutShort,
  cutShort,
  type KeptConflict,
  MAX_KEPT_CONFLICTS,
  type Row,
  type RowConflict,
  type Store,
  type Value,
} from '@antiphon/core';
import type { Connection } from './connection.js';
import type { TrackedTable } from './local-table.js';
import { rowsHere } from './rows-here.js';

/** Characters or bytes: of a longer value only the beginning is kept. */
const MAX_LENGTH = 16 * 1024;
const KEPT_START = 200;

interface Stored {
  readonly id: number;
  readonly atMs: number;
  readonly data: Uint8Array;
}

/**
 * The conflicts that were decided last, with both rows: the only copy of a lost one in this
 * database. Reads and writes within the caller's transaction.
 */
export class ConflictLedger {
  constructor(private readonly connection: Connection) {}

  add(conflicts: readonly RowConflict[], atMs: number): void {
    if (conflicts.length === 0) return;
    const insert = this.connection.statement('INSERT INTO _antiphon_conflicts (at_ms, data) VALUES (?, ?)');
    for (const conflict of conflicts) insert.run(atMs, encoded(conflict));
    this.connection
      .statement('DELETE FROM _antiphon_conflicts WHERE id <= (SELECT max(id) FROM _antiphon_conflicts) - ?')
      .run(MAX_KEPT_CONFLICTS);
  }

  list(
    tables: readonly TrackedTable[],
    { beforeId, limit }: Parameters<Store['conflicts']>[0],
  ): readonly KeptConflict[] {
    const found = this.connection
      .statement(
        'SELECT id, at_ms AS atMs, data FROM _antiphon_conflicts WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?',
      )
      .all(beforeId ?? null, beforeId ?? null, limit) as readonly Stored[];
    return found.map(({ id, atMs, data }) => {
      const conflict = {
        id,
        atMs,
        ...(decodeDocument(data) as unknown as Omit<KeptConflict, 'id' | 'atMs'>),
      };
      const { table, columns, key } = conflict;
      const here = rowOf(this.connection, tables, { table, columns, key });
      return { ...conflict, ...(here && { here: cutRow(here) }) };
    });
  }
}

/** The row with a key, as the database shows it. */
export function rowOf(
  connection: Connection,
  tables: readonly TrackedTable[],
  { table: name, columns, key }: Pick<RowConflict, 'table' | 'columns' | 'key'>,
): Row | undefined {
  const table = tables.find((one) => one.name === name);
  const place = new Map(table?.key.map(({ column }, index) => [column, key[index] ?? null]));
  if (table === undefined || place.size !== key.length) return undefined;
  const row = columns.map(
    (column) => place.get(table.columns.findIndex((one) => one.name === column)) ?? null,
  );
  const change = { table: name, op: 'update', columns, key, after: row } as const;
  return rowsHere(connection, tables)(change).here;
}

/** What is kept for people must not keep a transaction from being applied. */
function encoded(conflict: RowConflict): Uint8Array {
  try {
    return encodeDocument({ ...conflict });
  } catch {
    const { kept: _, lost: __, ...others } = conflict;
    return encodeDocument(others);
  }
}

/** Of long values only the beginning. */
export function cutRow(row: Row): readonly (Value | CutShort)[] {
  return row.map((value) => cutShort(value, MAX_LENGTH, KEPT_START));
}
