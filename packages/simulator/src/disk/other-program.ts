import { AntiphonError, toAntiphonError } from '@antiphon/core';
import type { Database, SqliteTransaction, Statement } from '@antiphon/sqlite';
import { statementError, storeError } from '@antiphon/sqlite/internal';
import type { Program } from './connection.js';
import type { DatabaseFile } from './database-file.js';
import { busyError, fullError } from './sqlite-error.js';

type Bindings = Parameters<ReturnType<Database['prepare']>['run']>;

/** Most statements of a run are the same few. */
const MOST_STATEMENTS = 100;

/** SQLite's own limit takes a tenth of a second to reach, and shows nothing else. */
const TRIGGER_DEPTH = 50;

/** Statements of one transaction, and what they find. */
export interface SchemaEditor {
  /** Fails when the transaction is over. */
  run(sql: string): void;
  /** Rows as lists of values. */
  read(sql: string, ...parameters: readonly string[]): readonly (readonly unknown[])[];
}

/** A program that knows nothing of replication, and has a replica's database open. */
export class OtherProgram implements Program {
  #database: Database | undefined;
  /** Of its connection. */
  readonly #statements = new Map<string, Statement>();

  constructor(
    readonly name: string,
    private readonly file: DatabaseFile,
    private readonly julianDay: () => number,
    /** What it says on its connection before anything else. */
    private readonly settings: readonly string[] = ['PRAGMA foreign_keys = ON'],
  ) {}

  beforeCommit(): void {
    if (this.file.full) throw fullError();
  }

  /** One transaction. Throws STORE_BUSY while somebody else writes, NOT_WRITABLE, CONSTRAINT. */
  write(run: (tx: SqliteTransaction) => unknown): void {
    const database = this.#begin();
    try {
      run(transactionOn(database, (sql) => this.#statement(database, sql)));
      assertOpen(database);
      commit(database);
    } catch (thrown) {
      if (database.inTransaction) database.prepare('ROLLBACK').run();
      throw toAntiphonError(storeError(thrown, 'another program could not commit'));
    }
  }

  /** Begins a transaction and takes its time. Returns how to end it. */
  lock(): () => void {
    const database = this.#begin();
    return () => {
      if (database.inTransaction) database.prepare('ROLLBACK').run();
    };
  }

  /** Changes of the schema, which commit by themselves. */
  execute(sql: string): void {
    const database = this.#begin();
    try {
      database.exec(sql);
      database.prepare('COMMIT').run();
    } catch (thrown) {
      if (database.inTransaction) database.prepare('ROLLBACK').run();
      throw thrown;
    }
  }

  /** As `execute`, for changes that depend on what is there. All of it, or nothing. */
  edit(change: (editor: SchemaEditor) => void): void {
    const database = this.#begin();
    const run = (sql: string): void => {
      assertOpen(database);
      database.exec(sql);
    };
    const read: SchemaEditor['read'] = (sql, ...parameters) =>
      database.prepare(sql, 'array').all(...parameters) as unknown[][];
    try {
      change({ run, read });
      assertOpen(database);
      database.prepare('COMMIT').run();
    } catch (thrown) {
      if (database.inTransaction) database.prepare('ROLLBACK').run();
      throw thrown;
    }
  }

  /** A statement that no transaction may hold, such as VACUUM. */
  executeAlone(sql: string): void {
    const database = this.#open();
    if (this.file.busy) throw busyError();
    database.exec(sql);
    this.file.committedAlone();
  }

  #open(): Database {
    if (this.#database?.isOpen !== true) {
      this.#statements.clear();
      this.#database = this.file.connect(this, { julianDay: this.julianDay, triggerDepth: TRIGGER_DEPTH });
      for (const setting of this.settings) this.#database.exec(setting);
      this.#database.exec('PRAGMA synchronous = NORMAL');
    }
    return this.#database;
  }

  #statement(database: Database, sql: string): Statement {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    if (this.#statements.size >= MOST_STATEMENTS) this.#statements.clear();
    const statement = database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #begin(): Database {
    const database = this.#open();
    try {
      database.prepare('BEGIN IMMEDIATE').run();
    } catch (thrown) {
      throw storeError(thrown, 'another program could not begin');
    }
    return database;
  }
}

/** OR ROLLBACK ends a transaction; what comes after it would commit by itself. */
function assertOpen(database: Database): void {
  if (!database.inTransaction)
    throw new AntiphonError('CONSTRAINT', 'A statement has rolled the transaction back.');
}

/** Which may fail for a foreign key that is checked only now. */
function commit(database: Database): void {
  try {
    database.prepare('COMMIT').run();
  } catch (thrown) {
    throw database.inTransaction ? statementError(thrown, 'COMMIT') : thrown;
  }
}

/** As a write of the library sees it, on any connection. */
function transactionOn(database: Database, prepare: (sql: string) => Statement): SqliteTransaction {
  const attempt = <T>(sql: string, work: () => T): T => {
    assertOpen(database);
    try {
      return work();
    } catch (thrown) {
      throw statementError(thrown, sql);
    }
  };
  const bound = (parameters: unknown): Bindings => (parameters ?? []) as unknown as Bindings;
  return {
    run: (sql, parameters) => attempt(sql, () => prepare(sql).run(...bound(parameters))),
    get: <Row>(sql: string, parameters?: unknown) =>
      attempt(sql, () => prepare(sql).get(...bound(parameters)) as Row | undefined),
    all: <Row>(sql: string, parameters?: unknown) =>
      attempt(sql, () => prepare(sql).all(...bound(parameters)) as Row[]),
    values: <Row>(sql: string, parameters?: unknown) =>
      attempt(sql, () => database.prepare(sql, 'array').all(...bound(parameters)) as Row[]),
    lock: () => undefined,
  };
}
