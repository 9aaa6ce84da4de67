import type { Row } from '@antiphon/core';
import { isUniqueViolation } from './errors.js';
import type { RowStatements } from './row-statements.js';

/**
 * Writes a row. With `replace`, rows that hold one of its unique values are deleted; true when
 * there were some.
 */
function upsertOrReplace(statements: RowStatements, row: Row, replace: boolean): boolean {
  try {
    statements.upsert([row]);
    return false;
  } catch (thrown) {
    if (!replace || !isUniqueViolation(thrown)) throw thrown;
    statements.replace(row);
    return true;
  }
}

/**
 * Rows of one transaction that collide with a row which the same transaction changes later. Its
 * changes come as what they are in the end, and in an order in which each of them alone need not
 * fit beside the others: a foreign-key action runs before the change that set it off is captured.
 * So a row that does not fit gives up its place, and gets it when all of the transaction is
 * written.
 */
export class PostponedRows {
  #rows: readonly { readonly statements: RowStatements; readonly row: Row }[] = [];

  upsert(statements: RowStatements, rows: readonly Row[]): void {
    this.#supersede(statements, rows);
    try {
      statements.upsert(rows);
    } catch (thrown) {
      if (!isUniqueViolation(thrown)) throw thrown;
      for (const row of rows) this.#upsertOne(statements, row);
    }
  }

  delete(statements: RowStatements, rows: readonly Row[]): void {
    this.#supersede(statements, rows);
    statements.delete(rows);
  }

  /** A row that waits is not what its transaction has made of it since. */
  #supersede(statements: RowStatements, later: readonly Row[]): void {
    if (this.#rows.length === 0) return;
    this.#rows = this.#rows.filter(
      (waiting) =>
        waiting.statements !== statements || !later.some((row) => statements.sameKey(waiting.row, row)),
    );
  }

  #upsertOne(statements: RowStatements, row: Row): void {
    // Also of those before it in its run.
    this.#supersede(statements, [row]);
    try {
      statements.upsert([row]);
    } catch (thrown) {
      if (!isUniqueViolation(thrown)) throw thrown;
      // Its old content may be what stands in the way of others.
      statements.delete([row]);
      this.#rows = [...this.#rows, { statements, row }];
    }
  }

  /**
   * At the end of the transaction. Throws what the database says of a row that does not fit even
   * then, unless `override` is set: then the rows in its way are deleted, and counted.
   */
  place(override: boolean): number {
    let overridden = 0;
    const rows = this.#rows;
    this.#rows = [];
    for (const { statements, row } of rows) if (upsertOrReplace(statements, row, override)) overridden++;
    return overridden;
  }

  clear(): void {
    this.#rows = [];
  }
}
