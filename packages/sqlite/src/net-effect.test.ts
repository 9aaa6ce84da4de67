import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { pairOf } from '../test/pair.js';
import { openDatabase } from './driver/find-driver.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

const CASES: readonly [what: string, ddl: string, statements: readonly string[]][] = [
  [
    'a cascade to the row itself',
    `CREATE TABLE t (id INTEGER PRIMARY KEY, boss INT REFERENCES t (id) ON UPDATE CASCADE ON DELETE CASCADE, name TEXT);
     INSERT INTO t VALUES (1, 1, 'root'), (2, 1, 'x');`,
    [
      'UPDATE t SET id = 10 WHERE id = 1',
      `INSERT INTO t VALUES (11, 10, 'y')`,
      'DELETE FROM t WHERE id = 10',
    ],
  ],
  [
    'a cascade to a unique column of the row itself',
    `CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE, boss TEXT REFERENCES t (code) ON UPDATE CASCADE);
     INSERT INTO t VALUES (1, 'a', 'a'), (2, 'b', 'a');`,
    [`UPDATE t SET code = 'z' WHERE id = 1`, `UPDATE t SET code = 'zz' WHERE code = 'b'`],
  ],
  [
    'a cycle of two tables',
    `CREATE TABLE t (x INT PRIMARY KEY, y INT REFERENCES u (x) ON UPDATE CASCADE);
      CREATE TABLE u (x INT PRIMARY KEY REFERENCES t (x) ON UPDATE CASCADE);
     INSERT INTO t VALUES (1, NULL); INSERT INTO u VALUES (1); UPDATE t SET y = 1;`,
    ['UPDATE t SET x = 2', 'UPDATE t SET x = 3'],
  ],
  [
    'REPLACE that deletes a row which deleting another has changed',
    `CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE, n INT UNIQUE,
      up INT REFERENCES t (id) ON DELETE SET NULL, v TEXT);
     INSERT INTO t VALUES (1, 'a', 1, NULL, 'R'), (2, 'b', 2, 1, 'C'), (11, 'A', 11, NULL, 'R'), (12, 'B', 12,
      11, 'C');`,
    [
      `INSERT OR REPLACE INTO t VALUES (3, 'b', 1, NULL, 'new')`,
      `INSERT OR REPLACE INTO t VALUES (13, 'A', 12, NULL, 'new')`,
      `UPDATE t SET code = 'x' || id, n = n + 100`,
    ],
  ],
  [
    'SET DEFAULT to a unique value that the deleted row had',
    `CREATE TABLE t (id INTEGER PRIMARY KEY, prev INT UNIQUE DEFAULT 0 REFERENCES t (id) ON DELETE SET DEFAULT);
     INSERT INTO t VALUES (0, NULL), (1, 0), (2, 1), (3, 2);`,
    ['DELETE FROM t WHERE id = 1', 'INSERT INTO t VALUES (9, 3)', 'DELETE FROM t WHERE id = 2'],
  ],
  [
    'BEFORE and AFTER triggers that change the same row',
    `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, n INT DEFAULT 0, at INT DEFAULT 0);
     CREATE TRIGGER before_update BEFORE UPDATE OF a ON t BEGIN UPDATE t SET n = n + 1 WHERE id = OLD.id; END;
     CREATE TRIGGER after_update AFTER UPDATE OF a ON t BEGIN UPDATE t SET at = n * 10 WHERE id = NEW.id; END;
     CREATE TRIGGER after_insert AFTER INSERT ON t BEGIN UPDATE t SET at = at + 1 WHERE id = NEW.id;
      DELETE FROM t WHERE a = 'gone'; END;
     INSERT INTO t (id, a) VALUES (1, 'x'), (2, 'y');`,
    [
      `UPDATE t SET a = a || '!'`,
      `INSERT INTO t (id, a) VALUES (3, 'gone'), (4, 'z')`,
      `UPDATE t SET id = id + 10, a = 'k'`,
    ],
  ],
  [
    'a row that REPLACE puts in the place of its own key, and that is deleted then',
    `CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE, up INT REFERENCES t (id) ON DELETE SET NULL);
     INSERT INTO t VALUES (1, 'a', NULL), (2, 'b', 1);`,
    [`BEGIN; INSERT OR REPLACE INTO t VALUES (2, 'c', NULL); DELETE FROM t WHERE id = 2; COMMIT`],
  ],
  [
    'REPLACE by a row that comes into a partial index',
    `CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT, act INT); CREATE UNIQUE INDEX i ON t (u) WHERE act = 1;
     INSERT INTO t (id, u, act) VALUES (1, 'x', 0), (2, 'x', 1), (3, 'y', NULL), (4, 'y', 1);`,
    [
      'UPDATE OR REPLACE t SET act = 1 WHERE id = 1',
      'BEGIN; UPDATE OR REPLACE t SET act = 1 WHERE id = 3; DELETE FROM t WHERE id = 3; COMMIT',
      `INSERT INTO t (id, u, act) VALUES (5, 'y', 1)`,
    ],
  ],
  [
    'a BEFORE trigger that changes the row, and an update that takes it back',
    `CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, n INT);
     CREATE TRIGGER tr BEFORE UPDATE ON t BEGIN UPDATE t SET a = 4 WHERE id = NEW.id; END;
     INSERT INTO t VALUES (1, 1, 1), (2, 2, 2);`,
    ['UPDATE t SET a = a, n = n WHERE id = 1', 'UPDATE t SET a = a, n = n + 1'],
  ],
  [
    'a BEFORE trigger whose row is replaced by the row it came before',
    `CREATE TABLE t (id INTEGER PRIMARY KEY, n INT UNIQUE);
     CREATE TRIGGER tr BEFORE INSERT ON t WHEN NEW.id < 100 BEGIN INSERT OR IGNORE INTO t VALUES (NEW.id + 100,
      NEW.n); END;`,
    ['INSERT OR REPLACE INTO t VALUES (1, 7)', 'INSERT OR REPLACE INTO t VALUES (2, 7), (3, 8)'],
  ],
  [
    'a row that a trigger writes over by REPLACE, and that its cause replaces then',
    `CREATE TABLE t (id INTEGER PRIMARY KEY, n INT UNIQUE);
     CREATE TRIGGER tr BEFORE UPDATE OF n ON t BEGIN INSERT OR IGNORE INTO t VALUES (9, NEW.n); END;
     INSERT INTO t VALUES (1, 1), (9, NULL);`,
    ['UPDATE OR REPLACE t SET n = 7 WHERE id = 1'],
  ],
  [
    'a key that takes the place of another, and is replaced by what its own cascade does',
    `CREATE TABLE t (k INT NOT NULL PRIMARY KEY, v TEXT,
      up INT UNIQUE REFERENCES t (k) ON UPDATE CASCADE ON DELETE CASCADE);
     INSERT INTO t VALUES (2, 'child', 5), (5, 'parent', 1), (1, 'overwritten', NULL), (7, 'other', NULL);`,
    ['UPDATE OR REPLACE t SET k = 1 WHERE k = 5'],
  ],
  [
    'an integer key that becomes a REAL of the same value',
    `CREATE TABLE t (k INTEGER NOT NULL, up INT REFERENCES t (k) ON UPDATE CASCADE, PRIMARY KEY (k)) WITHOUT ROWID;
     INSERT INTO t VALUES (-9223372036854775808, NULL), (1, -9223372036854775808);`,
    ['UPDATE t SET k = k - 1 WHERE k < 0'],
  ],
  [
    'REPLACE in a table that is called excluded',
    `CREATE TABLE excluded (id INTEGER PRIMARY KEY, excluded INT, _antiphon_row INT);
      INSERT INTO excluded VALUES (1, 1, 1), (2, 2, 2);`,
    [
      'INSERT OR REPLACE INTO excluded VALUES (1, 5, 6)',
      'UPDATE excluded SET excluded = 9, _antiphon_row = 8',
    ],
  ],
  [
    'columns with the names that the metadata use',
    `CREATE TABLE t (seq INTEGER PRIMARY KEY, t TEXT UNIQUE, op INT, n0 INT, o0 INT, k0 INT, m INT,
      "first" INT, "last" INT);
     INSERT INTO t VALUES (1, 'a', 1, 1, 1, 1, 1, 1, 1), (2, 'b', 2, 2, 2, 2, 2, 2, 2);`,
    [
      `INSERT OR REPLACE INTO t VALUES (3, 'b', 3, 3, 3, 3, 3, 3, 3)`,
      `UPDATE t SET op = op + 1, n0 = NULL`,
      `UPDATE OR REPLACE t SET t = 'a' WHERE seq = 3`,
    ],
  ],
];

