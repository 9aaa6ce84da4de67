import { openDatabase, type Database, type SqliteTransaction } from '@antiphon/sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OrphansOfSqlite } from './orphans.js';

const SELF = 'CREATE TABLE m (k PRIMARY KEY, up REFERENCES m ON DELETE SET NULL ON UPDATE SET NULL)';
const LATE = SELF.replace(/\)$/, ' DEFERRABLE INITIALLY DEFERRED)');
const UPSERT = 'INSERT INTO m VALUES (1, 9) ON CONFLICT (k) DO UPDATE SET k = 3';

let database: Database;
beforeEach(() => {
  database = openDatabase(':memory:');
  database.exec('PRAGMA foreign_keys = ON');
});
afterEach(() => database.close());

/** Commits them, and says what is excused then. */
function excused(...statements: readonly string[]): readonly string[] {
  const tx = {
    run: (sql: string) => database.exec(sql),
    all: (sql: string) => database.prepare(sql).all(),
  } as unknown as SqliteTransaction;
  const orphans = new OrphansOfSqlite();
  database.exec('BEGIN');
  orphans.attempt(tx, statements, 'r1#1');
  database.exec('COMMIT');
  expect(orphans.of(new Set())).toEqual(new Set());
  return [...orphans.of(new Set(['r1#1']))];
}

const orphanCount = (): number => database.prepare('SELECT * FROM pragma_foreign_key_check').all().length;

describe('a child without its parent', () => {
  it.each([
    ['an upsert that changes the key', SELF, [UPSERT]],
    ['the same, of a key that only COMMIT checks', LATE, [UPSERT]],
    [
      'the same, without a rowid',
      `${SELF.replace('k PRIMARY', 'k NOT NULL PRIMARY')} WITHOUT ROWID`,
      [UPSERT],
    ],
    ['INSERT OR REPLACE', SELF, ['INSERT OR REPLACE INTO m VALUES (1, 9)']],
    ['UPDATE OR REPLACE', SELF, ['INSERT INTO m VALUES (1, NULL)', 'UPDATE OR REPLACE m SET k = 2, up = 9']],
    [
      'a trigger that deletes parents',
      `CREATE TABLE p (k PRIMARY KEY); CREATE TABLE m (k PRIMARY KEY, up REFERENCES p ON DELETE SET NULL);
       CREATE TRIGGER first BEFORE INSERT ON m BEGIN DELETE FROM p WHERE k = 7; END`,
      ['INSERT INTO m VALUES (1, 9)'],
    ],
    [
      'two tables in a circle',
      `CREATE TABLE m (k PRIMARY KEY, up REFERENCES p ON DELETE SET NULL);
       CREATE TABLE p (k PRIMARY KEY, up REFERENCES m ON DELETE CASCADE)`,
      ['REPLACE INTO m VALUES (1, 9)'],
    ],
  ])('is left by SQLite itself: %s', (_, ddl, statements) => {
    database.exec(ddl);
    expect(excused(...statements)).toEqual([expect.stringMatching(/^m without its [mp]$/)]);
    expect(orphanCount()).toBe(1);
  });

  it('is left by SQLite itself instead of another one that goes: it only counts them', () => {
    database.exec(`${LATE}; CREATE TABLE c (k PRIMARY KEY, up REFERENCES m DEFERRABLE INITIALLY DEFERRED)`);
    expect(excused(UPSERT)).toEqual(['m without its m']);
    expect(excused('INSERT INTO c VALUES (1, 7)', 'DELETE FROM m')).toEqual(['c without its m']);
  });

  it('that was left by something else is not excused', () => {
    database.exec(SELF);
    database.exec('PRAGMA foreign_keys = OFF');
    expect(excused('INSERT INTO m VALUES (1, 9)')).toEqual([]);
    expect(orphanCount()).toBe(1);
    // Beside one of SQLite's own, neither.
    expect(excused('INSERT INTO m VALUES (2, 9)', UPSERT.replace('1, 9', '4, 9'))).toEqual([]);
    expect(orphanCount()).toBe(3);
  });

  it('is left by SQLite itself under the triggers of a replica: REPLACE with several keys', () => {
    database.exec(`
      CREATE TABLE m (k PRIMARY KEY, up REFERENCES m ON DELETE SET NULL, low REFERENCES m ON DELETE SET NULL);
      CREATE TABLE _antiphon_outbox (x);
      CREATE TRIGGER _antiphon_update AFTER UPDATE ON m BEGIN INSERT INTO _antiphon_outbox VALUES (1); END`);
    expect(excused('REPLACE INTO m VALUES (1, NULL, 9)')).toEqual([]);
    expect(orphanCount()).toBe(0);
    expect(excused('REPLACE INTO m VALUES (1, 9, NULL)')).toEqual(['m without its m']);
  });

  it('is not expected where triggers make SQLite check, and where SQLite refuses', () => {
    database.exec(`${SELF}; CREATE TABLE _antiphon_outbox (x);
      CREATE TRIGGER _antiphon_update AFTER UPDATE ON m BEGIN INSERT INTO _antiphon_outbox VALUES (1); END`);
    expect(excused('INSERT OR REPLACE INTO m VALUES (1, 9)')).toEqual([]);
    expect(orphanCount()).toBe(0);
    database.exec('PRAGMA foreign_keys = OFF');
    expect(excused('INSERT OR REPLACE INTO m VALUES (1, 9)')).toEqual([]);
    expect(orphanCount()).toBe(1);
  });

  it('is looked for on the same rows, exact to the byte', () => {
    database.exec(
      `${SELF}; CREATE TABLE v ("it's" PRIMARY KEY, rowid, a, b, c AS (a || 'x') STORED, d TEXT CHECK (d < 'b'))`,
    );
    const row = `CAST(x'61fe00' AS TEXT), 5, 0.1, x'00ff', 'a'`;
    database.exec(`INSERT INTO v (_rowid_, "it's", rowid, a, b, d) VALUES (7, ${row})`);
    const same = `_rowid_ = 7 AND hex("it's") = '61FE00' AND a = 0.1 AND hex(b) = '00FF' AND c = '0.1x'`;
    const insert = `INSERT INTO m SELECT 1, 9 FROM v WHERE ${same} ON CONFLICT (k) DO UPDATE SET k = 3`;
    expect(excused(insert)).toEqual(['m without its m']);
  });
});
