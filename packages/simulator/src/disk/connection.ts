import type { Database, RowForm, Statement } from '@antiphon/sqlite';

/** Who has a database open. */
export interface Program {
  readonly name: string;
  /** Before it takes the write lock; throws what SQLite would. */
  beforeBegin?(): void;
  /** Before it commits; throws what SQLite would. */
  beforeCommit?(): void;
}

/**
 * Hears what the connections to a database do: its file, which knows who writes and what is
 * committed.
 */
export interface ConnectionListener {
  begun(connection: SimulatedConnection): void;
  /** `durable`: the commit waited for the disk. */
  committed(connection: SimulatedConnection, durable: boolean): void;
  /** A transaction ended without a commit. */
  ended(connection: SimulatedConnection): void;
  closed(connection: SimulatedConnection): void;
}

type Authorizer = Parameters<Database['authorize']>[0];

/** A connection that reports its transactions, and can be made to fail. */
export class SimulatedConnection implements Database {
  /** Each commit waits for the disk. */
  #durable = false;

  constructor(
    private readonly inner: Database,
    private readonly listener: ConnectionListener,
    readonly program: Program,
  ) {
    inner.exec('PRAGMA wal_autocheckpoint = 0');
  }

  get isOpen(): boolean {
    return this.inner.isOpen;
  }

  get inTransaction(): boolean {
    return this.inner.inTransaction;
  }

  exec(sql: string): void {
    const synchronous = /^PRAGMA synchronous = (\w+)/.exec(sql)?.[1];
    // The disk is this simulation's: nothing has to wait for the real one.
    if (synchronous !== undefined) return void (this.#durable = synchronous === 'FULL');
    // Earlier states of the file are made of its log.
    if (/^PRAGMA wal_(auto)?checkpoint/.test(sql)) return;
    this.inner.exec(sql);
  }

  prepare(sql: string, form?: RowForm): Statement {
    const statement = this.inner.prepare(sql, form);
    if (sql === 'BEGIN IMMEDIATE') return instead(statement, (run) => this.#begin(run));
    if (sql === 'COMMIT') return instead(statement, (run) => this.#commit(run));
    if (sql === 'ROLLBACK') return instead(statement, (run) => this.#rollback(run));
    return statement;
  }

  violatesForeignKeys(): boolean {
    return this.inner.violatesForeignKeys();
  }

  authorize(authorizer: Authorizer): void {
    this.inner.authorize(authorizer);
  }

  close(): void {
    this.inner.close();
    this.listener.closed(this);
  }

  #begin(run: Run): ReturnType<Run> {
    this.program.beforeBegin?.();
    const result = run();
    this.listener.begun(this);
    return result;
  }

  #commit(run: Run): ReturnType<Run> {
    this.program.beforeCommit?.();
    const result = run();
    this.listener.committed(this, this.#durable);
    return result;
  }

  #rollback(run: Run): ReturnType<Run> {
    const result = run();
    this.listener.ended(this);
    return result;
  }
}

type Run = () => ReturnType<Statement['run']>;

function instead(statement: Statement, doing: (run: Run) => ReturnType<Run>): Statement {
  return {
    run: () => doing(() => statement.run()),
    get: (...parameters) => statement.get(...parameters),
    all: (...parameters) => statement.all(...parameters),
    iterate: (...parameters) => statement.iterate(...parameters),
    columns: () => statement.columns(),
  };
}
