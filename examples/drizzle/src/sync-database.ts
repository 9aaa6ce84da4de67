import type { DatabaseSync } from 'node:sqlite';
import type { RunResult, SqliteTransaction } from '@antiphon/sqlite';
import { BetterSQLiteSession } from 'drizzle-orm/better-sqlite3/session';
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
  transaction(run: (tx: unknown) => unknown): unknown;
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
 */
export function fileDatabase(database: DatabaseSync): SyncDatabase {
  return databaseOn({
    prepare: (sql) => {
      const statement = (): Statement => database.prepare(sql) as unknown as Statement;
      const arrays = (): Statement => {
        const prepared = database.prepare(sql);
        prepared.setReturnArrays(true);
        return prepared as unknown as Statement;
      };
      return {
        run: (...params) => statement().run(...params),
        all: (...params) => statement().all(...params),
        get: (...params) => statement().get(...params),
        raw: () => ({
          all: (...params) => arrays().all(...params),
          get: (...params) => arrays().get(...params),
        }),
      };
    },
    transaction: (run) => {
      // The replica writes to the file as well: see docs/other-programs.md.
      const immediate = (tx: unknown): unknown => {
        database.exec('BEGIN IMMEDIATE');
        try {
          const result = run(tx);
          database.exec('COMMIT');
          return result;
        } catch (error) {
          database.exec('ROLLBACK');
          throw error;
        }
      };
      return { deferred: immediate, immediate, exclusive: immediate };
    },
  });
}

function databaseOn(connection: Connection): SyncDatabase {
  const dialect = new SQLiteSyncDialect();
  const session = new BetterSQLiteSession(connection, dialect, undefined);
  return new BaseSQLiteDatabase('sync', dialect, session as never, undefined);
}
