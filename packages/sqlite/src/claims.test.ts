import {
  claimOf,
  decodeBatches,
  type Claim,
  type ClaimSpace,
  type InstallOptions,
  type NamedClaim,
  type TransactionBatch,
  type Value,
} from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { installOptions, newClock, pairOf } from '../test/pair.js';
import { comparedValue } from './claim-values.js';
import type { SqliteTransaction } from './index.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

/** What the last of these writes claims; the ones before it are committed. */
async function claimsOf(
  ...writes: readonly (string | ((tx: SqliteTransaction) => unknown))[]
): Promise<Set<Claim>> {
  const { store } = cluster.member('a');
  let claims: readonly NamedClaim[] = [];
  for (const [index, write] of writes.entries()) {
    const run = typeof write === 'string' ? (tx: SqliteTransaction) => tx.run(write) : write;
    const group = await store.prepare([{ run }], { token: 't', maxBytes: 1e6, certified: true });
    const [result] = group!.writes;
    if (result?.type !== 'ran') {
      await group!.rollback();
      throw result?.type === 'rejected' ? result.error : new Error('left out');
    }
    ({ claims } = result);
    const last = index === writes.length - 1;
    await (last
      ? group!.rollback()
      : group!.commit({ generation: 'g1', seq: store.state().position.seq + 1 }));
  }
  expect(new Set(claims.map(({ claim }) => claim)).size).toBe(claims.length);
  return new Set(claims.map(({ claim }) => claim));
}

const claim = (space: ClaimSpace, table: string, ...values: readonly Value[]): Claim =>
  claimOf(space, table, values, 'exclusive');
const shared = (space: ClaimSpace, table: string, ...values: readonly Value[]): Claim =>
  claimOf(space, table, values, 'shared');

