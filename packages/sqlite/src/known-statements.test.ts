import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from './driver/driver.js';
import { openDatabase } from './driver/find-driver.js';
import { ReadWork } from './read-work.js';

let folder: string;
let writer: Database;
let work: ReadWork;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antiphon-known-'));
  const file = join(folder, 'shop.db');
  writer = openDatabase(file, {});
  writer.exec('PRAGMA journal_mode = WAL');
  writer.exec('CREATE TABLE stock (sku TEXT PRIMARY KEY, amount INTEGER)');
  writer.exec("INSERT INTO stock VALUES ('A', 1), ('B', 2)");
  work = new ReadWork(file);
});

afterEach(() => {
  work.close();
  writer.close();
  rmSync(folder, { recursive: true });
});

function query(sql: string, parameters: readonly (string | bigint | Uint8Array)[] = [], maxRows = 10) {
  const read = work.run({ type: 'query', sql, parameters, maxRows, maxBytes: 1e6 });
  return read.type === 'query' ? read.result : undefined;
}

describe('a query that is asked again', () => {
  it('is explained as it would be done now', () => {
    const sql = 'EXPLAIN QUERY PLAN SELECT * FROM stock WHERE amount = 1';
    const plan = (): string => String(query(sql)?.rows[0]?.at(-1));
    expect(plan()).toContain('SCAN');
    writer.exec('CREATE INDEX by_amount ON stock (amount)');
    expect(plan()).toContain('USING INDEX by_amount');
  });

  it('has the parameters and the rows of its time', () => {
    const sql = 'SELECT amount FROM stock WHERE sku = ?';
    expect(query(sql, ['A'])).toEqual({ columns: ['amount'], rows: [[1n]] });
    expect(query(sql, ['B'])).toEqual({ columns: ['amount'], rows: [[2n]] });
    writer.exec("UPDATE stock SET amount = 7 WHERE sku = 'A'");
    expect(query(sql, ['A'])).toEqual({ columns: ['amount'], rows: [[7n]] });
    expect(() => query(sql)).toThrow('too few parameters');
    expect(query(sql, [new Uint8Array(100_000)])).toEqual({ columns: ['amount'], rows: [] });
    expect(query(sql, ['B'])).toEqual({ columns: ['amount'], rows: [[2n]] });
  });

  it('has the columns of its time when it is asked for the first time after a change', () => {
    query('SELECT 1 FROM stock');
    const rows = (sql: string): unknown =>
      query(sql)?.rows[0]?.map((value, at) => [query(sql)?.columns[at], value]);
    writer.exec('ALTER TABLE stock ADD COLUMN place TEXT');
    expect(query('SELECT * FROM stock WHERE 1')?.columns).toEqual(['sku', 'amount', 'place']);
    writer.exec('ALTER TABLE stock RENAME COLUMN place TO room');
    expect(query('SELECT * FROM stock WHERE 2')?.columns).toEqual(['sku', 'amount', 'room']);
    writer.exec('CREATE TABLE other (amount INTEGER, sku TEXT PRIMARY KEY)');
    writer.exec('INSERT INTO other SELECT amount, sku FROM stock');
    writer.exec('DROP TABLE stock; ALTER TABLE other RENAME TO stock');
    const first = query('SELECT * FROM stock WHERE 3 ORDER BY sku');
    expect(first).toEqual({
      columns: ['amount', 'sku'],
      rows: [
        [1n, 'A'],
        [2n, 'B'],
      ],
    });
    expect(rows("SELECT name FROM pragma_table_info('stock')")).toEqual([['name', 'amount']]);
  });

  it('has the columns of its time, and fails when its table has gone', () => {
    const sql = 'SELECT * FROM stock ORDER BY sku';
    const shown = (...columns: string[]): void => {
      for (let time = 0; time < 2; time++) {
        expect(query(sql)?.columns).toEqual(columns);
        expect(query(sql)?.rows[1]).toHaveLength(columns.length);
      }
    };
    shown('sku', 'amount');
    writer.exec('ALTER TABLE stock ADD COLUMN place TEXT');
    shown('sku', 'amount', 'place');
    writer.exec('ALTER TABLE stock DROP COLUMN amount');
    shown('sku', 'place');
    writer.exec('DROP TABLE stock');
    expect(() => query(sql)).toThrow('no such table');
    writer.exec("CREATE TABLE stock (name TEXT); INSERT INTO stock VALUES ('C')");
    expect(() => query(sql)).toThrow('no such column: sku');
  });

  it('is examined again when the schema has changed', () => {
    const sql = 'SELECT * FROM pragma_optimize';
    writer.exec('CREATE TABLE pragma_optimize (a)');
    expect(() => query(sql)).toThrow('A query only reads');
    writer.exec('DROP TABLE pragma_optimize');
    const view = 'SELECT count(*) FROM shown';
    writer.exec('CREATE VIEW shown AS SELECT * FROM stock');
    expect(query(view)?.rows).toEqual([[2n]]);
    writer.exec('DROP VIEW shown; CREATE VIEW shown AS SELECT * FROM pragma_optimize');
    expect(() => query(view)).toThrow();
  });

  it('ends at its limit each time, and holds no transaction open', () => {
    const sql = 'SELECT sku FROM stock';
    for (let time = 0; time < 3; time++) {
      expect(() => query(sql, [], 1)).toThrow('more than 1 rows');
      expect(query(sql, [], 2)?.rows).toHaveLength(2);
      expect(() => query(sql, [], 1)).toThrow('more than 1 rows');
      writer.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    }
    expect(writer.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()).toMatchObject({ busy: 0, log: 0 });
  });

  it('is one of the last that were asked', () => {
    for (let round = 0; round < 2; round++)
      for (let number = 0; number < 200; number++)
        expect(query(`SELECT ${number} AS n`)).toEqual({ columns: ['n'], rows: [[BigInt(number)]] });
  });
});
