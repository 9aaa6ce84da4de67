import type { Row } from '@antiphon/core';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { quoted, type SimulatedTable } from './table.js';

function columnsOf(table: SimulatedTable): string {
  return table.columns.map(quoted).join(', ');
}

function keyIs(table: SimulatedTable): string {
  return table.key.map((name) => `${quoted(name)} = ?`).join(' AND ');
}

function insertion(table: SimulatedTable, verb: string): string {
  const places = table.columns.map(() => '?').join(', ');
  return `${verb} INTO ${quoted(table.name)} (${columnsOf(table)}) VALUES (${places})`;
}

export function insertRow(tx: SqliteTransaction, table: SimulatedTable, row: Row): void {
  tx.run(insertion(table, 'INSERT'), row);
}

/** Inserts the row, or changes the one with its key. */
export function putRow(tx: SqliteTransaction, table: SimulatedTable, row: Row): void {
  const rest = table.columns.filter((name) => !table.key.includes(name));
  const set = rest.map((name) => `${quoted(name)} = excluded.${quoted(name)}`).join(', ');
  const conflict = `ON CONFLICT (${table.key.map(quoted).join(', ')}) DO UPDATE SET ${set}`;
  tx.run(`${insertion(table, 'INSERT')} ${conflict}`, row);
}

/** As `putRow`, and deletes the rows that hold one of its unique values. */
export function replaceRow(tx: SqliteTransaction, table: SimulatedTable, row: Row): void {
  tx.run(insertion(table, 'INSERT OR REPLACE'), row);
}

export function deleteRow(tx: SqliteTransaction, table: SimulatedTable, key: Row): void {
  tx.run(`DELETE FROM ${quoted(table.name)} WHERE ${keyIs(table)}`, key);
}

/** One column of the row with that key; undefined when there is none. */
export function valueIn(tx: SqliteTransaction, table: SimulatedTable, key: Row, column: string): unknown {
  return tx.get(`SELECT ${quoted(column)} FROM ${quoted(table.name)} WHERE ${keyIs(table)}`, key)?.[column];
}

/** Whatever a driver calls an integer. */
export function numberOf(value: unknown): number {
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : 0;
}
