import type { AccessControl, CheckedStatement } from './access.js';

/** A user's query, compiled and examined. */
export interface KnownStatement extends CheckedStatement {
  readonly columns: readonly string[];
}

const MOST_KEPT = 64;
const EXPLAINS = /\bexplain\b/i;
/** Of a statement's text, in characters. */
const LONGEST_KEPT = 4096;

/**
 * Queries that are asked again and again are compiled and examined once: that takes longer than a
 * row by its key does.
 */
export class KnownStatements {
  /** By their text; the one that was used last is at the end. */
  readonly #kept = new Map<string, KnownStatement>();

  constructor(private readonly access: AccessControl) {}

  /**
   * What `run` makes of it. It has no effects: it may be run twice. `isKept`: for the next time,
   * with the parameters that it was run with. Throws BAD_SQL.
   */
  use<T>(sql: string, run: (statement: KnownStatement) => T, isKept = true): T {
    const kept = this.#kept.get(sql);
    this.#kept.delete(sql);
    if (kept !== undefined) {
      const outcome = this.#unlessCompiled(() => run(kept));
      if (outcome.type === 'done') {
        if (isKept) this.#keep(sql, kept);
        return outcome.result;
      }
    }
    // SQLite looks at the file's schema when it runs a statement; to explain one, it runs none.
    if (EXPLAINS.test(sql))
      this.use('SELECT 1 FROM sqlite_schema LIMIT 1', ({ statement }) => statement.all());
    for (;;) {
      const checked = this.access.prepare(sql, 'exact array', 'query');
      const statement = { ...checked, columns: checked.statement.columns() };
      const { asked } = this.access;
      const result = run(statement);
      const isExplained = statement.text.firstWord === 'EXPLAIN';
      const isOfNow = asked === this.access.asked;
      if (isKept && !isExplained && isOfNow) this.#keep(sql, statement);
      // Also now SQLite looks at the file's schema only when it runs a statement.
      if (isOfNow || isSame(statement.columns, checked.statement.columns())) return result;
    }
  }

  /**
   * SQLite compiles a statement anew when the schema has changed: it may have other columns then,
   * or do what nobody has examined. What comes of that does not count.
   */
  #unlessCompiled<T>(
    run: () => T,
  ): { readonly type: 'done'; readonly result: T } | { readonly type: 'again' } {
    const { asked } = this.access;
    try {
      const result = run();
      if (asked === this.access.asked) return { type: 'done', result };
    } catch (thrown) {
      if (asked === this.access.asked) throw thrown;
    }
    return { type: 'again' };
  }

  #keep(sql: string, statement: KnownStatement): void {
    if (sql.length > LONGEST_KEPT) return;
    this.#kept.set(sql, statement);
    if (this.#kept.size <= MOST_KEPT) return;
    for (const oldest of this.#kept.keys()) return void this.#kept.delete(oldest);
  }
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((name, index) => name === others[index]);
}
