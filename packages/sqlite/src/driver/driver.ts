/** A value as SQLite stores it. */
export type SqliteValue = null | bigint | number | string | Uint8Array;

/**
 * How rows come back: as objects by column name, as arrays, or only the value of the first column.
 * `exact` forms read integers as bigint, all 64 bits; the others read numbers, and throw a
 * RangeError rather than round.
 */
export type RowForm = 'object' | 'array' | 'value' | 'exact object' | 'exact array' | 'exact value';

/**
 * Values by the full names of their parameters (`:a`, `?7`). Drivers differ in what they do with
 * nameless ones beside them.
 */
export class NamedParameters {
  constructor(readonly values: Readonly<Record<string, SqliteValue>>) {}
}
export type Bindings = readonly SqliteValue[] | readonly [NamedParameters];

/**
 * One statement, prepared for one form of rows. BLOBs come as Uint8Array; numbers are bound as
 * REAL, bigints as INTEGER.
 */
export interface Statement {
  run(...parameters: Bindings): { changes: number; lastInsertRowid: number | bigint };
  /** The first row, or undefined. */
  get(...parameters: Bindings): unknown;
  all(...parameters: Bindings): unknown[];
  /** Row by row; leaving the loop ends the read. One iteration of a statement at a time. */
  iterate(...parameters: Bindings): IterableIterator<unknown>;
  /** Names of the columns of its rows: none for a statement that returns no rows. */
  columns(): string[];
}

/**
 * False refuses what is being prepared. `source` is the trigger or view that does it, null for the
 * statement itself.
 */
export type Authorizer = (
  action: number,
  first: string | null,
  second: string | null,
  database: string | null,
  source: string | null,
) => boolean;

/** A connection. Errors of SQLite carry its extended result code (result-codes.ts). */
export interface Database {
  readonly isOpen: boolean;
  readonly inTransaction: boolean;
  exec(sql: string): void;
  /** Compiles the first statement of the text and ignores the rest. Default form: object. */
  prepare(sql: string, form?: RowForm): Statement;
  /**
   * Whether COMMIT would fail now for foreign keys that only it checks. Inside a transaction, which
   * it leaves as it is.
   */
  violatesForeignKeys(): boolean;
  /**
   * Asked about everything that is compiled from here on. Setting it makes SQLite compile every
   * statement again.
   */
  authorize(authorizer: Authorizer): void;
  close(): void;
}
