import type { PreparedGroup, WriteRequest } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { pairOf } from '../test/pair.js';
import type { SqliteTransaction } from './index.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

/** `heap` and `child` have no key: they stay where they are. */
const DDL = `
  CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a);
  CREATE TABLE quiet (id INTEGER PRIMARY KEY, a);
  CREATE TABLE heap (x); CREATE TABLE child (p REFERENCES quiet ON DELETE CASCADE);
  CREATE VIRTUAL TABLE words USING fts5 (x);
  CREATE VIEW both AS SELECT id, a FROM t;
  CREATE TRIGGER both_insert INSTEAD OF INSERT ON both BEGIN INSERT INTO t (a) VALUES (NEW.a); END;`;

function running(...statements: readonly string[]): WriteRequest<SqliteTransaction> {
  return { run: (tx) => statements.forEach((sql) => tx.run(sql)) };
}

async function prepared(...requests: readonly WriteRequest<SqliteTransaction>[]): Promise<PreparedGroup> {
  const group = await cluster.member('a').store.prepare(requests, {
    ...{ token: 't', maxBytes: 1e6, certified: false },
  });
  return group!;
}

describe('synchronous writes to tables that are not replicated', () => {
  it.each([
    ['heap', [`INSERT INTO t (a) VALUES (1)`, 'INSERT INTO heap VALUES (1)']],
    ['heap', ['INSERT INTO heap VALUES (1)', `INSERT INTO t (a) VALUES (1)`]],
    [
      'child',
      [
        'INSERT INTO quiet VALUES (1, 1)',
        'DELETE FROM quiet WHERE id = 1',
        'INSERT INTO quiet VALUES (2, 2)',
      ],
    ],
    ['words', ['INSERT INTO quiet VALUES (1, 1)', `INSERT INTO words VALUES ('x')`]],
  ])('are refused beside replicated ones: %s', async (table, statements) => {
    cluster = await pairOf(DDL);
    const group = await prepared(running(`INSERT INTO quiet VALUES (9, 9)`), running(...statements));
    expect(group.writes).toMatchObject([
      { type: 'ran', id: { counter: 1 } },
      { type: 'rejected', error: { code: 'BAD_SQL', context: { table } } },
    ]);
    await group.commit({ generation: 'g1', seq: 1 });
    const counts = 'SELECT count(*) FROM t; SELECT count(*) FROM heap';
    expect(cluster.shell('a', counts)).toBe('0\n0');
    expect(await cluster.member('a').store.write([running(...statements)])).toMatchObject([
      { type: 'committed' },
    ]);
  });

  it('get a transaction of their own, that no other write takes with it', async () => {
    cluster = await pairOf(DDL);
    const local = running('INSERT INTO heap VALUES (1)');
    const group = await prepared(local, running(`INSERT INTO t (a) VALUES (1)`), local, running('SELECT 1'));
    expect(group.writes.map(({ type }) => type)).toEqual(['alone', 'ran', 'alone', 'ran']);
    await group.rollback();
    expect(cluster.shell('a', 'SELECT count(*) FROM heap')).toBe('0');
    const own = await prepared(local);
    expect(own.writes).toMatchObject([{ type: 'ran' }]);
    expect(own.message).toBeUndefined();
    await own.commit();
    expect(cluster.shell('a', 'SELECT count(*) FROM heap; SELECT count(*) FROM _antiphon_outbox')).toBe(
      '1\n0',
    );
  });

  it('are none where a view, a sequence or a read is meant', async () => {
    cluster = await pairOf(DDL);
    const group = await prepared(
      running('INSERT INTO both (a) VALUES (1)'),
      running('INSERT INTO t (a) SELECT count(*) FROM heap'),
      running('INSERT INTO quiet SELECT count(*), 1 FROM words'),
    );
    expect(group.writes.map(({ type }) => type)).toEqual(['ran', 'ran', 'ran']);
    await group.commit({ generation: 'g1', seq: 1 });
    expect(cluster.shell('a', 'SELECT count(*) FROM t')).toBe('2');
  });
});