describe('claims', () => {
  it('of rows: one per key, both keys when it changes, composite keys in their order', async () => {
    cluster = await pairOf('CREATE TABLE t (a INT, b TEXT, c, PRIMARY KEY (b, a));');
    const insert = `INSERT INTO t VALUES (1, 'x', 0)`;
    expect(await claimsOf(insert)).toEqual(new Set([claim('row', 't', 'x', 1n)]));
    expect(await claimsOf(insert, 'UPDATE t SET c = 1')).toEqual(new Set([claim('row', 't', 'x', 1n)]));
    expect(await claimsOf('UPDATE t SET a = 2')).toEqual(
      new Set([claim('row', 't', 'x', 1n), claim('row', 't', 'x', 2n)]),
    );
    expect(await claimsOf('DELETE FROM t')).toEqual(new Set([claim('row', 't', 'x', 1n)]));
  });

  it('of unique values: inserted or changed ones, without NULL; of partial indexes always', async () => {
    cluster = await pairOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, gone INT);
       CREATE UNIQUE INDEX t_ab ON t (a, b); CREATE UNIQUE INDEX t_b ON t (b) WHERE NOT gone;`,
    );
    const row = claim('row', 't', 1n);
    const inserted = new Set([row, claim('unique', 't(a,b)', 1n, 2n), claim('unique', 't(b)', 2n)]);
    expect(await claimsOf('INSERT INTO t VALUES (1, 1, 2, 1)')).toEqual(inserted);
    expect(await claimsOf('INSERT INTO t VALUES (1, NULL, 2, 1)')).toEqual(
      new Set([row, claim('unique', 't(b)', 2n)]),
    );
    expect(await claimsOf('INSERT INTO t VALUES (1, 1, 2.0, 1)', 'UPDATE t SET gone = 0')).toEqual(
      new Set([row, claim('unique', 't(b)', 2n)]),
    );
    expect(await claimsOf('UPDATE t SET a = 5')).toEqual(
      new Set([row, claim('unique', 't(a,b)', 5n, 2n), claim('unique', 't(b)', 2n)]),
    );
    expect(await claimsOf('DELETE FROM t')).toEqual(new Set([row]));
    // REPLACE deletes another row through its unique value: that one is claimed too.
    expect(await claimsOf('REPLACE INTO t VALUES (2, 1, 2, 1)')).toEqual(
      new Set([row, claim('row', 't', 2n), ...[...inserted].slice(1)]),
    );
  });

  it('of a row that goes because another takes its hidden number', async () => {
    cluster = await pairOf('CREATE TABLE t (k TEXT PRIMARY KEY, v);');
    const both = new Set([claim('row', 't', 'one'), claim('row', 't', 'new')]);
    expect(
      await claimsOf(
        `INSERT INTO t (rowid, k) VALUES (1, 'one'), (2, 'new')`,
        `UPDATE OR REPLACE t SET rowid = 1, v = 1 WHERE k = 'new'`,
      ),
    ).toEqual(both);
    await cluster.close();
    cluster = await pairOf('CREATE TABLE t (k TEXT PRIMARY KEY, v);');
    expect(
      await claimsOf(
        `INSERT INTO t (rowid, k) VALUES (1, 'one')`,
        `REPLACE INTO t (rowid, k) VALUES (1, 'new')`,
      ),
    ).toEqual(both);
  });

  it.each([
    `CREATE UNIQUE INDEX i ON t (a /* one's own */) WHERE active = 1`,
    `CREATE UNIQUE INDEX "i (where" ON t (a) -- "where
       /* where */ WHERE/**/active = ')' -- the end`,
    `CREATE UNIQUE INDEX [where] ON t ("a" COLLATE nocase DESC)where(active)`,
  ])('of a partial index, however it is written: %s', async (index) => {
    cluster = await pairOf(`CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, active);\n${index}\n;`, true);
    expect(await claimsOf(`INSERT INTO t VALUES (1, 'x', 0)`, 'UPDATE t SET active = 1')).toEqual(
      new Set([claim('row', 't', 1n), claim('unique', 't(a)', 'x')]),
    );
  });

  it('of foreign keys: a child shares its parent, a parent that goes is taken, cascades are claimed', async () => {
    cluster = await pairOf(
      `CREATE TABLE Parent (id INTEGER PRIMARY KEY, code TEXT COLLATE NOCASE UNIQUE, note);
       CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE,
         code REFERENCES parent (CODE) ON UPDATE CASCADE, note);`,
    );
    const [byId, byCode] = ['Parent(id)', 'Parent(code)'];
    const parent = `INSERT INTO Parent VALUES (1, 'Abc', 0)`;
    expect(await claimsOf(parent, `INSERT INTO child VALUES (7, 1.0, 'aBC', 0)`)).toEqual(
      new Set([claim('row', 'child', 7n), shared('reference', byId, 1n), shared('reference', byCode, 'abc')]),
    );
    expect(await claimsOf('INSERT INTO child VALUES (8, NULL, NULL, 0)')).toEqual(
      new Set([claim('row', 'child', 8n)]),
    );
    expect(await claimsOf(`INSERT INTO child VALUES (7, 1, 'abc', 0)`, 'UPDATE child SET note = 1')).toEqual(
      new Set([claim('row', 'child', 7n)]),
    );
    expect(await claimsOf('UPDATE child SET p = NULL')).toEqual(new Set([claim('row', 'child', 7n)]));
    expect(await claimsOf('UPDATE Parent SET note = 1')).toEqual(new Set([claim('row', 'Parent', 1n)]));
    expect(await claimsOf(`UPDATE Parent SET code = 'new'`)).toEqual(
      new Set([
        claim('row', 'Parent', 1n),
        claim('unique', byCode, 'new'),
        claim('reference', byCode, 'abc'),
        claim('row', 'child', 7n),
        shared('reference', byCode, 'new'),
      ]),
    );
    expect(await claimsOf(`UPDATE child SET code = NULL`, 'DELETE FROM Parent')).toEqual(
      new Set([
        claim('row', 'Parent', 1n),
        claim('reference', byId, 1n),
        claim('reference', byCode, 'abc'),
        claim('row', 'child', 7n),
      ]),
    );
  });

  it('of composite foreign keys in any order of columns, and of text that refers to a number', async () => {
    cluster = await pairOf(
      `CREATE TABLE p (a INT, b INT, PRIMARY KEY (a, b));
       CREATE TABLE c (id INTEGER PRIMARY KEY, x TEXT, y, FOREIGN KEY (y, x) REFERENCES p (b, a));`,
    );
    const referred = claim('reference', 'p(a,b)', 1n, 2n);
    expect(await claimsOf('INSERT INTO p VALUES (1, 2)', `INSERT INTO c VALUES (1, '1', '2')`)).toEqual(
      new Set([claim('row', 'c', 1n), referred + 1]),
    );
    expect(await claimsOf('DELETE FROM p')).toEqual(new Set([claim('row', 'p', 1n, 2n), referred]));
  });

  it('of what user triggers change', async () => {
    cluster = await pairOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE log (id TEXT PRIMARY KEY);
       CREATE TRIGGER logging AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('t' || NEW.id); END;`,
    );
    expect(await claimsOf('INSERT INTO t VALUES (3, 0)')).toEqual(
      new Set([claim('row', 't', 3n), claim('row', 'log', 't3')]),
    );
  });

  it('keys that SQLite takes for equal claim the same', async () => {
    cluster = await pairOf(
      `CREATE TABLE n (k TEXT COLLATE NOCASE PRIMARY KEY); CREATE TABLE r (k TEXT COLLATE RTRIM PRIMARY KEY);
       CREATE TABLE b (k BLOB PRIMARY KEY); CREATE TABLE f (k REAL PRIMARY KEY); CREATE TABLE s (k TEXT PRIMARY KEY);`,
    );
    const equal = async (one: string, other: string): Promise<void> =>
      expect(await claimsOf(one)).toEqual(await claimsOf(other));
    await equal(`INSERT INTO n VALUES ('ÄbC')`, `INSERT INTO n VALUES ('ÄBc')`);
    await equal(
      `INSERT INTO n VALUES (CAST(x'41ff' AS TEXT))`,
      `INSERT INTO n VALUES (CAST(x'61ff' AS TEXT))`,
    );
    await equal(
      `INSERT INTO n VALUES ('a' || char(0) || 'x')`,
      `INSERT INTO n VALUES ('A' || char(0) || 'y')`,
    );
    await equal(`INSERT INTO r VALUES ('x')`, `INSERT INTO r VALUES ('x  ')`);
    await equal('INSERT INTO b VALUES (5)', 'INSERT INTO b VALUES (5.0)');
    await equal('INSERT INTO f VALUES (5)', `INSERT INTO f VALUES ('5.0')`);
    expect(await claimsOf(`INSERT INTO s VALUES ('a')`)).not.toEqual(
      await claimsOf(`INSERT INTO s VALUES ('A')`),
    );
    expect(await claimsOf(`INSERT INTO b VALUES (5)`)).not.toEqual(
      await claimsOf(`INSERT INTO b VALUES ('5')`),
    );
    expect(await claimsOf(`INSERT INTO n VALUES ('ä')`)).not.toEqual(
      await claimsOf(`INSERT INTO n VALUES ('Ä')`),
    );
  });

  it('compares numbers up to the limits of 64 bits', () => {
    const integer = { affinity: 'integer', collation: 'BINARY', loose: false } as const;
    expect(comparedValue('9223372036854775807', integer)).toBe(2n ** 63n - 1n);
    expect(comparedValue(-(2 ** 63), integer)).toBe(-(2n ** 63n));
    expect(comparedValue(2 ** 63, integer)).toBe(2 ** 63);
    expect(comparedValue(' -5e0 ', integer)).toBe(-5n);
    expect(comparedValue('', integer)).toBe('');
    expect(comparedValue('0x10', integer)).toBe('0x10');
    expect(comparedValue(2n ** 53n + 1n, { ...integer, affinity: 'real' })).toBe(2n ** 53n);
  });
});

