import { copyFileSync, rmSync } from 'node:fs';
import {
  decodeBatches,
  type AntiphonError,
  type PreparedGroup,
  type PrepareOptions,
  type TransactionBatch,
  type WriteRequest,
} from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, type TestStore } from '../test/cluster.js';
import { expectCode, pacing, pairOf, T } from '../test/pair.js';
import type { SqliteTransaction } from './index.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

const OPTIONS: PrepareOptions = { token: 'tok', reply: '_INBOX.1', maxBytes: 1_000_000, certified: true };

function running(...statements: readonly string[]): WriteRequest<SqliteTransaction> {
  return { run: (tx) => statements.map((sql) => tx.run(sql).changes) };
}

async function prepared(
  store: TestStore,
  requests: readonly WriteRequest<SqliteTransaction>[],
  options: Partial<PrepareOptions> = {},
): Promise<PreparedGroup> {
  const group = await store.prepare(requests, { ...OPTIONS, ...options });
  if (group === undefined) throw new Error('something must be sealed first');
  return group;
}

function batchIn(group: PreparedGroup): TransactionBatch {
  const batches = decodeBatches(group.message!.data);
  expect(batches).toHaveLength(1);
  return batches[0] as TransactionBatch;
}

const at = (seq: number): { generation: string; seq: number } => ({ generation: 'g1', seq });

/**
 * Rows, sealed messages and outcomes in what a killed process leaves behind: the file and its
 * write-ahead log, as they are now.
 */
function afterKill(): string {
  for (const suffix of ['', '-wal'])
    copyFileSync(cluster.directory.file('a') + suffix, cluster.directory.file('killed') + suffix);
  rmSync(`${cluster.directory.file('killed')}-shm`, { force: true });
  return cluster.shell(
    'killed',
    'SELECT count(*) FROM t; SELECT count(*) FROM _antiphon_sealed; SELECT count(*) FROM _antiphon_outcomes',
  );
}

