import { AntiphonError } from '@antiphon/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AccessControl, type AccessKind, type StatementAccess } from './access.js';
import type { Database } from './driver/driver.js';
import { openDatabase } from './driver/find-driver.js';

const SCHEMA = `
  CREATE TABLE p (id INTEGER PRIMARY KEY, v);
  CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE SET NULL);
  CREATE TABLE audit (what);
  CREATE TABLE _antiphon_outbox (seq INTEGER PRIMARY KEY, n0);
  CREATE VIEW v AS SELECT id, v FROM p;
  CREATE TRIGGER audit_p AFTER INSERT ON p BEGIN INSERT INTO audit VALUES (NEW.id); END;
  CREATE TRIGGER into_v INSTEAD OF INSERT ON v BEGIN INSERT INTO p VALUES (NEW.id, NEW.v); END;
  CREATE TRIGGER _antiphon_insert1 AFTER INSERT ON p BEGIN INSERT INTO _antiphon_outbox (n0) VALUES (NEW.v); END;
  CREATE VIRTUAL TABLE words USING fts5(word);
  CREATE TABLE quiet (id INTEGER PRIMARY KEY);
  CREATE TABLE sly (id INTEGER PRIMARY KEY);
  CREATE TRIGGER sly_one AFTER INSERT ON sly BEGIN DELETE FROM _antiphon_outbox; END;`;

let db: Database;
let access: AccessControl;
beforeEach(() => {
  db = openDatabase(':memory:');
  db.exec(SCHEMA);
  access = new AccessControl(db);
});
afterEach(() => db.close());

function accessOf(sql: string, kind: AccessKind = 'write'): StatementAccess {
  return access.prepare(sql, 'object', kind).access;
}

const sorted = (names: ReadonlySet<string>): string[] => [...names].sort();

function refusalOf(sql: string, kind: AccessKind): string {
  try {
    access.prepare(sql, 'object', kind);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(AntiphonError);
    expect(thrown).toMatchObject({ code: 'BAD_SQL' });
    return (thrown as AntiphonError).message;
  }
  throw new Error(`${sql} was not refused`);
}

describe('what a statement touches', () => {
  it.each([
    ['SELECT 1', []],
    ['VALUES (1), (2)', []],
    ['WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT * FROM n', []],
    ['UPDATE P SET V = 1', ['p']],
    ['INSERT INTO p VALUES (1, 2)', ['audit', 'p']],
    ['INSERT INTO v VALUES (1, 2)', ['audit', 'p', 'v']],
    ['DELETE FROM p', ['c', 'p']],
    ['UPDATE p SET id = 2', ['c', 'p']],
    ['REPLACE INTO p VALUES (1, 2)', ['audit', 'c', 'p']],
    ['WITH x AS (SELECT 1 AS a) INSERT INTO quiet SELECT a FROM x RETURNING id', ['quiet']],
    ['INSERT INTO words VALUES (1)', ['words']],
    [`UPDATE quiet SET id = 1 WHERE '_antiphon_outbox' <> ''`, ['quiet']],
    ['EXPLAIN DELETE FROM p', []],
  ])('%s writes %j', (sql, tables) => {
    expect(sorted(accessOf(sql).writes)).toEqual(tables);
  });

  it('says what is read as well, through views', () => {
    expect(sorted(accessOf('SELECT count(*) FROM v JOIN c ON c.p = v.id').reads)).toEqual(['c', 'p', 'v']);
    expect(sorted(accessOf('SELECT n0 FROM _antiphon_outbox').reads)).toEqual(['_antiphon_outbox']);
  });

  it('asks nothing of our own statements', () => {
    db.exec(
      'CREATE TABLE later (a); DELETE FROM _antiphon_outbox; PRAGMA user_version = 7; DROP TABLE later',
    );
    expect(db.prepare('PRAGMA user_version', 'value').get()).toBe(7);
  });
});

