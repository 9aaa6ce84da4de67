import type { Change, DictionaryTable, TransactionBatch } from '@antiphon/core';
import type { Connection } from './connection.js';
import { quoteText } from './identifiers.js';
import type { Lot } from './kept-lots.js';
import { tablesWithKept } from './kept-rows.js';
import { collated, columnName, type TrackedTable } from './local-table.js';
import { keptTable } from './metadata.js';
import { bindingOf } from './values.js';

const ROWS = '(SELECT value FROM json_each(?))';
/** In `_antiphon_doubt`. */
const RESTORED = 'perhaps written already';

/**
 * Which kept rows each attempt to write them again holds. A synchronous group is mostly not
 * committed by its own transaction but by what the log says, and a process may die in between: so
 * an attempt is noted before its message leaves, under the token of its group, and its rows are
 * forgotten by whichever transaction brings that group into this database (docs/decisions/0054). As
 * one connection sees it.
 */
export class KeptAttempts {
  constructor(private readonly connection: Connection) {}

  /** Whether just these rows are noted under the token. */
  has(token: string, lots: readonly Lot[]): boolean {
    const noted = this.connection
      .statement('SELECT count(*) FROM _antiphon_kept_attempts WHERE token = ?', 'value')
      .get(token) as number;
    const found = lots.reduce((sum, { table, rows }) => sum + this.#count(token, table, rows), 0);
    return noted === found && found === lots.reduce((sum, { rows }) => sum + rows.length, 0);
  }

  #count(token: string, table: TrackedTable, rows: readonly number[]): number {
    return this.connection
      .statement(
        `SELECT count(*) FROM _antiphon_kept_attempts WHERE token = ? AND tbl = ? AND kept IN ${ROWS}`,
        'value',
      )
      .get(token, BigInt(table.id), JSON.stringify(rows)) as number;
  }

  note(token: string, lots: readonly Lot[]): void {
    this.connection.statement('DELETE FROM _antiphon_kept_attempts WHERE token = ?').run(token);
    for (const { table, rows } of lots)
      this.connection
        .statement(`INSERT INTO _antiphon_kept_attempts SELECT ?, ?, value FROM json_each(?)`)
        .run(token, BigInt(table.id), JSON.stringify(rows));
  }

  /**
   * In the transaction that brings an own group into this database. A rejected one has written
   * nothing.
   */
  arrived(token: string, tables: readonly TrackedTable[], rejected = false): boolean {
    const ids = this.connection
      .statement('SELECT DISTINCT tbl FROM _antiphon_kept_attempts WHERE token = ?', 'value')
      .all(token) as number[];
    if (ids.length === 0) return false;
    const present = tablesWithKept(this.connection, tables);
    for (const id of rejected ? [] : ids) {
      const table = present.find((candidate) => candidate.id === id);
      if (table !== undefined) this.#forget(token, table);
    }
    this.connection.statement('DELETE FROM _antiphon_kept_attempts WHERE token = ?').run(token);
    return true;
  }

  /** Other attempts at the same rows can't arrive any more: this one has taken their numbers. */
  #forget(token: string, table: TrackedTable): void {
    const ofTable = `tbl = ${table.id}`;
    this.connection
      .statement(
        `DELETE FROM ${keptTable(table)} WHERE _antiphon_rowid IN
           (SELECT kept FROM _antiphon_kept_attempts WHERE token = ? AND ${ofTable})`,
      )
      .run(token);
    this.connection
      .statement(
        `DELETE FROM _antiphon_kept_attempts WHERE ${ofTable} AND token <> ?
           AND kept NOT IN (SELECT _antiphon_rowid FROM ${keptTable(table)})`,
      )
      .run(token);
  }

  /**
   * An own group came out of the log that this database did not know it had sent: it was restored
   * from a copy. What was noted since then is lost, so where the group changes a row that is kept
   * here, it may have been an attempt, and which others there were nobody can tell.
   */
  doubt({ tables: dictionary, transactions }: TransactionBatch, tables: readonly TrackedTable[]): void {
    const present = tablesWithKept(this.connection, tables);
    if (present.length === 0) return;
    const touched = transactions.some(({ changes }) => this.#touches(changes, dictionary, present));
    if (!touched) return;
    for (const table of present)
      this.connection.db.exec(
        `UPDATE ${keptTable(table)} SET _antiphon_doubt = ${quoteText(RESTORED)} WHERE _antiphon_doubt IS NULL`,
      );
  }

  #touches(
    changes: readonly Change[],
    dictionary: readonly DictionaryTable[],
    tables: readonly TrackedTable[],
  ): boolean {
    return changes.some((change) => {
      const entry = dictionary[change.table];
      const table = tables.find(({ name }) => name === entry?.name);
      if (table === undefined || entry === undefined) return false;
      const key = table.key.map((part) => {
        const name = table.columns[part.column]?.name ?? '';
        const binding = bindingOf(change.row[entry.columns.indexOf(name)] ?? null);
        const sql = `${columnName(table, part.column)} = ${collated(table, binding.expression, part)}`;
        return { sql, value: binding.value };
      });
      const condition = key.map(({ sql }) => sql).join(' AND ');
      return (
        this.connection
          .statement(`SELECT EXISTS (SELECT 1 FROM ${keptTable(table)} WHERE ${condition})`, 'value')
          .get(...key.map(({ value }) => value)) === 1
      );
    });
  }
}
