import { claimOf, type Claim, type ClaimSpace, type NamedClaim, type Value } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { pairOf } from '../test/pair.js';
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
    const integer = { affinity: 'integer', collation: 'BINARY', loose: true } as const;
    expect(comparedValue('9223372036854775807', integer)).toBe(2n ** 63n - 1n);
    expect(comparedValue(-(2 ** 63), integer)).toBe(-(2n ** 63n));
    expect(comparedValue(2 ** 63, integer)).toBe(2 ** 63);
    expect(comparedValue(' -5e0 ', integer)).toBe(-5n);
    expect(comparedValue('', integer)).toBe('');
    expect(comparedValue('0x10', integer)).toBe('0x10');
    expect(comparedValue(2n ** 53n + 1n, { ...integer, affinity: 'real' })).toBe(2n ** 53n);
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
      tx.lock('s', [7, 2]);
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

  it('refuses other tables and keys; is harmless in an asynchronous write; dies with its write', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE heap (x);');
    await expect(claimsOf((tx) => tx.lock('heap', 1))).rejects.toMatchObject({ code: 'UNKNOWN_TABLE' });
    for (const key of [[], [1, 2], [null], null, undefined, 2n ** 70n])
      await expect(claimsOf((tx) => tx.lock('t', key))).rejects.toMatchObject({ code: 'BAD_OPTION' });
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
