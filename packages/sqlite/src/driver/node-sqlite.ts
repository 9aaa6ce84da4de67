import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import {
  NamedParameters,
  type Authorizer,
  type Bindings,
  type Database,
  type RowForm,
  type Statement,
} from './driver.js';
import type { OpenOptions } from './open-options.js';
import { resultCode } from './result-codes.js';

/** The module `node:sqlite`, or another with the same API. */
export interface SqliteModule {
  readonly DatabaseSync: typeof DatabaseSync;
}

const NO_CHANGES = new Uint8Array(0);
const CONSTRAINT = 19;
const OK = 0;
const DENY = 1;
/**
 * What SQLite keeps of the file in memory. Node's build has 2 MB for a default, too little for many
 * indexes.
 */
const CACHE_KIB = 16_000;

/** Parameters that do not bind as they are: `isBindFailure` knows it. */
export class BindError extends TypeError {
  override readonly name = 'BindError';
}

class NodeDatabase implements Database {
  constructor(
    private readonly database: DatabaseSync,
    private readonly bindsExactly: boolean,
  ) {}

  get isOpen(): boolean {
    return this.database.isOpen;
  }

  get inTransaction(): boolean {
    return this.database.isOpen && this.database.isTransaction;
  }

  exec(sql: string): void {
    this.database.exec(sql);
  }

  prepare(sql: string, form: RowForm = 'object'): Statement {
    const statement = this.database.prepare(sql);
    // They are given by their full names: `:a` and `$a` in one statement are two.
    statement.setAllowBareNamedParameters(false);
    const exact = form.startsWith('exact');
    if (exact) statement.setReadBigInts(true);
    if (!form.endsWith('object')) statement.setReturnArrays(true);
    const Class = form.endsWith('value') ? ValueStatement : RowStatement;
    return new Class(statement, exact, this.bindsExactly);
  }

  violatesForeignKeys(): boolean {
    try {
      // Applying changes, none here, ends with this check; there is no other way to ask for it.
      this.database.applyChangeset(NO_CHANGES);
      return false;
    } catch (thrown) {
      if (resultCode(thrown) === CONSTRAINT) return true;
      throw thrown;
    }
  }

  authorize(authorizer: Authorizer): void {
    this.database.setAuthorizer((action, first, second, database, source) =>
      authorizer(action, first, second, database, source) ? OK : DENY,
    );
  }

  close(): void {
    if (this.database.isOpen) this.database.close();
  }
}

/**
 * What keeps a statement while somebody has its rows: @photostructure/sqlite frees one that nobody
 * holds, and its iterator would read what was freed.
 */
const statementOf = new WeakMap<object, StatementSync>();

class RowStatement implements Statement {
  constructor(
    protected readonly statement: StatementSync,
    private readonly exact: boolean,
    private readonly bindsExactly: boolean,
  ) {}

  run(...parameters: Bindings): ReturnType<Statement['run']> {
    const result = this.statement.run(...this.bound(parameters));
    return this.exact
      ? { changes: Number(result.changes), lastInsertRowid: result.lastInsertRowid }
      : (result as ReturnType<Statement['run']>);
  }

  get(...parameters: Bindings): unknown {
    return this.statement.get(...this.bound(parameters));
  }

  all(...parameters: Bindings): unknown[] {
    return this.statement.all(...this.bound(parameters));
  }

  iterate(...parameters: Bindings): IterableIterator<unknown> {
    const rows = this.statement.iterate(...this.bound(parameters));
    statementOf.set(rows, this.statement);
    return rows;
  }

  columns(): string[] {
    return this.statement.columns().map(({ name }) => name);
  }

  protected bound(parameters: Bindings): SQLInputValue[] {
    const first = parameters[0];
    if (first instanceof NamedParameters) {
      if (!this.bindsExactly) for (const value of Object.values(first.values)) verifyValue(value);
      return [first.values as unknown as SQLInputValue];
    }
    // Any other object in the first place would be taken for named parameters, and those that it
    // does not name for NULL.
    verifyType(first);
    if (!this.bindsExactly) for (const value of parameters) verifyValue(value);
    return parameters as SQLInputValue[];
  }
}

class ValueStatement extends RowStatement {
  override get(...parameters: Bindings): unknown {
    return firstOf(this.statement.get(...this.bound(parameters)));
  }

  override all(...parameters: Bindings): unknown[] {
    const rows: unknown[] = this.statement.all(...this.bound(parameters));
    for (let index = 0; index < rows.length; index++) rows[index] = firstOf(rows[index]);
    return rows;
  }

  override *iterate(...parameters: Bindings): IterableIterator<unknown> {
    for (const row of this.statement.iterate(...this.bound(parameters))) yield firstOf(row);
  }
}

function firstOf(row: unknown): unknown {
  return row === undefined ? undefined : (row as unknown[])[0];
}

function verifyType(value: unknown): void {
  const type = typeof value;
  if ((type !== 'object' && type !== 'function') || value === null || ArrayBuffer.isView(value)) return;
  throw new BindError(`A value of type ${type} cannot be bound to an SQLite parameter.`);
}

/** For a driver that ends text at its first NUL, or binds what it does not know as NULL. */
function verifyValue(value: unknown): void {
  if (typeof value === 'string' && value.includes('\0'))
    throw new BindError(
      'This driver cannot bind text with a NUL character. Bind its bytes, with CAST(? AS TEXT).',
    );
  if (value === undefined)
    throw new BindError('`undefined` cannot be bound to an SQLite parameter. Use null.');
  verifyType(value);
}

export function openWith(
  { DatabaseSync }: SqliteModule,
  bindsExactly: boolean,
  file: string,
  { readOnly = false, busyTimeoutMs = 0, julianDay, triggerDepth }: OpenOptions,
): Database {
  const database = new DatabaseSync(file, {
    ...{ readOnly, timeout: busyTimeoutMs },
    ...(triggerDepth !== undefined && { limits: { triggerDepth } }),
  });
  try {
    // The first statement reads the file: it may be busy, or no database.
    database.exec(`PRAGMA cache_size = -${CACHE_KIB}`);
    if (julianDay !== undefined) database.function('julianday', julianDay);
    return new NodeDatabase(database, bindsExactly);
  } catch (thrown) {
    database.close();
    throw thrown;
  }
}
