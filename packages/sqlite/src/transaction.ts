import { AntiphonError } from '@antiphon/core';
import { AccessControl, type CheckedStatement } from './access.js';
import type { Database, RowForm, Statement } from './driver/driver.js';
import { shortened, statementError } from './errors.js';
import { statementBegins, writeEnds } from './running-statement.js';
import { HeldValues } from './held-values.js';
import type { TrackedTable } from './local-table.js';
import { lockedRow, type LockedRow } from './locks.js';
import { orderParameters } from './statement-text.js';
import { readable, type Parameters } from './values.js';

const MAX_STATEMENTS = 256;

/** What a statement did. */
export interface RunResult {
  /** How many rows it changed, without those that triggers and foreign keys changed. */
  readonly changes: number;
  /** The rowid of the row that was inserted last on this connection. */
  readonly lastInsertRowid: number | bigint;
}

/**
 * What a write's function gets. Statements run at once, inside the transaction of the write, on the
 * calling thread; they see what the ones before them did. Integers come as numbers, or as bigint
 * when a number would not hold them exactly; BLOBs as Uint8Array.
 */
export interface SqliteTransaction {
  /**
   * Runs one statement and gives no rows back.
   *
   * @throws AntiphonError BAD_SQL, CONSTRAINT, STORE_BUSY, STORE_FULL. Caught by the function, it
   * undoes the statement only; let out of it, the whole transaction.
   * @example
   * tx.run('UPDATE stock SET amount = amount - ? WHERE sku = ?', [1, 'A-7']);
   */
  run(sql: string, parameters?: Parameters): RunResult;
  /**
   * Runs one statement; the first row as an object, or undefined.
   *
   * @throws what `run` throws; BAD_SQL for a statement that returns no rows
   */
  get<Row = Record<string, unknown>>(sql: string, parameters?: Parameters): Row | undefined;
  /**
   * Runs one statement; all rows as objects.
   *
   * @throws what `run` throws; BAD_SQL for a statement that returns no rows
   */
  all<Row = Record<string, unknown>>(sql: string, parameters?: Parameters): Row[];
  /**
   * Runs one statement; all rows as arrays in the order of the columns, of which several may have
   * one name.
   *
   * @throws what `run` throws; BAD_SQL for a statement that returns no rows
   */
  values<Row = unknown[]>(sql: string, parameters?: Parameters): Row[];
  /**
   * In a synchronous cluster with several writers: this write is rejected when another one that was
   * committed first changed the row with this primary key (one value, or the list of them in
   * order), there or not. What a write changes it has locked anyway; lock what it only read and
   * relies on. Does nothing in other clusters. The table is named as in SQL, without regard to
   * case; the key is converted as its columns convert what is inserted.
   *
   * @throws AntiphonError UNKNOWN_TABLE, BAD_OPTION
   */
  lock(table: string, key: unknown): void;
}

const NO_PARAMETERS: readonly unknown[] = [];

/** Users' statements on the writing connection: prepared once, oldest forgotten first. */
export class UserStatements implements SqliteTransaction {
  readonly #access: AccessControl;
  readonly #statements = new Map<string, CheckedStatement>();
  /** Those whose rows come as arrays. */
  readonly #ofArrays = new Map<string, CheckedStatement>();
  #counts: Statement | undefined;
  #open = false;
  readonly #held = new HeldValues();
  #locks: LockedRow[] = [];
  #written = new Set<string>();

  constructor(
    private readonly db: Database,
    private readonly tables: () => readonly TrackedTable[],
  ) {
    this.#access = new AccessControl(db);
  }

  /** From here until `end`, statements are accepted. */
  begin(): void {
    this.#open = true;
  }

  end(): void {
    this.#open = false;
    writeEnds();
  }

  /** The schema has changed, and with it what statements touch. `repeated`: see `AccessControl`. */
  forget(repeated: ReadonlySet<string>): void {
    this.#access.repeated = repeated;
    this.#statements.clear();
    this.#ofArrays.clear();
  }

  run(sql: string, parameters: Parameters = NO_PARAMETERS): RunResult {
    const checked = this.#prepare(sql);
    if (checked.returnsRows) return this.#runReader(checked, sql, parameters);
    try {
      const { changes, lastInsertRowid } = checked.statement.run(
        ...orderParameters(checked.text, parameters, sql),
      );
      return { changes, lastInsertRowid: readable(lastInsertRowid) as number | bigint };
    } catch (thrown) {
      throw statementError(thrown, sql);
    }
  }

