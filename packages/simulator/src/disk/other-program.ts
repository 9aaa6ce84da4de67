import { toAntiphonError } from '@antiphon/core';
import type { Database, SqliteTransaction } from '@antiphon/sqlite';
import { statementError, storeError } from '@antiphon/sqlite/internal';
import type { Program } from './connection.js';
import type { DatabaseFile } from './database-file.js';

type Bindings = Parameters<ReturnType<Database['prepare']>['run']>;

/** A program that knows nothing of replication, and has a replica's database open. */
export class OtherProgram implements Program {
  #database: Database | undefined;

  constructor(
    readonly name: string,
    private readonly file: DatabaseFile,
    private readonly julianDay: () => number,
  ) {}

  /** One transaction. Throws STORE_BUSY while somebody else writes, NOT_WRITABLE, CONSTRAINT. */
  write(run: (tx: SqliteTransaction) => unknown): void {
    const database = this.#begin();
    try {
      run(transactionOn(database));
      database.prepare('COMMIT').run();
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

  #begin(): Database {
    if (this.#database?.isOpen !== true) {
      this.#database = this.file.connect(this, { julianDay: this.julianDay });
      this.#database.exec('PRAGMA foreign_keys = ON');
      this.#database.exec('PRAGMA synchronous = NORMAL');
    }
    const database = this.#database;
    try {
      database.prepare('BEGIN IMMEDIATE').run();
    } catch (thrown) {
      throw storeError(thrown, 'another program could not begin');
    }
    return database;
  }
}

/** As a write of the library sees it, on any connection. */
function transactionOn(database: Database): SqliteTransaction {
  const attempt = <T>(sql: string, work: () => T): T => {
    try {
      return work();
    } catch (thrown) {
      throw statementError(thrown, sql);
    }
  };
  const bound = (parameters: unknown): Bindings => (parameters ?? []) as unknown as Bindings;
  return {
    run: (sql, parameters) => attempt(sql, () => database.prepare(sql).run(...bound(parameters))),
    get: <Row>(sql: string, parameters?: unknown) =>
      attempt(sql, () => database.prepare(sql).get(...bound(parameters)) as Row | undefined),
    all: <Row>(sql: string, parameters?: unknown) =>
      attempt(sql, () => database.prepare(sql).all(...bound(parameters)) as Row[]),
    lock: () => undefined,
  };
}
