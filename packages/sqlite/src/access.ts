import { AntiphonError } from '@antiphon/core';
import type { Database, RowForm, Statement } from './driver/driver.js';
import { isDenied, shortened, statementError } from './errors.js';
import { METADATA_PREFIX, isMetadataName } from './identifiers.js';
import { readStatementText, type StatementText } from './statement-text.js';

/**
 * Tables that a statement reads and writes, by the names that they were created with: also through
 * views (which are listed as well), triggers and the actions of foreign keys. Our own triggers'
 * writes are left out.
 */
export interface StatementAccess {
  readonly reads: ReadonlySet<string>;
  /** Inserted into, updated or deleted from. Empty: the statement only reads. */
  readonly writes: ReadonlySet<string>;
}

/** A user's statement, prepared after it was seen what it would do. */
export interface CheckedStatement {
  readonly statement: Statement;
  readonly text: StatementText;
  readonly access: StatementAccess;
  /** False for a statement that returns no rows. */
  readonly returnsRows: boolean;
}

/**
 * What may be allowed of https://www.sqlite.org/c3ref/c_alter_table.html: anything else is refused.
 */
const ACTION = {
  DELETE: 9,
  INSERT: 18,
  PRAGMA: 19,
  READ: 20,
  SELECT: 21,
  UPDATE: 23,
  FUNCTION: 31,
  RECURSIVE: 33,
} as const;

/** Pragmas that only tell something, with or without an argument. */
const TELLING_PRAGMAS = new Set([
  'collation_list',
  'compile_options',
  'database_list',
  'foreign_key_check',
  'foreign_key_list',
  'function_list',
  'index_info',
  'index_list',
  'index_xinfo',
  'integrity_check',
  'module_list',
  'pragma_list',
  'quick_check',
  'table_info',
  'table_list',
  'table_xinfo',
]);
/** Pragmas that tell something as long as they have no argument. */
const SETTINGS = new Set([
  'application_id',
  'auto_vacuum',
  'data_version',
  'encoding',
  'foreign_keys',
  'freelist_count',
  'journal_mode',
  'page_count',
  'page_size',
  'schema_version',
  'user_version',
]);

const SCHEMA_TABLES = new Set(['sqlite_master', 'sqlite_schema', 'sqlite_temp_master', 'sqlite_temp_schema']);

export type AccessKind = 'write' | 'query';

const SCHEMA_CHANGE = 'schema changes belong in a migration';
const OTHER_FILE = 'only the replicated database can be used';

/** Why each kind of statement has no place inside a write. */
const REASONS: Readonly<Record<string, string>> = {
  BEGIN: 'a write is a transaction already',
  COMMIT: 'the store commits when the function returns',
  END: 'the store commits when the function returns',
  ROLLBACK: 'throw from the function to undo the write',
  SAVEPOINT: 'throw from the function to undo the write',
  RELEASE: 'throw from the function to undo the write',
  ATTACH: OTHER_FILE,
  DETACH: OTHER_FILE,
  PRAGMA: 'the store keeps the settings of this connection',
  VACUUM: 'run it with another program while no write is waiting',
  ANALYZE: 'run it with another program while no write is waiting',
};

type Refusal = 'own table' | 'statement';

/** What one statement does, while SQLite compiles it. */
class Examination implements StatementAccess {
  readonly reads = new Set<string>();
  readonly writes = new Set<string>();
  /** VACUUM and REINDEX may ask for nothing at all: only what reads or changes rows passes. */
  #touchesRows = false;
  #refused: Refusal | undefined;

  constructor(
    private readonly kind: AccessKind,
    private readonly explained: boolean,
    private readonly repeated: ReadonlySet<string>,
  ) {}

  get refused(): Refusal | undefined {
    return this.#refused ?? (this.#touchesRows ? undefined : 'statement');
  }