describe('preparing a group', () => {
  it('I1: commits rows, message, position and outcome together; before that nobody sees any of it', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    const before = store.state();
    const group = await prepared(store, [
      running(`INSERT INTO t VALUES (1, 'x', 1)`),
      running('SELECT 1'),
      running(`INSERT INTO t VALUES (1, 'y', 1)`),
      running(`UPDATE t SET n = 2 WHERE id = 1`),
    ]);
    expect(group.writes).toMatchObject([
      { type: 'ran', id: { origin: 'a', counter: 1 }, value: [1] },
      { type: 'ran', claims: [] },
      { type: 'rejected', error: { code: 'CONSTRAINT' } },
      { type: 'ran', id: { origin: 'a', counter: 2 } },
    ]);
    expect(group.writes[1]).not.toHaveProperty('id');
    expect(store.state()).toEqual(before);
    expect(store.hasUnsealed()).toBe(false);
    expect(await store.sealed({ counter: 0, part: 0 }, 1e9)).toEqual([]);
    expect((await store.query('SELECT count(*) FROM t', [])).rows).toEqual([[0n]]);
    expect((await store.checksum()).tables).toMatchObject([{ rows: 0 }]);
    await expectCode(
      store.seal().then(() => store.write([])),
      'INTERNAL',
    );
    const batch = batchIn(group);
    expect(batch.sync).toMatchObject({ token: 'tok', reply: '_INBOX.1', readSeq: before.position.seq });
    expect(batch.transactions.map(({ changes }) => changes.map(({ op }) => op))).toEqual([
      ['insert'],
      ['update'],
    ]);
    await group.commit(at(7));
    await group.rollback();
    await expectCode(group.commit(at(7)), 'INTERNAL');
    const state = store.state();
    expect(state).toMatchObject({
      position: at(7),
      vector: { a: 2 },
      lastCounter: 2,
      publishedCounter: 2,
      outboxMessages: 1,
    });
    const outcome = { origin: 'a', firstCounter: 1, lastCounter: 2, token: 'tok', seq: 7, rejected: [] };
    expect(await store.outcomeOf({ origin: 'a', counter: 2 })).toEqual(outcome);
    expect(await store.outcomes(0, 10)).toEqual([outcome]);
    expect(await store.outcomes(8, 10)).toEqual([]);
    expect(await store.outcomeOf({ origin: 'a', counter: 3 })).toBeUndefined();
    expect(await store.sealed({ counter: 0, part: 0 }, 1e9)).toMatchObject([{ lastCounter: 2 }]);
    await store.close();
    const again = await cluster.join('a');
    expect(again.state()).toEqual(state);
    expect(cluster.shell('a', 'SELECT * FROM t')).toBe('1|x|2');
  });

  it('I1: a rolled back group, a closed store and a killed process leave nothing', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    const before = store.state();
    const first = await prepared(store, [running(`INSERT INTO t VALUES (1, 'x', 1)`)]);
    expect(afterKill()).toBe('0\n0\n0');
    await first.rollback();
    await first.rollback();
    await expectCode(first.commit(at(1)), 'INTERNAL', /already rolled back/);
    expect(store.state()).toEqual(before);
    const again = await prepared(store, [running(`INSERT INTO t VALUES (2, 'x', 1)`)]);
    expect(again.message).toMatchObject({ firstCounter: 1, lastCounter: 1 });
    await again.commit(at(1));
    expect(afterKill()).toBe('1\n1\n1');
    const last = await prepared(store, [running(`INSERT INTO t VALUES (3, 'x', 1)`)]);
    await store.close();
    await expectCode(last.commit(at(2)), 'CLOSED');
    await last.rollback();
    expect(cluster.shell('a', 'SELECT id FROM t')).toBe('2');
  });

  it('without requests: one empty transaction; when nothing changed: no message', async () => {
    cluster = await pairOf(`${T} CREATE TABLE unkeyed (x);`);
    const { store } = cluster.member('a');
    const noOp = await prepared(store, []);
    expect(batchIn(noOp)).toMatchObject({
      firstCounter: 1,
      sync: { claims: [[]] },
      transactions: [{ counter: 1, changes: [] }],
    });
    await noOp.commit(at(1));
    expect(store.state()).toMatchObject({ vector: { a: 1 }, position: at(1) });
    const local = await prepared(store, [running('INSERT INTO unkeyed VALUES (1)')]);
    expect(local.message).toBeUndefined();
    await local.commit();
    expect(store.state()).toMatchObject({ vector: { a: 1 }, position: at(1) });
    expect(cluster.shell('a', 'SELECT count(*) FROM unkeyed')).toBe('1');
    const failing = await prepared(store, [running('SELEKT')]);
    expect(failing).toMatchObject({ writes: [{ type: 'rejected', error: { code: 'BAD_SQL' } }] });
    await failing.commit();
    await (await prepared(store, [running(`INSERT INTO t VALUES (1, 'x', 1)`)])).commit(at(2));
    expect(store.state()).toMatchObject({ vector: { a: 2 } });
  });

  it('waits for what other programs wrote to be sealed', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    cluster.shell('a', `INSERT INTO t VALUES (1, 'shell', 1)`);
    expect(await store.prepare([running(`UPDATE t SET n = 5`)], OPTIONS)).toBeUndefined();
    await store.seal();
    const group = await prepared(store, [running(`UPDATE t SET n = 5`)]);
    expect(group.message).toMatchObject({ firstCounter: 2 });
    await group.commit(at(2));
  });

  it('a statement that rolls everything back rejects its own write only', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    const group = await prepared(store, [
      running(`INSERT INTO t VALUES (1, 'x', 1)`),
      running(`INSERT OR ROLLBACK INTO t VALUES (1, 'y', 1)`),
      running(`INSERT INTO t VALUES (2, 'z', 1)`),
    ]);
    expect(group.writes.map(({ type }) => type)).toEqual(['ran', 'rejected', 'ran']);
    expect(batchIn(group).transactions).toHaveLength(2);
    await group.commit(at(1));
    expect(cluster.shell('a', 'SELECT id FROM t')).toBe('1\n2');
  });

  it('rejects all that never fit at once, and runs the others twice at most', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
    const { store } = cluster.member('a');
    const runs: number[] = [];
    const blob = (id: number, bytes: number): WriteRequest<SqliteTransaction> => ({
      run: (tx) => {
        runs[id] = (runs[id] ?? 0) + 1;
        tx.run('INSERT INTO t VALUES (?, zeroblob(?))', [id, bytes]);
      },
    });
    const sizes = [1, 20_000, 1, 30_000, 4000, 40_000, 4000, 4000, 50_000, 1];
    const group = await prepared(
      store,
      sizes.map((bytes, id) => blob(id, bytes)),
      { maxBytes: 10_000 },
    );
    const left = 'left-out';
    const [ran, no] = ['ran', 'rejected'];
    expect(group.writes.map(({ type }) => type)).toEqual([ran, no, ran, no, ran, no, ran, left, no, left]);
    expect(group.writes[7]).toMatchObject({ bytes: expect.closeTo(4000, -3) });
    expect(Math.max(...runs)).toBe(2);
    await group.commit(at(1));
    expect(cluster.shell('a', 'SELECT id FROM t')).toBe('0\n2\n4\n6');
  });

  it('leaves out what does not fit, and rejects what never will', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
    const { store } = cluster.member('a');
    const blob = (id: number, bytes: number): WriteRequest<SqliteTransaction> =>
      running(`INSERT INTO t VALUES (${id}, zeroblob(${bytes}))`);
    const options = { maxBytes: 10_000 };
    const group = await prepared(store, [blob(1, 4000), blob(2, 4000), blob(3, 4000), blob(4, 1)], options);
    expect(group.writes.map(({ type }) => type)).toEqual(['ran', 'ran', 'left-out', 'left-out']);
    expect(group.message!.data.length).toBeLessThanOrEqual(10_000);
    await group.commit(at(1));
    expect(cluster.shell('a', 'SELECT id FROM t')).toBe('1\n2');
    const next = await prepared(store, [running('SELECT 1'), blob(5, 20_000), blob(6, 1)], options);
    expect(next.writes).toMatchObject([
      { type: 'ran' },
      {
        type: 'rejected',
        error: { code: 'MESSAGE_TOO_LARGE', message: expect.stringContaining('10000 bytes') },
      },
      { type: 'ran', id: { counter: 3 } },
    ]);
    await next.commit(at(2));
    const many = `INSERT INTO t (a) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT i FROM n`;
    const alone = await prepared(store, [running(many)], options);
    expect(alone.writes).toMatchObject([{ type: 'rejected', error: { code: 'MESSAGE_TOO_LARGE' } }]);
    await alone.commit();
    expect(cluster.shell('a', 'SELECT id FROM t')).toBe('1\n2\n6');
  });

  it('I1: when the commit fails nothing of the group is there, and the next one works', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
    const { store } = cluster.member('a');
    const unplaced = await prepared(store, [running('INSERT INTO t VALUES (1, 1)')]);
    await expectCode(unplaced.commit(), 'INTERNAL', /place in the log/);
    cluster.shell(
      'a',
      `CREATE TRIGGER failing BEFORE INSERT ON _antiphon_outcomes BEGIN SELECT RAISE(ABORT, 'no more'); END`,
    );
    const before = store.state();
    const failing = await prepared(store, [running('INSERT INTO t VALUES (2, 1)')]);
    await expectCode(failing.commit(at(1)), 'STORE_FAILED', /no more/);
    await failing.rollback();
    expect(store.state()).toEqual(before);
    expect(await store.sealed({ counter: 0, part: 0 }, 1e9)).toEqual([]);
    cluster.shell('a', 'DROP TRIGGER failing');
    await (await prepared(store, [running('INSERT INTO t VALUES (3, 1)')])).commit(at(1));
    expect(store.state()).toMatchObject({ lastCounter: 1 });
    expect(cluster.shell('a', 'SELECT id FROM t')).toBe('3');
  });

  it('another process that took the database is noticed before anything is published', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    await cluster.join('a');
    await expectCode(
      store.prepare([running(`INSERT INTO t VALUES (1, 'x', 1)`)], OPTIONS),
      'DUPLICATE_REPLICA',
    );
    await store.close();
  });

  it('keeps row versions, and shows hidden rows again, as a write does', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE);', true);
    await cluster.write('a', `INSERT INTO t VALUES (1, 'same')`);
    await cluster.write('b', `INSERT INTO t VALUES (2, 'same')`);
    await cluster.synchronize();
    const { store } = cluster.member('a');
    const [[visible]] = (await store.query('SELECT id FROM t', [])).rows as [[bigint]];
    const group = await prepared(store, [running(`UPDATE t SET u = 'other' WHERE id = ${visible}`)]);
    cluster.log.push({ origin: 'a', data: group.message!.data });
    await group.commit(at(cluster.log.length));
    await cluster.synchronize();
    expect(cluster.shell('a', 'SELECT count(*) FROM t')).toBe('2');
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    expect(cluster.versions('b')).toEqual(cluster.versions('a'));
  });
});

