import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { expectCode, pairOf } from '../test/pair.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

const PLAIN = 'CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT, n INT);';

describe('what decides whether a row is accepted', () => {
  it.each([
    [
      'the collation of a key',
      'CREATE TABLE t (id TEXT PRIMARY KEY COLLATE NOCASE, a TEXT, n INT);',
      /NOCASE/,
    ],
    [
      'UNIQUE',
      'CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT UNIQUE, n INT);',
      /UNIQUE \("a" COLLATE BINARY\)/,
    ],
    [
      'a partial unique index',
      `${PLAIN} CREATE UNIQUE INDEX u ON t (a) /* WHERE */ WHERE n > 1;`,
      /WHERE n > 1/,
    ],
    ['CHECK', 'CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT, n INT CHECK (n < 3));', /CHECK \( n < 3 \)/],
    ['NOT NULL', 'CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT NOT NULL, n INT);', /"a" NOT NULL/],
    ['STRICT', 'CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT, n INT) STRICT;', /STRICT/],
    ['WITHOUT ROWID', 'CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT, n INT) WITHOUT ROWID;', /WITHOUT ROWID/],
    [
      'the collation of a column',
      'CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT COLLATE NOCASE, n INT);',
      /"a" COLLATE NOCASE/,
    ],
    [
      'a generated column',
      'CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT, n INT, g AS (n * 2));',
      /"g" GENERATED AS \( n \* 2 \)/,
    ],
    [
      'a foreign key',
      'CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT REFERENCES t (id) ON DELETE CASCADE, n INT);',
      /FOREIGN KEY/,
    ],
  ])('I4: a database that differs in %s cannot join, and is told so', async (_what, ddl, message) => {
    cluster = new Cluster();
    await cluster.first('a', PLAIN);
    cluster.shell('b', ddl);
    await expectCode(cluster.join('b'), 'STORE_CONTENT', message);
  });

  it('is the same however it is written', async () => {
    cluster = new Cluster();
    await cluster.first(
      'a',
      `CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT NOT NULL, n INT CHECK (n<3), UNIQUE (a, n));`,
    );
    cluster.shell(
      'b',
      `create table "t" ([id] TEXT primary key, -- a comment, with CHECK (n > 5)
       \`a\` TEXT not null default 'x', n INT, constraint c check ("n" < 3)); create unique index other on t (a, n); create index more on t (n);`,
    );
    await cluster.join('b');
    await cluster.synchronize();
  });

  it('I4: is looked at while the replica runs, and it goes on when it is as it was', async () => {
    cluster = await pairOf(PLAIN);
    const { store } = cluster.member('b');
    cluster.shell('b', 'CREATE UNIQUE INDEX u ON t (a)');
    await expectCode(store.check(), 'SCHEMA_DRIFT', /table t: it does not take the same rows.*UNIQUE \("a"/);
    cluster.shell('b', 'DROP INDEX u');
    await store.check();
    cluster.shell('a', `INSERT INTO t VALUES ('x', 'y', 1)`);
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
  });
});
