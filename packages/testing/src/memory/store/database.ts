import { AntiphonError, type Row } from '@antiphon/core';
import { CAPTURED, rowsOf, TABLES } from './spaces.js';
import {
  DatabaseTransaction,
  type CommittedChange,
  type Reading,
  type Space,
} from './database-transaction.js';
import { inKeyOrder, keyTextOf } from './key-order.js';
import { readRecord } from './replica-record.js';
import { nextNumber } from './sequence.js';
import { CompiledTable, type MemoryTable } from './table.js';
import { UserTransaction, type MemoryTransaction } from './user-transaction.js';

export interface MemoryDatabaseOptions {
  readonly tables?: readonly MemoryTable[];
  /** Rows that are there from the beginning, by table. */
  readonly rows?: Readonly<Record<string, readonly Row[]>>;
}

export interface Commit {
  /** Counts from 1 and is never used twice, not even after a power loss. */
  readonly number: number;
  readonly changes: readonly CommittedChange[];
}

/** As many commits can a power cut take back at most. */
const MAX_UNSYNCED_COMMITS = 64;

/**
 * What a database file is to a real store: it survives the process that had it open. Transactions are atomic and
 * serial; `powerLoss` takes the newest commits back, as a database without an fsync per commit may.
 */
export class MemoryDatabase implements Reading {
  readonly #content = new Map<string, Map<string, unknown>>();
  readonly #unsynced: Commit[] = [];
  readonly #listeners = new Set<(commit: Commit) => void>();
  readonly #compiled = new Map<string, CompiledTable>();
  #transaction: DatabaseTransaction | undefined;
  #commits = 0;

  constructor(options: MemoryDatabaseOptions = {}) {
    const transaction = this.begin();
    for (const table of options.tables ?? []) {
      this.createTable(transaction, table);
      const { schema } = this.table(table.name, transaction);
      for (const row of options.rows?.[table.name] ?? []) {
        transaction.put(rowsOf(table.name), keyTextOf(schema, row), row);
      }
    }
    transaction.commit();
    this.sync();
  }

  get commits(): number {
    return this.#commits;
  }

  /** A transaction is open. */
  get busy(): boolean {
    return this.#transaction !== undefined;
  }

  /** STORE_BUSY while another transaction is open. */
  begin(): DatabaseTransaction {
    if (this.#transaction !== undefined) {
      throw new AntiphonError(
        'STORE_BUSY',
        'another transaction is open on this database; try again when it has ended',
      );
    }
    const transaction = new DatabaseTransaction(this.#content, (changes) => this.#ended(changes));
    this.#transaction = transaction;
    return transaction;
  }

  /** Ends the open transaction of a process that is gone. */
  abandon(): void {
    this.#transaction?.rollback();
  }

  get<T>(space: Space<T>, key: string): T | undefined {
    return this.#content.get(space.name)?.get(key) as T | undefined;
  }

  entries<T>(space: Space<T>): Iterable<readonly [string, T]> {
    return (this.#content.get(space.name) ?? new Map<string, unknown>()) as Map<string, T>;
  }

  count<T>(space: Space<T>): number {
    return this.#content.get(space.name)?.size ?? 0;
  }

  createTable(transaction: DatabaseTransaction, table: MemoryTable): void {
    new CompiledTable(table);
    if (transaction.get(TABLES, table.name) === undefined) transaction.put(TABLES, table.name, table);
  }

  tableNames(reading: Reading = this): readonly string[] {
    return [...reading.entries(TABLES)].map(([name]) => name).sort();
  }

  /** UNKNOWN_TABLE. */
  table(name: string, reading: Reading = this): CompiledTable {
    const declaration = reading.get(TABLES, name);
    if (declaration === undefined)
      throw new AntiphonError('UNKNOWN_TABLE', `there is no table ${name}`, { context: { table: name } });
    const known = this.#compiled.get(name);
    if (known?.declaration === declaration) return known;
    const compiled = new CompiledTable(declaration);
    this.#compiled.set(name, compiled);
    return compiled;
  }

  /** Committed rows in key order. */
  rows(table: string): readonly Row[] {
    const rows = [...this.entries(rowsOf(table))].map(([, row]) => row);
    return inKeyOrder(this.table(table).schema, rows);
  }

  /** Another program writes: one transaction, captured like anybody's. STORE_BUSY while one is open, NOT_WRITABLE. */
  writeOutside<T>(run: (tx: MemoryTransaction) => T): T {
    const transaction = this.begin();
    try {
      const user = this.userTransaction(transaction, 'others');
      const value = run(user);
      transaction.commit();
      return value;
    } catch (error) {
      transaction.rollback();
      throw error;
    }
  }

  userTransaction(transaction: DatabaseTransaction, by: 'library' | 'others'): UserTransaction {
    return new UserTransaction(
      this,
      transaction,
      readRecord(transaction),
      nextNumber(transaction, 'writers'),
      by,
    );
  }

  hasCaptured(): boolean {
    return this.count(CAPTURED) > 0;
  }

  /** The power fails: the newest commits are gone. Returns them, newest first. Whoever had it open must be killed before. */
  powerLoss(commits: number): readonly Commit[] {
    this.abandon();
    const lost: Commit[] = [];
    while (lost.length < commits) {
      const commit = this.#unsynced.pop();
      if (commit === undefined) break;
      this.#takeBack(commit.changes);
      lost.push(commit);
    }
    return lost;
  }

  /** Called right after each commit, whoever made it. */
  onCommit(listener: (commit: Commit) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Everything committed is safe from `powerLoss` from now on. */
  sync(): void {
    this.#unsynced.length = 0;
  }

  #takeBack(changes: readonly CommittedChange[]): void {
    for (const { space, key, before } of [...changes].reverse()) {
      const content = this.#content.get(space);
      if (before === undefined) content?.delete(key);
      else content?.set(key, before);
    }
  }

  #ended(changes: readonly CommittedChange[] | undefined): void {
    this.#transaction = undefined;
    if (changes === undefined) return;
    this.#commits++;
    const commit = { number: this.#commits, changes };
    this.#unsynced.push(commit);
    if (this.#unsynced.length > MAX_UNSYNCED_COMMITS) this.#unsynced.shift();
    for (const listener of this.#listeners) listener(commit);
  }
}

/**
 * A database in memory, to be opened with `memoryStore`.
 *
 *     const database = memoryDatabase({ tables: [{ name: 'items', columns: ['id', 'name'], key: ['id'] }] });
 */
export function memoryDatabase(options?: MemoryDatabaseOptions): MemoryDatabase {
  return new MemoryDatabase(options);
}
