import { AntiphonError } from '@antiphon/core';
import type Database from 'better-sqlite3';
import { shortened, statementError } from './errors.js';
import { METADATA_PREFIX } from './identifiers.js';
import type { TrackedTable } from './local-table.js';
import { lockedRow, type LockedRow } from './locks.js';
import { tokenize } from './trigger-guard.js';
import { bindParameters, readable, type Parameters } from './values.js';

const MAX_STATEMENTS = 256;

export interface RunResult {
  readonly changes: number;
  readonly lastInsertRowid: number | bigint;
}

/**
 * What a write's function gets. Statements run at once, inside the transaction of the write, on the calling thread; they see what the
 * ones before them did. Integers come as numbers, or as bigint when a number would not hold them exactly.
 */
export interface SqliteTransaction {
  run(sql: string, parameters?: Parameters): RunResult;
  /** The first row as an object, or undefined. */
  get<Row = Record<string, unknown>>(sql: string, parameters?: Parameters): Row | undefined;
  all<Row = Record<string, unknown>>(sql: string, parameters?: Parameters): Row[];
  /**
   * In a synchronous cluster with several writers: this write is rejected when another one that was committed first changed the row
   * with this primary key (one value, or the list of them in order), there or not. What a write changes it has locked anyway; lock what
   * it only read and relies on. Does nothing in other clusters. Throws UNKNOWN_TABLE and BAD_OPTION.
   */
  lock(table: string, key: unknown): void;
}

/** What would end, leave or rebuild the transaction that the store keeps. */
const REFUSED = new Map<string, string>([
  ['BEGIN', 'a write is a transaction already'],
  ['COMMIT', 'the store commits when the function returns'],
  ['END', 'the store commits when the function returns'],
  ['ROLLBACK', 'throw from the function to undo the write'],
  ['SAVEPOINT', 'throw from the function to undo the write'],
  ['RELEASE', 'throw from the function to undo the write'],
  ['ATTACH', 'only the replicated database can be written to'],
  ['DETACH', 'only the replicated database can be written to'],
  ['PRAGMA', 'the store keeps the settings of this connection'],
  ['VACUUM', 'run it with another program while no write is waiting'],
  ['CREATE', 'schema changes belong in a migration'],
  ['DROP', 'schema changes belong in a migration'],
  ['ALTER', 'schema changes belong in a migration'],
  ['REINDEX', 'schema changes belong in a migration'],
]);

const NO_PARAMETERS: readonly unknown[] = [];

/** Users' statements on the writing connection: prepared once, oldest forgotten first. */
export class UserStatements implements SqliteTransaction {
  readonly #statements = new Map<string, Database.Statement>();
  #open = false;

  #locks: LockedRow[] = [];

  constructor(
    private readonly db: Database.Database,
    private readonly tables: () => readonly TrackedTable[],
  ) {}

  /** From here until `end`, statements are accepted. */
  begin(): void {
    this.#open = true;
  }

  end(): void {
    this.#open = false;
  }

  run(sql: string, parameters: Parameters = NO_PARAMETERS): RunResult {
    const statement = this.#prepare(sql);
    try {
      if (statement.reader) return this.#runReader(statement, parameters);
      const { changes, lastInsertRowid } = statement.run(bindParameters(parameters));
      return { changes, lastInsertRowid: readable(lastInsertRowid) as number | bigint };
    } catch (thrown) {
      throw this.#failed(thrown, sql);
    }
  }

  get<Row>(sql: string, parameters: Parameters = NO_PARAMETERS): Row | undefined {
    const statement = this.#prepare(sql);
    try {
      if (!statement.reader)
        throw new AntiphonError('BAD_SQL', `this statement returns no rows, use run: ${shortened(sql)}`);
      const row = statement.get(bindParameters(parameters)) as Record<string, unknown> | undefined;
      return row === undefined ? undefined : (readableRow(row) as Row);
    } catch (thrown) {
      throw this.#failed(thrown, sql);
    }
  }

  all<Row>(sql: string, parameters: Parameters = NO_PARAMETERS): Row[] {
    const statement = this.#prepare(sql);
    try {
      if (!statement.reader)
        throw new AntiphonError('BAD_SQL', `this statement returns no rows, use run: ${shortened(sql)}`);
      return (statement.all(bindParameters(parameters)) as Record<string, unknown>[]).map(
        (row) => readableRow(row) as Row,
      );
    } catch (thrown) {
      throw this.#failed(thrown, sql);
    }
  }

  lock(table: string, key: unknown): void {
    this.#assertOpen();
    this.#locks.push(lockedRow(this.tables(), table, key));
  }

  /** Those of the write that has just ended. */
  takeLocks(): readonly LockedRow[] {
    const locks = this.#locks;
    if (locks.length > 0) this.#locks = [];
    return locks;
  }

  /** For instance `INSERT … RETURNING`, whose rows nobody asked for. */
  #runReader(statement: Database.Statement, parameters: Parameters): RunResult {
    statement.all(bindParameters(parameters));
    const counts = this.db
      .prepare('SELECT changes() AS changes, last_insert_rowid() AS rowid')
      .safeIntegers(true);
    const { changes, rowid } = counts.get() as { changes: bigint; rowid: bigint };
    return {
      changes: statement.readonly ? 0 : Number(changes),
      lastInsertRowid: readable(rowid) as number | bigint,
    };
  }

  #assertOpen(): void {
    if (this.#open) return;
    throw new AntiphonError(
      'CLOSED',
      'this transaction is over: use it only inside the function that was given it.',
    );
  }

  #prepare(sql: string): Database.Statement {
    this.#assertOpen();
    if (!this.db.inTransaction) {
      throw new AntiphonError(
        'BAD_SQL',
        'the database has rolled this transaction back (an earlier statement failed with ROLLBACK); let its error out of the function.',
      );
    }
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#check(sql);
    const oldest = this.#statements.keys().next();
    if (this.#statements.size >= MAX_STATEMENTS && oldest.done !== true)
      this.#statements.delete(oldest.value);
    this.#statements.set(sql, statement);
    return statement;
  }

  #check(sql: string): Database.Statement {
    if (typeof sql !== 'string') throw new AntiphonError('BAD_SQL', 'a statement must be a string of SQL.');
    const [first] = tokenize(sql);
    const why = REFUSED.get(first?.text.toUpperCase() ?? '');
    if (why !== undefined)
      throw new AntiphonError(
        'BAD_SQL',
        `${first?.text.toUpperCase() ?? ''} cannot be used here, ${why}: ${shortened(sql)}`,
      );
    let statement: Database.Statement;
    try {
      statement = this.db.prepare(sql).safeIntegers(true);
    } catch (thrown) {
      throw statementError(thrown, sql);
    }
    if (!statement.readonly && sql.toLowerCase().includes(METADATA_PREFIX)) {
      throw new AntiphonError(
        'BAD_SQL',
        `tables whose names start with ${METADATA_PREFIX} belong to Antiphon: ${shortened(sql)}`,
      );
    }
    return statement;
  }

  #failed(thrown: unknown, sql: string): AntiphonError {
    return statementError(thrown, sql);
  }
}

function readableRow(row: Record<string, unknown>): Record<string, unknown> {
  for (const name of Object.keys(row)) row[name] = readable(row[name]);
  return row;
}
