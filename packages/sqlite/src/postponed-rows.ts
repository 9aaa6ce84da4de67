import type { Row, Value } from '@antiphon/core';
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

interface Waiting {
  readonly statements: RowStatements;
  readonly row: Row;
}

/**
 * Rows of one transaction that collide with a row which the same transaction changes later. Its
 * changes come as what they are in the end, and in an order in which each of them alone need not
 * fit beside the others: a foreign-key action runs before the change that set it off is captured.
 * So a row that does not fit gives up its place, and gets it when all of the transaction is
 * written.
 */
export class PostponedRows {
  /** In the order in which they came. */
  readonly #rows = new Set<Waiting>();
  /** The same, by table and bucket of their keys. */
  readonly #buckets = new Map<RowStatements, Map<string, Set<Waiting>>>();

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
    const buckets = this.#buckets.get(statements);
    if (buckets === undefined || this.#rows.size === 0) return;
    for (const row of later) {
      const bucket = buckets.get(bucketOf(statements, row));
      for (const waiting of bucket ?? []) {
        if (!statements.sameKey(waiting.row, row)) continue;
        bucket?.delete(waiting);
        this.#rows.delete(waiting);
      }
    }
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
      this.#wait({ statements, row });
    }
  }

  #wait(waiting: Waiting): void {
    const { statements, row } = waiting;
    this.#rows.add(waiting);
    const buckets = this.#buckets.get(statements) ?? new Map<string, Set<Waiting>>();
    this.#buckets.set(statements, buckets);
    const text = bucketOf(statements, row);
    const bucket = buckets.get(text) ?? new Set();
    buckets.set(text, bucket.add(waiting));
  }

  /**
   * At the end of the transaction. Throws what the database says of a row that does not fit even
   * then, unless `override` is set: then the rows in its way are deleted, and counted.
   */
  place(override: boolean): number {
    let overridden = 0;
    const rows = [...this.#rows];
    this.clear();
    for (const { statements, row } of rows) if (upsertOrReplace(statements, row, override)) overridden++;
    return overridden;
  }

  clear(): void {
    this.#rows.clear();
    this.#buckets.clear();
  }
}

/** Equal for keys that any collation may call equal. */
function bucketOf({ table }: RowStatements, row: Row): string {
  return JSON.stringify(table.key.map(({ column }) => bucketOfValue(row[column] ?? null)));
}

function bucketOfValue(value: Value): string | number {
  if (typeof value === 'string') return value.toLowerCase().trimEnd();
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value);
  return typeof value === 'boolean' ? Number(value) : '';
}