describe.each([
  ['where one replica writes', false],
  ['where several write', true],
])('I4: others get what is in the table, %s', (_mode, versions) => {
  it.each(CASES)('after %s', async (_what, ddl, statements) => {
    cluster = await pairOf(ddl, versions);
    const same = (): void => {
      for (const { name } of cluster.schema!.tables)
        expect(cluster.rows('b', name)).toEqual(cluster.rows('a', name));
      if (versions) expect(cluster.versions('b')).toBe(cluster.versions('a'));
    };
    for (const statement of statements) {
      cluster.shell('a', `PRAGMA foreign_keys = ON; ${statement};`);
      await cluster.synchronize();
      same();
    }
  });
});

it('I4: a collision of unique keys is settled whatever the columns are called', async () => {
  const hostile = [
    'seq',
    't',
    'op',
    'n0',
    'o0',
    'k0',
    'time',
    'origin',
    'counter',
    'dead',
    'd',
    's',
    'c',
    'v',
    'self',
  ];
  cluster = await pairOf(
    `CREATE TABLE t (id TEXT PRIMARY KEY, u TEXT UNIQUE, ${hostile.map((name) => `"${name}" INT`).join(', ')});`,
    true,
  );
  cluster.shell('a', `INSERT INTO t (id, u) VALUES ('a', 'x')`);
  cluster.shell('b', `INSERT INTO t (id, u) VALUES ('b', 'x')`);
  await cluster.synchronize();
  for (const name of ['a', 'b']) {
    cluster.shell(
      name,
      `INSERT INTO t (id, u, op, t) VALUES ('${name}2', '${name}', 5, 6); UPDATE t SET seq = 7, n0 = 8;`,
    );
    cluster.shell(name, `INSERT OR REPLACE INTO t (id, u) VALUES ('a', '${name}3'), ('b', '${name}4')`);
    await cluster.synchronize();
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    expect(cluster.versions('b')).toBe(cluster.versions('a'));
  }
});

