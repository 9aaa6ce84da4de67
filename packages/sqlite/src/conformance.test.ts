import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import type { Row, Store, Value, WriteRequest } from '@antiphon/core';
import {
  CONFORMANCE_TABLES,
  storeConformance,
  type ConformanceTable,
  type RowOperation,
  type StoreHarness,
} from '@antiphon/testing/conformance';
import { sqlite, type SqliteTransaction } from './index.js';

type Run = (sql: string, parameters: readonly Value[]) => void;

class SqliteHarness implements StoreHarness<SqliteTransaction> {
  readonly #dir = mkdtempSync(join(tmpdir(), 'antiphon-conformance-'));
  readonly #files = new Map<Store<SqliteTransaction>, string>();
  #count = 0;

  open(tables: readonly ConformanceTable[]): Promise<Store<SqliteTransaction>> {
    const file = this.#newFile();
    this.#use(file, (db) => {
      for (const table of tables) db.exec(ddlOf(table));
    });
    return Promise.resolve(this.#opened(file));
  }

  async reopen(store: Store<SqliteTransaction>): Promise<Store<SqliteTransaction>> {
    await store.close();
    return this.#opened(this.#fileOf(store));
  }

  /** What a killed process leaves behind is the file and its write-ahead log, as they are now. */
  crash(store: Store<SqliteTransaction>): Promise<Store<SqliteTransaction>> {
    const from = this.#fileOf(store);
    const to = this.#newFile();
    for (const suffix of ['', '-wal'])
      if (existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix);
    return Promise.resolve(this.#opened(to));
  }

  request(operations: readonly RowOperation[]): WriteRequest<SqliteTransaction> {
    return { run: (tx) => perform((sql, parameters) => void tx.run(sql, parameters), operations) };
  }

  writeOutside(store: Store<SqliteTransaction>, operations: readonly RowOperation[]): Promise<void> {
    return Promise.resolve().then(() =>
      this.#use(this.#fileOf(store), (db) => {
        db.exec('BEGIN');
        try {
          perform((sql, values) => void db.prepare(sql).run(...(values as SQLInputValue[])), operations);
          db.exec('COMMIT');
        } catch (thrown) {
          db.exec('ROLLBACK');
          throw thrown;
        }
      }),
    );
  }

  rows(store: Store<SqliteTransaction>, name: string): Promise<readonly Row[]> {
    const table = tableOf(name);
    const columns = columnsOf(table);
    const sql = `SELECT ${list(columns)} FROM ${quote(name)} ORDER BY ${list(table.key)}`;
    return Promise.resolve(
      this.#use(this.#fileOf(store), (db) => {
        const select = db.prepare(sql);
        select.setReadBigInts(true);
        select.setReturnArrays(true);
        return select.all() as unknown as Row[];
      }),
    );
  }

  async dispose(): Promise<void> {
    for (const store of this.#files.keys()) await store.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #opened(file: string): Store<SqliteTransaction> {
    const store = sqlite({ file });
    this.#files.set(store, file);
    return store;
  }

  #newFile(): string {
    return join(this.#dir, `${++this.#count}.db`);
  }

  #fileOf(store: Store<SqliteTransaction>): string {
    const file = this.#files.get(store);
    if (file === undefined) throw new Error('not a store of this harness');
    return file;
  }

  #use<T>(file: string, work: (db: DatabaseSync) => T): T {
    const db = new DatabaseSync(file, { timeout: 5000 });
    try {
      return work(db);
    } finally {
      db.close();
    }
  }
}

function perform(run: Run, operations: readonly RowOperation[]): void {
  for (const operation of operations) {
    if (operation.op === 'throw') throw new Error('the writer gave up');
    const table = tableOf(operation.table);
    if (operation.op === 'put') run(upsertOf(table), operation.row);
    else
      run(
        `DELETE FROM ${quote(table.name)} WHERE ${table.key.map((column) => `${quote(column)} IS ?`).join(' AND ')}`,
        operation.key,
      );
  }
}

function upsertOf(table: ConformanceTable): string {
  const columns = columnsOf(table);
  const others = columns.filter((column) => !table.key.includes(column));
  const set = others.map((column) => `${quote(column)} = excluded.${quote(column)}`).join(', ');
  return (
    `INSERT INTO ${quote(table.name)} (${list(columns)}) VALUES (${columns.map(() => '?').join(', ')}) ` +
    `ON CONFLICT (${list(table.key)}) DO UPDATE SET ${set}`
  );
}

function ddlOf(table: ConformanceTable): string {
  const columns = table.columns.map(({ name, declaredType }) => `${quote(name)} ${declaredType}`);
  const key = table.key.length > 0 ? [`PRIMARY KEY (${list(table.key)})`] : [];
  const unique = (table.unique ?? []).map((set) => `UNIQUE (${list(set)})`);
  // Not a CHECK: whether that refuses a row is for its origin to decide.
  const checks = Object.entries(table.atLeast ?? {}).map(
    ([column, least]) =>
      `${quote(`${column} in range`)} AS (CASE WHEN ${quote(column)} >= ${least} THEN 1 END) NOT NULL`,
  );
  return `CREATE TABLE ${quote(table.name)} (${[...columns, ...checks, ...key, ...unique].join(', ')})`;
}

function tableOf(name: string): ConformanceTable {
  const table = CONFORMANCE_TABLES.find((candidate) => candidate.name === name);
  if (table === undefined) throw new Error(`no table ${name}`);
  return table;
}

function columnsOf(table: ConformanceTable): readonly string[] {
  return table.columns.map(({ name }) => name);
}

function list(columns: readonly string[]): string {
  return columns.map(quote).join(', ');
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

storeConformance('sqlite', { capturesForeignWriters: true }, () => new SqliteHarness());