describe('a group that came through the log', () => {
  it('I2: rejected transactions count as applied and change nothing; the outcome is kept, own ones are published', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    const group = await prepared(store, [
      running(`INSERT INTO t VALUES (1, 'x', 1)`),
      running(`INSERT INTO t VALUES (2, 'y', 1)`),
      running(`INSERT INTO t VALUES (3, 'z', 1)`),
    ]);
    const batch = batchIn(group);
    await group.rollback();
    for (const name of ['a', 'b']) {
      const member = cluster.member(name).store;
      const steps = [{ type: 'transactions', batch, skip: 0, rejected: [2, 3], seq: 4 }] as const;
      expect(await member.apply({ steps, position: at(4), ...pacing })).toMatchObject({
        transactions: 3,
        rows: 1,
      });
      expect(member.state()).toMatchObject({ vector: { a: 3 }, position: at(4) });
      expect(await member.outcomeOf({ origin: 'a', counter: 3 })).toEqual({
        origin: 'a',
        firstCounter: 1,
        lastCounter: 3,
        token: 'tok',
        seq: 4,
        rejected: [2, 3],
      });
      expect(cluster.shell(name, 'SELECT id FROM t')).toBe('1');
    }
    expect(store.state()).toMatchObject({ lastCounter: 3, publishedCounter: 3 });
    expect((await prepared(store, [running('DELETE FROM t')])).message).toMatchObject({ firstCounter: 4 });
  });

  it('I11: outcomes are forgotten a thousand at a time, the newest stay', async () => {
    cluster = await pairOf();
    await cluster.member('a').store.close();
    cluster.shell(
      'a',
      `INSERT INTO _antiphon_outcomes WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100998)
       SELECT i, i, i, 'b', 'x', CASE i WHEN 5000 THEN '[5000]' END FROM n`,
    );
    const store = await cluster.join('a');
    const kept = (): string =>
      cluster.shell('a', 'SELECT count(*), min(seq), max(seq) FROM _antiphon_outcomes');
    await (await prepared(store, [])).commit(at(200_000));
    expect(kept()).toBe('100999|1|200000');
    await (await prepared(store, [])).commit(at(200_001));
    expect(kept()).toBe('100000|1001|200001');
    expect((await store.outcomes(5000, 1))[0]).toMatchObject({ rejected: [5000] });
  });

  it('a database of an older build gets the table of outcomes', async () => {
    cluster = await pairOf();
    await cluster.member('a').store.close();
    cluster.shell('a', 'DROP TABLE _antiphon_outcomes');
    const store = await cluster.join('a');
    await (await prepared(store, [])).commit(at(1));
    expect(await store.outcomes(1, 10)).toHaveLength(1);
  });
});