  allows(action: number, first: string | null, second: string | null, source: string | null): boolean {
    switch (action) {
      case ACTION.SELECT:
        this.#touchesRows = true;
        return true;
      case ACTION.READ:
        // The one pragma that does something (ANALYZE) when a SELECT reads it like a table.
        if (first === 'pragma_optimize') return this.#refuse('statement');
        if (first !== null) this.reads.add(first);
        return true;
      case ACTION.FUNCTION:
      case ACTION.RECURSIVE:
        return true;
      case ACTION.INSERT:
      case ACTION.UPDATE:
      case ACTION.DELETE:
        return this.#write(first ?? '', source);
      case ACTION.PRAGMA:
        return this.#pragma(first ?? '', second);
      default:
        return this.#refuse('statement');
    }
  }

  #write(table: string, source: string | null): boolean {
    if (SCHEMA_TABLES.has(table.toLowerCase())) return this.#refuse('statement');
    // Our triggers write our tables, whatever set them off.
    const ours = source !== null && isMetadataName(source);
    if (isMetadataName(table) && !ours) return this.#refuse('own table');
    if (this.kind === 'query' && !this.explained) return this.#refuse('statement');
    this.#touchesRows = true;
    const counts = source === null || !this.repeated.has(source);
    if (!this.explained && !ours && counts) this.writes.add(table);
    return true;
  }

  /** Some pragmas do their work while they are compiled. */
  #pragma(name: string, argument: string | null): boolean {
    const lower = name.toLowerCase();
    const tells = TELLING_PRAGMAS.has(lower) || (argument === null && SETTINGS.has(lower));
    if (this.kind === 'write' || !tells) return this.#refuse('statement');
    this.#touchesRows = true;
    return true;
  }

  #refuse(what: Refusal): false {
    this.#refused ??= what;
    return false;
  }
}

/**
 * Decides what users' statements on one connection may do, by what SQLite itself says while it
 * compiles them. In place for all that is compiled on the connection: setting it for one statement
 * would make SQLite compile all the others again.
 */
export class AccessControl {
  /**
   * Triggers that fire again where a change is applied: what they write does not count, it is not
   * lost with a transaction that is.
   */
  repeated: ReadonlySet<string> = new Set();
  #examined: Examination | undefined;
  #asked = 0;

  constructor(private readonly db: Database) {
    db.authorize((action, first, second, _database, source) => {
      this.#asked++;
      return this.#examined?.allows(action, first, second, source) ?? true;
    });
  }

  /**
   * Grows whenever SQLite compiles something, which it does by itself as well: a statement that was
   * compiled before the schema changed.
   */
  get asked(): number {
    return this.#asked;
  }

  /** BAD_SQL when the statement is wrong, or does what it may not. */
  prepare(sql: string, form: RowForm, kind: AccessKind): CheckedStatement {
    const text = readStatementText(sql);
    const examination = new Examination(kind, text.firstWord === 'EXPLAIN', this.repeated);
    this.#examined = examination;
    let statement: Statement;
    try {
      statement = this.db.prepare(sql, form);
    } catch (thrown) {
      throw isDenied(thrown) ? refusal(examination.refused, kind, text, sql) : statementError(thrown, sql);
    } finally {
      this.#examined = undefined;
    }
    if (examination.refused !== undefined) throw refusal(examination.refused, kind, text, sql);
    if (!text.single)
      throw new AntiphonError(
        'BAD_SQL',
        `There is more than one statement. Give one at a time. Statement: ${shortened(sql)}`,
      );
    const { reads, writes } = examination;
    return { statement, text, access: { reads, writes }, returnsRows: statement.columns().length > 0 };
  }
}

function refusal(
  refused: Refusal | undefined,
  kind: AccessKind,
  { firstWord }: StatementText,
  sql: string,
): AntiphonError {
  let message: string;
  if (kind === 'query') message = 'A query only reads. Write through a transaction.';
  else if (refused === 'own table')
    message = `Tables whose names start with ${METADATA_PREFIX} belong to Antiphon.`;
  else message = `${firstWord} cannot be used here: ${REASONS[firstWord] ?? SCHEMA_CHANGE}.`;
  return new AntiphonError('BAD_SQL', `${message} Statement: ${shortened(sql)}`);
}