  get<Row>(sql: string, parameters: Parameters = NO_PARAMETERS): Row | undefined {
    const checked = this.#prepare(sql);
    // A statement that writes is not done before its last row: foreign keys are checked then.
    if (checked.access.writes.size > 0) return this.#objects(checked, sql, parameters)[0] as Row | undefined;
    this.#assertReturnsRows(checked, sql);
    try {
      const row = checked.statement.get(...orderParameters(checked.text, parameters, sql));
      return row === undefined ? undefined : (readableRow(row as Record<string, unknown>) as Row);
    } catch (thrown) {
      throw statementError(thrown, sql);
    }
  }

  all<Row>(sql: string, parameters: Parameters = NO_PARAMETERS): Row[] {
    return this.#objects(this.#prepare(sql), sql, parameters) as Row[];
  }

  values<Row>(sql: string, parameters: Parameters = NO_PARAMETERS): Row[] {
    const rows = this.#rows(this.#prepare(sql, 'exact array'), sql, parameters) as unknown[][];
    return rows.map((row) => row.map(readableValue)) as Row[];
  }

  #objects(checked: CheckedStatement, sql: string, parameters: Parameters): Record<string, unknown>[] {
    return (this.#rows(checked, sql, parameters) as Record<string, unknown>[]).map(readableRow);
  }

  #rows(checked: CheckedStatement, sql: string, parameters: Parameters): unknown[] {
    this.#assertReturnsRows(checked, sql);
    try {
      return checked.statement.all(...orderParameters(checked.text, parameters, sql));
    } catch (thrown) {
      throw statementError(thrown, sql);
    }
  }

  #assertReturnsRows({ returnsRows }: CheckedStatement, sql: string): void {
    if (!returnsRows)
      throw new AntiphonError(
        'BAD_SQL',
        `This statement returns no rows. Use run(). Statement: ${shortened(sql)}`,
      );
  }

  lock(table: string, key: unknown): void {
    this.#assertOpen();
    this.#locks.push(lockedRow(this.tables(), table, key, this.#held));
  }

  /** Those of the write that has just ended. */
  takeLocks(): readonly LockedRow[] {
    const locks = this.#locks;
    if (locks.length > 0) this.#locks = [];
    return locks;
  }

  /**
   * Tables and views that the statements of the write that has just ended could write to, triggers
   * and foreign keys included.
   */
  takeWritten(): ReadonlySet<string> {
    const written = this.#written;
    if (written.size > 0) this.#written = new Set();
    return written;
  }

  /** For instance `INSERT … RETURNING`, whose rows nobody asked for. */
  #runReader(checked: CheckedStatement, sql: string, parameters: Parameters): RunResult {
    this.#rows(checked, sql, parameters);
    this.#counts ??= this.db.prepare('SELECT changes(), last_insert_rowid()', 'exact array');
    const [changes, rowid] = this.#counts.get() as [bigint, bigint];
    return {
      changes: checked.access.writes.size === 0 ? 0 : Number(changes),
      lastInsertRowid: readable(rowid) as number | bigint,
    };
  }

  #assertOpen(): void {
    if (this.#open) return;
    throw new AntiphonError(
      'CLOSED',
      'This transaction is over. Use it only inside the function that was given it.',
    );
  }

  #prepare(sql: string, form: RowForm = 'exact object'): CheckedStatement {
    this.#assertOpen();
    if (!this.db.inTransaction) {
      throw new AntiphonError(
        'BAD_SQL',
        'The database has rolled this transaction back: an earlier statement failed with ROLLBACK. Let its error leave the function.',
      );
    }
    const known = form === 'exact object' ? this.#statements : this.#ofArrays;
    const checked = known.get(sql) ?? this.#checked(sql, form, known);
    for (const table of checked.access.writes) this.#written.add(table);
    statementBegins(sql);
    return checked;
  }

  #checked(sql: string, form: RowForm, known: Map<string, CheckedStatement>): CheckedStatement {
    const checked = this.#access.prepare(sql, form, 'write');
    const oldest = known.keys().next();
    if (known.size >= MAX_STATEMENTS && oldest.done !== true) known.delete(oldest.value);
    known.set(sql, checked);
    return checked;
  }
}

/** An ordinary object: the driver's have no prototype. */
function readableRow(row: Record<string, unknown>): Record<string, unknown> {
  const readableValues = { ...row };
  for (const name of Object.keys(readableValues)) readableValues[name] = readableValue(readableValues[name]);
  return readableValues;
}

function readableValue(value: unknown): unknown {
  return typeof value === 'bigint' ? readable(value) : value;
}