describe('foreign keys that only COMMIT checks', () => {
  const PARENT = 'CREATE TABLE par (id INTEGER PRIMARY KEY, a TEXT UNIQUE);';
  const DEFERRED = 'DEFERRABLE INITIALLY DEFERRED';
  const SEED = [`INSERT INTO par VALUES (1, 'x'), (2, 'y')`, `INSERT INTO chi VALUES (1, 'x')`];
  const child = `CREATE TABLE chi (id INTEGER PRIMARY KEY, a TEXT REFERENCES par (a) ${DEFERRED});`;
  const generated = `CREATE TABLE chi (id INTEGER PRIMARY KEY, doc, a AS (json_extract(doc, '$.a')) REFERENCES par (a) ${DEFERRED});`;
  const local = `CREATE TABLE heap (p REFERENCES par (id) ${DEFERRED}, x);`;

  it.each([
    ['a parent replaced by its primary key', child, SEED, [`INSERT OR REPLACE INTO par VALUES (1, 'z')`]],
    ['a row moved onto the parent', child, SEED, ['UPDATE OR REPLACE par SET id = 1 WHERE id = 2']],
    ['a parent that goes', child, SEED, ['DELETE FROM par WHERE id = 1']],
    ['a child without a parent', child, SEED, [`INSERT INTO chi VALUES (2, 'nobody')`]],
    ['a generated column', generated, [], [`INSERT INTO chi (id, doc) VALUES (1, '{"a":"nobody"}')`]],
    [
      'a table that is not replicated',
      child + local,
      [],
      ['INSERT INTO par VALUES (9, 9)', 'INSERT INTO heap (p) VALUES (7)'],
    ],
  ])('reject the write before the log has it: %s', async (_, ddl, seed, statements) => {
    cluster = await pairOf(PARENT + ddl);
    const { store } = cluster.member('a');
    if (seed.length > 0) await (await prepared(store, [running(...seed)])).commit(at(1));
    const bad = running(...statements);
    const good = running(`INSERT INTO par VALUES (5, 'good')`);
    for (const requests of [[good, bad, running(`INSERT INTO par VALUES (6, 'too')`)], [bad]]) {
      const group = await prepared(store, requests);
      const results = group.writes.map((write) =>
        write.type === 'rejected' ? (write.error as AntiphonError).code : write.type,
      );
      expect(results).toEqual(requests.map((request) => (request === bad ? 'CONSTRAINT' : 'ran')));
      await group.rollback();
    }
    const written = await store.write([bad, good]);
    expect(written).toMatchObject([
      { type: 'rejected', error: { code: 'CONSTRAINT' } },
      { type: 'committed' },
    ]);
    expect(cluster.shell('a', 'PRAGMA foreign_key_check')).toBe('');
  });

  it('accept one that is whole when the write ends, and see what the next write does to it', async () => {
    cluster = await pairOf(PARENT + child);
    const { store } = cluster.member('a');
    const swap = running(`INSERT INTO chi VALUES (1, 'late')`, `INSERT INTO par VALUES (1, 'late')`);
    const group = await prepared(store, [
      swap,
      running('DELETE FROM par'),
      running('DELETE FROM par', `INSERT INTO par VALUES (2, 'late')`),
    ]);
    expect(group.writes.map(({ type }) => type)).toEqual(['ran', 'rejected', 'ran']);
    await group.commit(at(1));
    expect(cluster.shell('a', 'SELECT * FROM par; SELECT * FROM chi; PRAGMA foreign_key_check')).toBe(
      '2|late\n1|late',
    );
  });
});
