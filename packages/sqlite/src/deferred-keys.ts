import { AntiphonError } from '@antiphon/core';
import type { Connection } from './connection.js';

/**
 * Foreign keys that SQLite checks at COMMIT only, where a violation would fail a whole group, and a
 * synchronous one after the log has it. So each write is checked when it ends, by SQLite's own
 * count of violations: whatever made one is seen, the rows that REPLACE deletes without a trigger,
 * generated columns and tables that are not replicated as well.
 */
export class DeferredKeys {
  readonly #tables: readonly string[];

  constructor(private readonly connection: Connection) {
    // The word alone, wherever it stands: a check too many costs microseconds. Without such a key
    // COMMIT checks nothing.
    this.#tables = connection.db
      .prepare(
        `SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%deferred%' ORDER BY name`,
        'value',
      )
      .all() as string[];
  }

  /** Of the transaction so far. Throws CONSTRAINT. */
  verify(): void {
    if (this.#tables.length === 0 || !this.connection.db.violatesForeignKeys()) return;
    const [table] = this.#tables;
    throw new AntiphonError(
      'CONSTRAINT',
      `FOREIGN KEY constraint failed: when the write ends, a row refers to a row that is not there, by a deferred key of ${this.#tables.join(' or ')}.`,
      this.#tables.length === 1 && table !== undefined ? { context: { table } } : {},
    );
  }
}