describe('inside a write', () => {
  it.each([
    ['BEGIN', /^BEGIN cannot be used here: a write is a transaction already\. Statement: BEGIN$/],
    ['commit', /^COMMIT cannot be used here: the store commits/],
    ['END', /^END cannot/],
    ['ROLLBACK', /^ROLLBACK cannot be used here: throw from the function/],
    ['/* undo */ ROLLBACK TO _antiphon_write', /^ROLLBACK cannot/],
    ['SAVEPOINT x', /^SAVEPOINT cannot/],
    ['RELEASE _antiphon_write', /^RELEASE cannot/],
    [`ATTACH 'x.db' AS x`, /only the replicated database/],
    ['DETACH main', /only the replicated database/],
    ['PRAGMA foreign_keys = OFF', /the store keeps the settings/],
    ['PRAGMA journal_mode', /the store keeps the settings/],
    ['EXPLAIN PRAGMA foreign_keys = OFF', /^EXPLAIN cannot/],
    ['VACUUM', /run it with another program/],
    [`VACUUM INTO 'x.db'`, /run it with another program/],
    ['EXPLAIN VACUUM', /^EXPLAIN cannot/],
    ['ANALYZE', /run it with another program/],
    ['SELECT * FROM pragma_optimize', /^SELECT cannot/],
    ['REINDEX', /^REINDEX cannot be used here: schema changes belong in a migration/],
    ['REINDEX NOCASE', /^REINDEX cannot/],
    ['-- later\n;CREATE TABLE x (a)', /^CREATE cannot be used here: schema changes/],
    ['CREATE TEMP TABLE x (a)', /^CREATE cannot/],
    ['CREATE TEMP TRIGGER x AFTER INSERT ON p BEGIN SELECT 1; END', /^CREATE cannot/],
    ['CREATE TABLE IF NOT EXISTS p (a)', /^CREATE cannot/],
    ['CREATE VIRTUAL TABLE x USING fts5(a)', /^CREATE cannot/],
    ['DROP TABLE p', /^DROP cannot/],
    ['DROP TABLE IF EXISTS nowhere', /^DROP cannot/],
    ['DROP TRIGGER _antiphon_insert1', /^DROP cannot/],
    ['ALTER TABLE p ADD COLUMN x', /^ALTER cannot/],
    ['DELETE FROM sqlite_master', /sqlite_master may not be modified/],
    ['DELETE FROM _antiphon_outbox', /^Tables whose names start with _antiphon_ belong to Antiphon/],
    ['WITH x AS (SELECT 1) UPDATE "_ANTIPHON_Outbox" SET n0 = 1', /belong to Antiphon/],
    ['REPLACE INTO main._antiphon_outbox VALUES (1, 2)', /belong to Antiphon/],
    ['INSERT INTO sly VALUES (1)', /belong to Antiphon/],
  ])('%s is refused', (sql, message) => {
    db.exec('SAVEPOINT _antiphon_write');
    expect(refusalOf(sql, 'write')).toMatch(message);
    expect(db.inTransaction).toBe(true);
    expect(db.prepare('PRAGMA foreign_keys', 'value').get()).toBe(1);
  });

  it.each([
    ['SELEKT 1', /near "SELEKT": syntax error\. Statement: SELEKT 1/],
    ['SELECT * FROM nowhere', /no such table: nowhere/],
    ['', /no statement/],
    ['-- nothing', /no statement/],
    ['SELECT 1; SELECT 2', /more than one statement/],
    ['SELECT 1; DROP TABLE p', /more than one statement/],
  ])('%s is no statement', (sql, message) => {
    expect(refusalOf(sql, 'write')).toMatch(message);
  });
});

describe('as a query', () => {
  it.each([
    'SELECT * FROM v',
    'SELECT * FROM _antiphon_outbox',
    'SELECT name FROM sqlite_schema',
    `SELECT * FROM pragma_table_info('p')`,
    `SELECT * FROM words WHERE words MATCH 'a'`,
    'EXPLAIN QUERY PLAN DELETE FROM p',
    'PRAGMA table_info(p)',
    'PRAGMA Foreign_Key_Check',
    'PRAGMA user_version',
    'PRAGMA journal_mode',
  ])('%s is allowed', (sql) => {
    expect(accessOf(sql, 'query').writes.size).toBe(0);
  });

  it.each([
    'DELETE FROM p',
    'INSERT INTO v VALUES (1, 2)',
    'WITH x AS (SELECT 1) DELETE FROM p',
    'INSERT INTO p VALUES (1, 2) RETURNING id',
    'BEGIN',
    'SAVEPOINT x',
    `ATTACH 'x.db' AS x`,
    `VACUUM INTO 'x.db'`,
    'CREATE TEMP TABLE x (a)',
    'PRAGMA user_version = 1',
    'PRAGMA query_only = OFF',
    'PRAGMA wal_checkpoint',
    'PRAGMA optimize',
    'SELECT * FROM pragma_optimize',
  ])('%s is refused', (sql) => {
    expect(refusalOf(sql, 'query')).toMatch(/^A query only reads\. Write through/);
  });
});
