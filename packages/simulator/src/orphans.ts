import type { SqliteTransaction } from '@antiphon/sqlite';
import { attempting } from './random-tables.js';
import { orphansIn, SqliteCopy, type Texts } from './sqlite-copy.js';

/**
 * SQLite leaves out a check of a foreign key that says SET NULL where the same statement may carry
 * out that action before it comes to the check (3.40 to 3.54): an upsert that changes the key which
 * its own table refers to, REPLACE in such a table, a BEFORE trigger that deletes parents. Children
 * are without their parent then, on a database without replication as well, and on all replicas. Of
 * keys that only COMMIT checks SQLite merely counts the violations: one that goes makes room for
 * another. Which ones there are, SQLite alone tells when it runs the same statements on the same
 * rows.
 */
export class OrphansOfSqlite {
  readonly #byToken = new Map<string, readonly string[]>();
  #first: readonly string[] = [];

  /** Runs statements of a write; some of them may fail, and the rest counts. */
  attempt(tx: SqliteTransaction, statements: readonly string[], token: string): void {
    const texts: Texts = (sql) => tx.all<{ text: string }>(sql).map(({ text }) => text);
    const copy = saysSetNull(texts) ? new SqliteCopy(texts) : undefined;
    const before = orphansIn(texts);
    attempting((sql) => tx.run(sql), statements);
    const after = orphansIn(texts);
    if (copy === undefined || after.length === 0 || isEqual(after, before)) return;
    if (isEqual(copy.orphansAfter(statements), after)) this.#byToken.set(token, after);
  }

  /** SQLite alone has made the database that the cluster was created from. */
  foundedWith(orphans: readonly string[]): void {
    this.#first = orphans;
  }

  /** Those that were there, and those of writes that are committed. */
  of(committed: ReadonlySet<string>): ReadonlySet<string> {
    const later = [...this.#byToken].flatMap(([token, orphans]) => (committed.has(token) ? orphans : []));
    return new Set([...this.#first, ...later]);
  }

  /** Writes that left some. */
  get count(): number {
    return this.#byToken.size;
  }
}

function isEqual(one: readonly string[], other: readonly string[]): boolean {
  return one.join('\n') === other.join('\n');
}

function saysSetNull(texts: Texts): boolean {
  return texts(`SELECT name AS text FROM sqlite_schema WHERE sql LIKE '%SET NULL%' LIMIT 1`).length > 0;
}
