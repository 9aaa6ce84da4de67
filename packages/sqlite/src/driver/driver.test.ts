import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { isBindFailure, isBusy, isRefusal, isUniqueViolation } from '../errors.js';
import { NamedParameters, type Database, type SqliteValue } from './driver.js';
import { builtIn, chooseDriver, findDriver, photostructure, type Driver } from './find-driver.js';
import { resultCode, resultName } from './result-codes.js';

const directory = mkdtempSync(join(tmpdir(), 'antiphon-driver-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const MAJOR = Number(process.versions.node.split('.')[0]);
const candidates = { 'node:sqlite': builtIn(), '@photostructure/sqlite': photostructure() };
const available: Driver[] = Object.values(candidates).flatMap((found) =>
  'driver' in found ? [found.driver] : [],
);

describe('the choice of a driver', () => {
  it('takes the built-in one where it can do everything, else the package', () => {
    expect(candidates['@photostructure/sqlite']).toHaveProperty('driver');
    if (MAJOR < 24) expect(candidates['node:sqlite']).toHaveProperty('lacks');
    else expect(candidates['node:sqlite']).toHaveProperty('driver');
    expect(findDriver().name).toBe(MAJOR < 24 ? '@photostructure/sqlite' : 'node:sqlite');
  });

  it('says what each one lacks, and what to install, when there is none', () => {
    const without = [
      () => ({ name: 'node:sqlite', lacks: 'it has no authorizer' }) as const,
      () => ({ name: '@photostructure/sqlite', lacks: 'it is not installed' }) as const,
    ];
    expect(() => chooseDriver(without)).toThrow(
      /\(node:sqlite: it has no authorizer; @photostructure\/sqlite: it is not installed\)\. Use Node.js 24.*npm install @photostructure\/sqlite/,
    );
  });
});

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (thrown) {
    return thrown;
  }
  throw new Error('nothing was thrown');
}

describe.each(available)('the driver $name', ({ name, open }) => {
  let count = 0;
  const opened: Database[] = [];
  afterEach(() => {
    for (const db of opened.splice(0)) db.close();
  });

  function database(file = ':memory:', options: Parameters<typeof open>[1] = {}): Database {
    const db = open(file, options);
    opened.push(db);
    return db;
  }

  const newFile = (): string => join(directory, `${process.pid}-${name.length}-${count++}.db`);

  it('gives rows in each form, with exact integers or numbers', () => {
    const db = database();
    const sql = `SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'`;
    expect(db.prepare(sql).all()).toEqual([
      { a: 1, b: 'x' },
      { a: 2, b: 'y' },
    ]);
    expect(db.prepare(sql, 'array').all()).toEqual([
      [1, 'x'],
      [2, 'y'],
    ]);
    expect(db.prepare(sql, 'value').all()).toEqual([1, 2]);
    expect(db.prepare(sql, 'exact object').get()).toEqual({ a: 1n, b: 'x' });
    expect(db.prepare(sql, 'exact array').get()).toEqual([1n, 'x']);
    expect(db.prepare(sql, 'exact value').get()).toBe(1n);
    expect([...db.prepare(sql, 'value').iterate()]).toEqual([1, 2]);
    expect(db.prepare('SELECT 1 WHERE 0', 'value').get()).toBeUndefined();
    expect(db.prepare(sql).columns()).toEqual(['a', 'b']);
    expect(db.prepare('CREATE TABLE t (a)').columns()).toEqual([]);
  });

  it('keeps 64-bit integers, and throws rather than round one', () => {
    const db = database();
    db.exec('CREATE TABLE t (a)');
    const values = [9_223_372_036_854_775_807n, -9_223_372_036_854_775_808n, 9_007_199_254_740_993n];
    for (const value of values) db.prepare('INSERT INTO t VALUES (?)').run(value);
    expect(db.prepare('SELECT a FROM t', 'exact value').all()).toEqual(values);
    expect(() => db.prepare('SELECT a FROM t').all()).toThrow(/too large/);
    expect(isRefusal(thrownBy(() => db.prepare('SELECT ?').get(2n ** 63n)))).toBe(true);
  });

  it('binds numbers as REAL, bigints as INTEGER, and bytes as BLOB, whatever view they are', () => {
    const db = database();
    const types = db.prepare('SELECT typeof(?), typeof(?), typeof(?), typeof(?), typeof(?)', 'array');
    expect(types.get(1, 1n, 'x', null, new Uint8Array(1))).toEqual([
      'real',
      'integer',
      'text',
      'null',
      'blob',
    ]);
    const echo = db.prepare('SELECT ?', 'value');
    expect(Object.is(echo.get(-0), -0)).toBe(true);
    expect(echo.get(Infinity)).toBe(Infinity);
    expect(echo.get(Buffer.from('abc').subarray(1))).toEqual(new Uint8Array([98, 99]));
    expect(echo.get(new Uint8Array(0))).toEqual(new Uint8Array(0));
  });

  it('reads text with NUL whole, and binds it whole or refuses it', () => {
    const db = database();
    expect(db.prepare(`SELECT 'a' || char(0) || 'b'`, 'value').get()).toBe('a\0b');
    const bytes = db.prepare('SELECT hex(?)', 'value');
    let bound: unknown;
    try {
      bound = bytes.get('a\0b');
    } catch (thrown) {
      expect(isBindFailure(thrown)).toBe(true);
      bound = db.prepare('SELECT hex(CAST(? AS TEXT))', 'value').get(Buffer.from('a\0b'));
    }
    expect(bound).toBe('610062');
    expect(db.prepare(`SELECT CAST(x'41ff' AS TEXT)`, 'value').get()).toBe('A\ufffd');
  });

  it.each([
    ['an object', { tag: 'raw-text' }],
    ['a date', new Date(0)],
    ['undefined', undefined],
    ['a function', () => 1],
    ['a list', [1]],
  ])('refuses %s in any place, and never takes it for NULL', (_name, value) => {
    const statement = database().prepare('SELECT ?, ?');
    for (const parameters of [
      [value, 1],
      [1, value],
    ])
      expect(isBindFailure(thrownBy(() => statement.get(...(parameters as SqliteValue[]))))).toBe(true);
  });

  it('binds by full name', () => {
    const statement = database().prepare('SELECT :a, $a, ?7, @b, :a', 'array');
    const named = new NamedParameters({ ':a': 1n, $a: 2n, '?7': 3n, '@b': 4n });
    expect(statement.get(named)).toEqual([1, 2, 3, 4, 1]);
    expect(() => statement.get(new NamedParameters({ ':nowhere': 1n }))).toThrow(/nowhere/);
  });

  it('forgets the parameters of the run before', () => {
    const statement = database().prepare('SELECT ?', 'value');
    expect(statement.get('x')).toBe('x');
    expect(statement.get()).toBeNull();
  });

  it('takes as many columns and parameters as SQLite does', () => {
    const db = database();
    const columns = Array.from({ length: 1990 }, (_, index) => `c${index}`);
    db.exec(`CREATE TABLE t (${columns.join(', ')})`);
    const values = columns.map((_, index) => BigInt(index));
    db.prepare(`INSERT INTO t VALUES (${columns.map(() => '?').join(', ')})`).run(...values);
    expect(db.prepare('SELECT * FROM t', 'exact array').get()).toEqual(values);
    expect(Object.keys(db.prepare('SELECT * FROM t').get() as object)).toHaveLength(1990);
    const many = Array.from({ length: 32_000 }, (_, index) => BigInt(index));
    const sum = db.prepare(`SELECT count(*) FROM (VALUES ${many.map(() => '(?)').join(', ')})`, 'value');
    expect(sum.get(...many)).toBe(32_000);
  });

  it('carries the extended result code, and names it', () => {
    const db = database();
    db.exec('CREATE TABLE t (a PRIMARY KEY, b UNIQUE, c CHECK (c > 0)); INSERT INTO t VALUES (1, 1, 1)');
    const failing = (sql: string): unknown => thrownBy(() => db.prepare(sql).run());
    const named = (thrown: unknown): string => resultName(resultCode(thrown) ?? -1);
    expect(named(failing('INSERT INTO t VALUES (1, 2, 1)'))).toBe('SQLITE_CONSTRAINT_PRIMARYKEY');
    expect(named(failing('INSERT INTO t VALUES (2, 1, 1)'))).toBe('SQLITE_CONSTRAINT_UNIQUE');
    expect(named(failing('INSERT INTO t VALUES (2, 2, 0)'))).toBe('SQLITE_CONSTRAINT_CHECK');
    expect(named(failing('SELECT nowhere'))).toBe('SQLITE_ERROR');
    expect(isUniqueViolation(failing('INSERT INTO t VALUES (1, 2, 1)'))).toBe(true);
    expect(isUniqueViolation(failing('INSERT INTO t VALUES (2, 2, 0)'))).toBe(false);
    expect(isRefusal(failing('INSERT INTO t VALUES (2, 2, 0)'))).toBe(true);
    expect(named(thrownBy(() => open(join(directory, 'nowhere', 'x.db'))))).toBe('SQLITE_CANTOPEN');
    expect(resultCode(new TypeError('x'))).toBeUndefined();
    expect(resultName(6666)).toBe('SQLITE_IOERR (6666)');
  });

  it('knows a lock that another connection holds at once, and that it is inside a transaction', () => {
    const file = newFile();
    const [a, b] = [database(file), database(file)];
    a.exec('PRAGMA journal_mode = WAL; CREATE TABLE t (a)');
    expect(a.inTransaction).toBe(false);
    a.exec('BEGIN IMMEDIATE');
    expect(a.inTransaction).toBe(true);
    const startedMs = performance.now();
    const thrown = thrownBy(() => b.exec('BEGIN IMMEDIATE'));
    expect(isBusy(thrown)).toBe(true);
    expect(isRefusal(thrown)).toBe(false);
    expect(performance.now() - startedMs).toBeLessThan(1000);
    a.exec('ROLLBACK');
  });

  it('a read-only connection refuses to write, and a file that is not there', () => {
    const file = newFile();
    database(file).exec('CREATE TABLE t (a)');
    const db = database(file, { readOnly: true });
    expect(resultName(resultCode(thrownBy(() => db.exec('INSERT INTO t VALUES (1)'))) ?? -1)).toBe(
      'SQLITE_READONLY',
    );
    expect(() => open(newFile(), { readOnly: true })).toThrow(/unable to open/);
  });

  it('a loop that is left early, or whose statement is forgotten, holds no read transaction', () => {
    const file = newFile();
    const [reader, writer] = [database(file), database(file)];
    writer.exec('PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3)');
    for (const form of ['array', 'value'] as const) {
      for (const row of reader.prepare('SELECT a FROM t', form).iterate()) {
        expect(row).toBeDefined();
        break;
      }
      writer.exec('INSERT INTO t VALUES (4)');
      // A reader in the middle of an older state would keep the log from being emptied.
      expect(writer.prepare('PRAGMA wal_checkpoint(TRUNCATE)', 'array').get()).toEqual([0, 0, 0]);
    }
  });

  it('closes with a read open, twice, and ends what still reads', () => {
    const db = database();
    const rows = db.prepare('VALUES (1), (2), (3)').iterate();
    rows.next();
    db.close();
    db.close();
    expect(db.isOpen).toBe(false);
    expect(db.inTransaction).toBe(false);
    expect(() => rows.next()).toThrow();
  });

  it('statements survive the collection of thousands of others', () => {
    const db = database();
    const kept = db.prepare('SELECT ?', 'value');
    for (let round = 0; round < 20_000; round++) db.prepare(`SELECT ${round % 50}`).get();
    expect(kept.get('x')).toBe('x');
  });

  it('rows survive the collection of their statement', () => {
    const db = database();
    const numbers =
      'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n';
    for (let round = 0; round < 20; round++) {
      const rows = db.prepare(numbers, 'value').iterate();
      let sum = 0;
      for (const row of rows) {
        sum += Number(row);
        if (Number(row) % 100 === 0) for (let more = 0; more < 500; more++) db.prepare('SELECT 1').get();
      }
      expect(sum).toBe(500_500);
    }
  });

  it('sees columns that another connection has added', () => {
    const file = newFile();
    const [a, b] = [database(file), database(file)];
    a.exec('CREATE TABLE t (a); INSERT INTO t VALUES (1)');
    const select = b.prepare('SELECT * FROM t');
    expect(select.get()).toEqual({ a: 1 });
    a.exec('ALTER TABLE t ADD COLUMN b DEFAULT 2');
    expect(select.get()).toEqual({ a: 1, b: 2 });
    expect(select.columns()).toEqual(['a', 'b']);
  });

  it('asks the authorizer with trigger names, and stops what it refuses', () => {
    const db = database();
    db.exec('CREATE TABLE t (a); CREATE TABLE log (a)');
    db.exec('CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (NEW.a); END');
    const asked: string[] = [];
    db.authorize((action, first, _second, _database, source) => {
      if (action === 18) asked.push(`${first ?? ''}/${source ?? ''}`);
      return action !== 9;
    });
    db.prepare('INSERT INTO t VALUES (1)').run();
    expect(asked).toEqual(['t/', 'log/tr']);
    expect(resultName(resultCode(thrownBy(() => db.prepare('DELETE FROM t'))) ?? -1)).toBe('SQLITE_AUTH');
  });

  it('has what queries and triggers use: full-text search, JSON, R-trees and mathematics', () => {
    const db = database();
    db.exec('CREATE VIRTUAL TABLE f USING fts5(a); CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)');
    expect(db.prepare(`SELECT json_extract('{"a":2}', '$.a') + sqrt(4)`, 'value').get()).toBe(4);
  });
});