/**
 * As in a synchronous cluster with several writers, where capture is told to note what changes do
 * not show.
 */
async function certified(ddl: string, writes: InstallOptions['writes'] = 'library'): Promise<void> {
  cluster = await pairOf(ddl);
  const options = installOptions(cluster, 'a', { writes, certified: true });
  await cluster.member('a').store.install(options, newClock());
}

describe('claims besides the changes', () => {
  it('every row that a trigger looks up is found by an index, a partial one included', async () => {
    await certified(
      `CREATE TABLE new (id INTEGER PRIMARY KEY, email TEXT COLLATE NOCASE, gone INT, code UNIQUE);
       CREATE UNIQUE INDEX living ON new (email) WHERE new.gone = 0 -- the others may share it
       ; CREATE TABLE k (k TEXT COLLATE NOCASE PRIMARY KEY, a INT UNIQUE);`,
    );
    const triggers = cluster
      .shell('a', `SELECT replace(sql, char(10), ' ') FROM sqlite_schema WHERE type = 'trigger';`)
      .split('\n');
    const lookUps = triggers.flatMap((sql) => {
      const body = sql.slice(sql.indexOf(' BEGIN ') + 7, sql.lastIndexOf('END'));
      return body.split(';').filter((statement) => statement.includes('AS _antiphon_row'));
    });
    expect(lookUps.length).toBeGreaterThan(8);
    for (const lookUp of lookUps) {
      const statement = lookUp.replaceAll(/\b(?:NEW|OLD)\.("[^"]*"|\w+)/g, '?');
      const plan = cluster.shell('a', `EXPLAIN QUERY PLAN ${statement};`);
      expect(plan, statement).toMatch(/SEARCH (?:new|k|_antiphon_row)/);
      expect(plan, statement).not.toMatch(/SCAN (?:new|k|_antiphon_row)\b/);
    }
  });

  it('of a row that an UPDATE leaves as it is; such a write has its place in the log', async () => {
    await certified(`CREATE TABLE t (id INTEGER PRIMARY KEY, a, seq INT, op TEXT);`);
    const insert = 'INSERT INTO t VALUES (1, 0, 0, 0), (2, 0, 0, 0)';
    const [one, two] = [claim('row', 't', 1n), claim('row', 't', 2n)];
    expect(await claimsOf(insert, 'UPDATE t SET a = 0')).toEqual(new Set([one, two]));
    expect(await claimsOf('UPDATE t SET a = id - 1')).toEqual(new Set([one, two]));
    expect(await claimsOf('UPDATE t SET a = 0 WHERE id = 7')).toEqual(new Set());
    expect(await claimsOf('INSERT INTO t VALUES (1, 0, 0, 0) ON CONFLICT DO UPDATE SET a = 0')).toEqual(
      new Set([one]),
    );
    const { store } = cluster.member('a');
    const group = await store.prepare([{ run: (tx) => tx.run('UPDATE t SET a = a WHERE id = 1') }], {
      ...{ token: 't', maxBytes: 1e6, certified: true },
    });
    expect(group?.writes).toMatchObject([{ type: 'ran', id: { origin: 'a' }, claims: [{ claim: one }] }]);
    const [batch] = decodeBatches(group!.message!.data) as TransactionBatch[];
    expect(batch).toMatchObject({ tables: [], transactions: [{ changes: [] }], sync: { claims: [[one]] } });
    await group?.rollback();
  });

  it.each([
    ['OR IGNORE by the key', `INSERT OR IGNORE INTO t VALUES (1, 'other', 9, 1)`, [1n]],
    ['DO NOTHING by the key', `INSERT INTO t VALUES (1, 'other', 9, 1) ON CONFLICT DO NOTHING`, [1n]],
    ['a unique value, without case', `INSERT OR IGNORE INTO t (u) VALUES ('A')`, [1n]],
    ['two rows', `INSERT OR IGNORE INTO t VALUES (1, 'b', 9, 1)`, [1n, 2n]],
    ['a partial index', `INSERT OR IGNORE INTO t (u, p, active) VALUES ('new', 5, 1)`, [1n]],
    [
      'an upsert that does not update',
      `INSERT INTO t VALUES (1, 'z', 9, 1) ON CONFLICT (id) DO UPDATE SET u = 'q' WHERE 0`,
      [1n],
    ],
    ['UPDATE OR IGNORE of a unique value', `UPDATE OR IGNORE t SET u = 'A' WHERE id = 2`, [1n]],
    ['UPDATE OR IGNORE of a key', 'UPDATE OR IGNORE t SET id = 1 WHERE id = 2', [1n]],
    ['the trigger of another row', 'INSERT INTO other VALUES (7)', [1n]],
  ])('of a row that keeps another one out is shared: %s', async (_, write, found) => {
    await certified(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT COLLATE NOCASE UNIQUE, p, active);
       CREATE UNIQUE INDEX t_p ON t (p) WHERE active;
       CREATE TABLE other (id INTEGER PRIMARY KEY);
       CREATE TRIGGER tagging AFTER INSERT ON other BEGIN INSERT OR IGNORE INTO t (u) VALUES ('a'); END;`,
    );
    const claims = await claimsOf(`INSERT INTO t VALUES (1, 'a', 5, 1), (2, 'b', 6, 1)`, write);
    const rows = found.map((id) => shared('row', 't', id));
    expect([...claims].filter((each) => each !== claim('row', 'other', 7n))).toEqual(rows);
  });

  it('of a row that was found and then written is not shared as well; a new row finds nothing', async () => {
    await certified('CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, v UNIQUE);');
    const [x, y] = [claim('row', 't', 'x'), claim('row', 't', 'y')];
    const insert = `INSERT INTO t VALUES ('x', 1)`;
    expect(await claimsOf(insert)).toEqual(new Set([x, claim('unique', 't(v)', 1n)]));
    const upsert = `INSERT INTO t VALUES ('x', 0) ON CONFLICT (id) DO UPDATE SET v = 2`;
    expect(await claimsOf(insert, upsert)).toEqual(new Set([x, claim('unique', 't(v)', 2n)]));
    expect(await claimsOf(`REPLACE INTO t VALUES ('y', 1)`)).toEqual(
      new Set([x, y, claim('unique', 't(v)', 1n)]),
    );
    expect(
      await claimsOf((tx) => (tx.run(`INSERT OR IGNORE INTO t VALUES ('x', 9)`), tx.run('DELETE FROM t'))),
    ).toEqual(new Set([x]));
  });

  it('of what a row was before REPLACE overwrote it by its primary key', async () => {
    await certified(
      `CREATE TABLE p (id TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, code TEXT UNIQUE, x, y, UNIQUE (x, y));
       CREATE TABLE c (id INTEGER PRIMARY KEY, code REFERENCES p (code), x, y, FOREIGN KEY (y, x) REFERENCES p (y, x));`,
    );
    const rows = `INSERT INTO p VALUES ('a', 'old', 1, 2), ('b', 'other', 3, 4)`;
    const taken = [claim('reference', 'p(code)', 'old'), claim('reference', 'p(x,y)', 1n, 2n)];
    const replace = await claimsOf(rows, `INSERT OR REPLACE INTO p VALUES ('A', 'new', 5, 6)`);
    for (const each of [...taken, claim('row', 'p', 'a')]) expect(replace).toContain(each);
    const move = await claimsOf(`UPDATE OR REPLACE p SET id = 'A' WHERE id = 'b'`);
    for (const each of [...taken, claim('row', 'p', 'a'), claim('row', 'p', 'b')])
      expect(move).toContain(each);
    // Nothing is overwritten: a new row claims nothing of others.
    const insert = await claimsOf(`INSERT INTO p VALUES ('c', 'c', 7, 8)`);
    expect(insert).toEqual(
      new Set([claim('row', 'p', 'c'), claim('unique', 'p(code)', 'c'), claim('unique', 'p(x,y)', 7n, 8n)]),
    );
    // NULL in a key of several columns refers to nothing.
    expect(await claimsOf(`INSERT INTO c VALUES (1, 'old', 1, NULL)`)).toEqual(
      new Set([claim('row', 'c', 1n), shared('reference', 'p(code)', 'old')]),
    );
  });

  it('of a parent that REPLACE puts anew where its children go with it', async () => {
    await certified(
      `CREATE TABLE p (id INTEGER PRIMARY KEY, x); CREATE TABLE q (id INTEGER PRIMARY KEY, x);
       CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE, q REFERENCES q);`,
    );
    const replace = (table: string): Promise<Set<Claim>> =>
      claimsOf(`INSERT INTO ${table} VALUES (1, 0)`, `REPLACE INTO ${table} VALUES (1, 1)`);
    expect(await replace('p')).toEqual(new Set([claim('row', 'p', 1n), claim('reference', 'p(id)', 1n)]));
    expect(await replace('q')).toEqual(new Set([claim('row', 'q', 1n)]));
  });

  it('of what a row refers to through generated columns', async () => {
    await certified(
      `CREATE TABLE p (id INTEGER PRIMARY KEY, n, UNIQUE (n, id));
       CREATE TABLE c (id INTEGER PRIMARY KEY, doc TEXT, "seq" AS (json_extract(doc, '$.p')) STORED REFERENCES p,
         m AS (json_extract(doc, '$.m')), FOREIGN KEY ("seq", m) REFERENCES p (id, n));`,
    );
    const row = claim('row', 'c', 1n);
    const parents = 'INSERT INTO p VALUES (1, 5), (2, 6)';
    const [one, two] = [shared('reference', 'p(id)', 1n), shared('reference', 'p(id)', 2n)];
    const child = (doc: string): string => `INSERT INTO c (id, doc) VALUES (1, '${doc}')`;
    expect(await claimsOf(parents, child('{"p":1}'))).toEqual(new Set([row, one]));
    const whole = shared('reference', 'p(id,n)', 1n, 5n);
    expect(await claimsOf(child('{"p":1,"m":5}'))).toEqual(new Set([row, one, whole]));
    expect(await claimsOf(child('{}'), `UPDATE c SET doc = '{"p":2}'`)).toEqual(new Set([row, two]));
    expect(await claimsOf(`UPDATE c SET doc = '{ }'`)).toEqual(new Set([row]));
    expect(await claimsOf('DELETE FROM p WHERE id = 2')).toContain(claim('reference', 'p(id,n)', 2n, 6n));
  });

  it('of references: equal wherever any index of the parent could take them for equal', () => {
    const loose = { affinity: 'none', collation: 'BINARY', loose: true } as const;
    const equal = (a: Value, b: Value): void =>
      expect(comparedValue(a, loose)).toEqual(comparedValue(b, loose));
    equal('abc', 'ABC  ');
    equal('a\0b', 'A\0c');
    equal('5', 5n);
    equal(' +5.0e0 ', 5);
    equal(0.1 + 0.2, '0.3');
    equal(9_007_199_254_740_992, '9.00719925474099e+15');
    equal(2n ** 63n - 1n, '9223372036854775807');
    equal(Infinity, 'Inf');
    equal(-Infinity, '-1e400');
    equal(5n, '5\0');
    expect(comparedValue('a', loose)).not.toEqual(comparedValue('b', loose));
    expect(comparedValue(1, loose)).not.toEqual(comparedValue(2n, loose));
    expect(comparedValue(999_999_999_999_999n, loose)).toBe(999_999_999_999_999n);
  });

  it('leave nothing behind: not of other programs, and not where nobody certifies', async () => {
    const ddl =
      'CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 0);' +
      'CREATE TABLE c (id INTEGER PRIMARY KEY, t REFERENCES t ON DELETE CASCADE);';
    await certified(ddl);
    const inVain = 'UPDATE t SET a = 0; INSERT OR IGNORE INTO t VALUES (1, 5)';
    cluster.shell('a', inVain);
    expect(cluster.member('a').store.hasUnsealed()).toBe(false);
    await cluster.close();
    await certified(ddl, 'capture');
    const { store } = cluster.member('a');
    const { lastCounter } = store.state();
    cluster.shell('a', inVain);
    expect(await store.seal()).toBe(0);
    expect(store.hasUnsealed()).toBe(false);
    cluster.shell('a', 'UPDATE t SET a = 0; UPDATE t SET a = 1');
    expect(await store.seal()).toBe(1);
    expect(store.state().lastCounter).toBe(lastCounter + 1);
  });
});

describe('tx.lock', () => {
  it('shares the row, there or not, as its column would hold the value; only of a write that changes something', async () => {
    cluster = await pairOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE s (k TEXT COLLATE NOCASE, n REAL, PRIMARY KEY (k, n)) WITHOUT ROWID;`,
    );
    const locking = (tx: SqliteTransaction): void => {
      tx.lock('t', '5');
      tx.lock('t', 5);
      tx.lock('S', [7, 2]);
      tx.lock('s', ['ABC', 2.5]);
      tx.run('INSERT INTO t VALUES (1, 1)');
      tx.lock('t', 1);
    };
    expect(await claimsOf(locking)).toEqual(
      new Set([
        claim('row', 't', 1n),
        shared('row', 't', 5n),
        shared('row', 's', '7', 2n),
        shared('row', 's', 'abc', 2.5),
        shared('row', 't', 1n),
      ]),
    );
    expect(await claimsOf((tx) => tx.lock('t', 5))).toEqual(new Set());
  });

  it('locks the row that the same key inserts, however SQLite writes a number as text', async () => {
    cluster = await pairOf('CREATE TABLE t (k TEXT PRIMARY KEY); CREATE TABLE r (k REAL PRIMARY KEY);');
    const numbers = [7, 7.25, 5e15, 1 / 3, 0.1 + 0.2, 1e16, 123456789012345680, 1e21, 1e-7, -0, -Infinity];
    const keys = [...numbers, 2n ** 63n - 1n, true, '7', '3018488321060395662903.947735609e-19'];
    for (const table of ['t', 'r']) {
      for (const key of keys) {
        const [row] = await claimsOf((tx) => tx.run(`INSERT INTO ${table} VALUES (?)`, [key]));
        const locking = (tx: SqliteTransaction): void => {
          tx.lock(table, key);
          tx.run(`INSERT INTO ${table} VALUES ('another')`);
        };
        expect(await claimsOf(locking), `${table} ${String(key)}`).toContain(row! + 1);
      }
    }
  });

  it('refuses other tables and keys; is harmless in an asynchronous write; dies with its write', async () => {
    cluster = await pairOf(
      'CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE s (k TEXT PRIMARY KEY); CREATE TABLE heap (x);',
    );
    await expect(claimsOf((tx) => tx.lock('heap', 1))).rejects.toMatchObject({ code: 'UNKNOWN_TABLE' });
    for (const table of ['t', 's'])
      for (const key of [[], [1, 2], [null], null, undefined, NaN, 2n ** 70n])
        await expect(claimsOf((tx) => tx.lock(table, key))).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const { store } = cluster.member('a');
    const written = await store.write([
      { run: (tx) => (tx.lock('t', 1), tx.run('INSERT INTO t VALUES (1, 1)').changes) },
    ]);
    expect(written).toMatchObject([{ type: 'committed', value: 1 }]);
    store.markPublished(1);
    const group = await store.prepare(
      [
        { run: (tx) => (tx.lock('t', 9), tx.run('INSERT INTO t VALUES (1, 1)')) },
        { run: (tx) => tx.run('INSERT INTO t VALUES (2, 1)') },
      ],
      { token: 't', maxBytes: 1e6, certified: true },
    );
    expect(group?.writes).toMatchObject([
      { type: 'rejected' },
      { type: 'ran', claims: [{ claim: claim('row', 't', 2n), table: 't', key: [2n] }] },
    ]);
    await group?.rollback();
  });
});
