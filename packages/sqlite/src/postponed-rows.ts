import type { Row } from '@antiphon/core';
import { isUniqueViolation } from './errors.js';
import type { RowStatements } from './row-statements.js';

/**
 * Writes a row. With `replace`, rows that hold one of its unique values are deleted; true when
 * there were some.
 */
export function upsertOrReplace(statements: RowStatements, row: Row, replace: boolean): boolean {
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
  readonly #rows: { readonly statements: RowStatements; readonly row: Row }[] = [];

  upsert(statements: RowStatements, rows: readonly Row[]): void {
    try {
      statements.upsert(rows);
    } catch (thrown) {
      if (!isUniqueViolation(thrown)) throw thrown;
      for (const row of rows) this.#upsertOne(statements, row);
    }
  }

  #upsertOne(statements: RowStatements, row: Row): void {
    try {
      statements.upsert([row]);
    } catch (thrown) {
      if (!isUniqueViolation(thrown)) throw thrown;
      // Its old content may be what stands in the way of others.
      statements.delete([row]);
      this.#rows.push({ statements, row });
    }
  }

  /**
   * At the end of the transaction. Throws what the database says of a row that does not fit even
   * then, unless `override` is set: then the rows in its way are deleted, and counted.
   */
  place(override: boolean): number {
    let overridden = 0;
    for (const { statements, row } of this.#rows.splice(0))
      if (upsertOrReplace(statements, row, override)) overridden++;
    return overridden;
  }

  clear(): void {
    this.#rows.length = 0;
  }
}