it('I4: a row that REPLACE has deleted before another constraint failed is gone everywhere', async () => {
  const made = `CREATE TABLE t (id INTEGER PRIMARY KEY ON CONFLICT REPLACE,
      y INT UNIQUE REFERENCES t (id) ON DELETE CASCADE, x TEXT UNIQUE ON CONFLICT FAIL, n INT UNIQUE);
     INSERT INTO t VALUES (3, NULL, NULL, NULL), (5, NULL, '1', 2);`;
  const insert = `INSERT INTO t VALUES (3, 3, '1', 6) ON CONFLICT (n) DO UPDATE SET id = - t.id`;
  cluster = await pairOf(made);
  await cluster
    .member('a')
    .store.write([{ run: (tx) => expect(() => tx.run(insert)).toThrow(/UNIQUE constraint failed/) }]);
  // Newer releases of SQLite take the deletion back.
  const plain = openDatabase(':memory:');
  plain.exec(made);
  expect(() => plain.exec(insert)).toThrow(/UNIQUE constraint failed/);
  const ids = plain.prepare('SELECT id FROM t', 'value').all() as number[];
  plain.close();
  expect(cluster.shell('a', 'SELECT id FROM t')).toBe(ids.join('\n'));
  await cluster.synchronize();
  expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
});
