import type { DatabaseSync } from 'node:sqlite';
import type { RunResult, SqliteTransaction } from '@antiphon/sqlite';
import { BetterSQLiteSession, BetterSQLiteTransaction } from 'drizzle-orm/better-sqlite3/session';
import { BaseSQLiteDatabase, SQLiteSyncDialect } from 'drizzle-orm/sqlite-core';

/** Drizzle on statements that run at once. */
export type SyncDatabase = BaseSQLiteDatabase<'sync', RunResult>;

/** What Drizzle's session for better-sqlite3 asks of that package; it needs nothing else of it. */
interface Statement {
  run(...params: unknown[]): unknown;
  all(...params: unknown[]): unknown[];
  get(...params: unknown[]): unknown;
  raw(): Pick<Statement, 'all' | 'get'>;
}

interface Connection {
  prepare(sql: string): Statement;
  transaction(run: (tx: SyncTransaction) => unknown): unknown;
}

/**
 * Drizzle inside `replica.transaction`: what is read decides what is written, and all of it is
 * undone together.
 */
export function transactionDatabase(tx: SqliteTransaction): SyncDatabase {
  return databaseOn({
    prepare: (sql) => ({
      run: (...params) => tx.run(sql, params),
      all: (...params) => tx.all(sql, params),
      get: (...params) => tx.get(sql, params),
      raw: () => ({
        all: (...params) => tx.values(sql, params),
        get: (...params) => tx.values(sql, params)[0],
      }),
    }),
    transaction: () => {
      throw new Error('This is a transaction already. Write in it, and let an error out of it to undo it.');
    },
  });
}

/**
 * Drizzle on the file itself, with the SQLite of Node.js: before there is a replica, or beside one.
 * The function of a transaction cannot wait: a promise from it undoes the transaction, and throws.
 */
export function fileDatabase(database: DatabaseSync): SyncDatabase {
  return databaseOn({
    prepare: (sql) => fileStatement(database, sql),
    transaction: (run) => {
      const immediate = (): unknown => transactionOn(database, run);
      return { deferred: immediate, immediate, exclusive: immediate };
    },
  });
}

type SyncTransaction = BetterSQLiteTransaction<Record<string, never>, Record<string, never>>;

function transactionOn(database: DatabaseSync, run: (tx: SyncTransaction) => unknown): unknown {
  let isOpen = true;
  const assertOpen = (): void => {
    if (!isOpen) throw new Error('This transaction is over. Write while its function runs; it cannot wait.');
  };
  const session = sessionOn({
    prepare: (sql) => fileStatement(database, sql, assertOpen),
    transaction: () => undefined, // those inside are savepoints
  });
  const tx = new BetterSQLiteTransaction('sync', dialect, session as never, undefined);
  // The replica writes to the file as well: see docs/other-programs.md.
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = atOnce(run)(tx as unknown as SyncTransaction);
    database.exec('COMMIT');
    return result;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  } finally {
    isOpen = false;
  }
}

/** As better-sqlite3 has it: an async function would be committed at its first `await`. */
function atOnce(run: (tx: SyncTransaction) => unknown): (tx: SyncTransaction) => unknown {
  return (tx) => {
    const savepoint = tx.transaction.bind(tx);
    tx.transaction = ((inner: typeof run) => savepoint(atOnce(inner))) as typeof savepoint;
    const result = run(tx);
    if (!isPromiseLike(result)) return result;
    // What it does later fails, and its caller has the error below.
    result.then(undefined, () => undefined);
    throw new TypeError(
      'The function of a transaction cannot wait, and this one returned a promise. Nothing of it was written. Leave ' +
        'out `async`, and use .get(), .all() and .run().',
    );
  };
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { readonly then?: unknown } | null | undefined)?.then === 'function';
}

function fileStatement(database: DatabaseSync, sql: string, assertOpen = (): void => undefined): Statement {
  const statement = (returnArrays: boolean): Statement => {
    assertOpen();
    const prepared = database.prepare(sql);
    prepared.setReturnArrays(returnArrays);
    return prepared as unknown as Statement;
  };
  return {
    run: (...params) => statement(false).run(...params),
    all: (...params) => statement(false).all(...params),
    get: (...params) => statement(false).get(...params),
    raw: () => ({
      all: (...params) => statement(true).all(...params),
      get: (...params) => statement(true).get(...params),
    }),
  };
}

const dialect = new SQLiteSyncDialect();

function sessionOn(connection: Connection) {
  return new BetterSQLiteSession(connection, dialect, undefined);
}

function databaseOn(connection: Connection): SyncDatabase {
  return new BaseSQLiteDatabase('sync', dialect, sessionOn(connection) as never, undefined);
}
