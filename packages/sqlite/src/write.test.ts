import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { batchOf, expectCode, pacing, pairOf } from '../test/pair.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

describe('writing', () => {
  it('gives tx run, get and all, with the values programs expect', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
    const outcomes = await cluster.member('a').store.write([
      {
        run: (tx) => ({
          insert: tx.run('INSERT INTO t (a) VALUES (?), (?), (?), (?)', [5, 2.5, true, null]),
          named: tx.run('INSERT INTO t (a) VALUES ($a)', { a: 2n ** 60n }),
          returning: tx.run('INSERT INTO t (a) VALUES (1) RETURNING id'),
          types: tx.all('SELECT typeof(a) AS type, a FROM t ORDER BY id'),
          one: tx.get<{ n: number }>('SELECT count(*) AS n FROM t')?.n,
          none: tx.get('SELECT 1 WHERE 0'),
        }),
      },
    ]);
    expect(outcomes[0]).toMatchObject({
      value: {
        insert: { changes: 4, lastInsertRowid: 4 },
        named: { changes: 1, lastInsertRowid: 5 },
        returning: { changes: 1, lastInsertRowid: 6 },
        types: [
          { type: 'integer', a: 5 },
          { type: 'real', a: 2.5 },
          { type: 'integer', a: 1 },
          { type: 'null', a: null },
          { type: 'integer', a: 2n ** 60n },
          { type: 'integer', a: 1 },
        ],
        one: 6,
        none: undefined,
      },
    });
  });

  it('gives rows as arrays, where columns have one name', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
    const { store } = cluster.member('a');
    const [outcome] = await store.write([
      {
        run: (tx) => ({
          returned: tx.values('INSERT INTO t (a) VALUES (?), (?) RETURNING a, a, id', [7, 2n ** 60n]),
          joined: tx.values<[number, number]>('SELECT t.id, u.id FROM t JOIN t AS u ON u.id > t.id'),
          objects: tx.all('SELECT t.id, u.id FROM t JOIN t AS u ON u.id > t.id'),
          none: tx.values('SELECT 1 WHERE 0'),
        }),
      },
    ]);
    expect(outcome).toMatchObject({
      value: {
        returned: [
          [7, 7, 1],
          [2n ** 60n, 2n ** 60n, 2],
        ],
        joined: [[1, 2]],
        objects: [{ id: 2 }],
        none: [],
      },
    });
    const [refused] = await store.write([{ run: (tx) => tx.values('DELETE FROM t') }]);
    expect(refused).toMatchObject({
      error: { code: 'BAD_SQL', message: expect.stringMatching(/returns no rows/) },
    });
  });

  it("I1: rejects with what its function threw, the very object, and not with the others' errors", async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
    const { store } = cluster.member('a');
    const thrown: readonly unknown[] = [new RangeError('mine'), 'a text', undefined, { own: true }];
    const failing = thrown.map((one) => ({
      run: (tx: { run(sql: string): unknown }) => {
        tx.run('INSERT INTO t (a) VALUES (1)');
        throw one;
      },
    }));
    const requests = [...failing, { run: () => 'fine' }];
    const outcomes = await store.write(requests);
    expect(outcomes.map((outcome) => (outcome.type === 'rejected' ? outcome.error : outcome.type))).toEqual([
      ...thrown,
      'committed',
    ]);
    const group = await store.prepare(requests, { token: 'x', maxBytes: 100_000, certified: false });
    const prepared = group?.writes ?? [];
    await group?.rollback();
    for (const [index, one] of thrown.entries()) {
      for (const { error } of [outcomes[index], prepared[index]] as { error: unknown }[])
        expect(error).toBe(one);
      const [alone] = await store.write(failing.slice(index, index + 1));
      expect(alone?.type === 'rejected' && alone.error === one).toBe(true);
    }
  });

  it('I1: runs each function of a group once, and those that are undone with a failing one again', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
    const { store } = cluster.member('a');
    const ran: number[] = [];
    const insert = (id: number) => ({
      run: (tx: { run(sql: string): unknown }) => {
        ran.push(id);
        tx.run(`INSERT INTO t VALUES (${id}, 0)`);
        return id;
      },
    });
    const values = async (...ids: readonly number[]): Promise<unknown[]> =>
      (await store.write(ids.map(insert))).map((one) => (one.type === 'committed' ? one.value : one.type));
    expect(await values(1, 2, 3)).toEqual([1, 2, 3]);
    expect(ran.splice(0)).toEqual([1, 2, 3]);
    expect(await values(4, 1, 5)).toEqual([4, 'rejected', 5]);
    expect(ran.splice(0)).toEqual([4, 1, 4, 1, 5]);
    // Where one has failed, another one costs the others nothing.
    expect(await values(6, 1, 7)).toEqual([6, 'rejected', 7]);
    expect(ran.splice(0)).toEqual([6, 1, 7]);
    expect(store.state().lastCounter).toBe(7);
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT id FROM t')).toBe('1\n2\n3\n4\n5\n6\n7');
  });

  it('refuses what would leave the transaction, touch the metadata, or wait', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    const refused = async (
      run: Parameters<typeof store.write>[0][number]['run'],
      code: string,
      message: RegExp,
    ): Promise<void> => {
      const [outcome] = await store.write([{ run }]);
      expect(outcome).toMatchObject({
        type: 'rejected',
        error: { code, message: expect.stringMatching(message) },
      });
    };
    for (const sql of [
      'COMMIT',
      ' /* x */ begin',
      'rollback',
      `ATTACH 'x' AS y`,
      'PRAGMA foreign_keys = OFF',
      '-- c\nSAVEPOINT s',
      'DROP TABLE t',
      'VACUUM',
    ])
      await refused((tx) => tx.run(sql), 'BAD_SQL', /cannot be used here/);
    await refused((tx) => tx.run('DELETE FROM _antiphon_state'), 'BAD_SQL', /belong to Antiphon/);
    await refused((tx) => tx.run('SELEKT 1'), 'BAD_SQL', /SELEKT 1/);
    await refused((tx) => tx.run('SELECT 1; SELECT 2'), 'BAD_SQL', /more than one statement/);
    await refused(
      (tx) => tx.run('INSERT INTO t VALUES (?, ?, ?)', [1, undefined, 2]),
      'BAD_SQL',
      /undefined/,
    );
    await refused((tx) => tx.run('INSERT INTO t VALUES (?, ?, ?)', [1]), 'BAD_SQL', /too few/);
    await refused((tx) => tx.get(`INSERT INTO t VALUES (1, 'x', 1)`), 'BAD_SQL', /Use run\(\)/);
    await refused((tx) => tx.run(`INSERT INTO t VALUES (1, 'x', 100)`), 'CONSTRAINT', /CHECK.*INSERT INTO t/);
    await refused(async (tx) => tx.run(`INSERT INTO t VALUES (1, 'x', 1)`), 'BAD_OPTION', /async/);
    let leaked: unknown;
    await store.write([{ run: (tx) => (leaked = tx) }]);
    expect(() => (leaked as { run(sql: string): void }).run('DELETE FROM t')).toThrow(/is over/);
    expect(cluster.shell('a', 'SELECT count(*) FROM t')).toBe('0');
    expect(store.state().lastCounter).toBe(0);
  });

  it('a statement that rolls the whole transaction back rejects its own write only', async () => {
    cluster = await pairOf();
    const outcomes = await cluster.member('a').store.write([
      { run: (tx) => tx.run(`INSERT INTO t VALUES (1, 'x', 1)`) },
      {
        run: (tx) => {
          try {
            tx.run(`INSERT OR ROLLBACK INTO t VALUES (1, 'y', 1)`);
          } catch {
            tx.run(`INSERT INTO t VALUES (3, 'outside of any transaction', 1)`);
          }
        },
      },
      { run: (tx) => tx.run(`INSERT INTO t VALUES (2, 'z', 1)`) },
    ]);
    expect(outcomes).toMatchObject([
      { type: 'committed', id: { counter: 1 } },
      { type: 'rejected' },
      { type: 'committed', id: { counter: 2 } },
    ]);
    expect(cluster.shell('a', 'SELECT id FROM t')).toBe('1\n2');
  });

  it('a foreign key that is checked at the end rejects its own write only', async () => {
    cluster = await pairOf(
      `CREATE TABLE p (id TEXT COLLATE NOCASE PRIMARY KEY, up REFERENCES p DEFERRABLE INITIALLY DEFERRED);
       CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p DEFERRABLE INITIALLY DEFERRED);`,
    );
    const running = (...statements: readonly string[]) => ({
      run: (tx: { run(sql: string): unknown }): void => statements.forEach((sql) => tx.run(sql)),
    });
    const requests = [
      running(
        `INSERT INTO c VALUES (1, 'A')`,
        `INSERT INTO p VALUES ('a', 'a')`,
        'INSERT INTO c VALUES (2, NULL)',
      ),
      running(`INSERT INTO c VALUES (3, 'b')`),
      running('DELETE FROM p'),
      running(`UPDATE p SET id = 'x', up = NULL`),
      running(`UPDATE c SET p = 'b' WHERE id = 1`),
      running(`DELETE FROM p`, `INSERT INTO p VALUES ('A', NULL)`),
      running(`INSERT INTO p VALUES ('q', 'nobody')`),
    ];
    const types = ['committed', 'rejected', 'rejected', 'rejected', 'rejected', 'committed', 'rejected'];
    const outcomes = await cluster.member('a').store.write(requests);
    expect(outcomes.map(({ type }) => type)).toEqual(types);
    expect(outcomes[1]).toMatchObject({ error: { code: 'CONSTRAINT' } });
    for (const at of [1, 2, 3, 4, 6])
      expect(await cluster.member('a').store.write(requests.slice(at, at + 1))).toMatchObject([
        { type: 'rejected' },
      ]);
    expect(cluster.shell('a', 'SELECT * FROM c; SELECT * FROM p')).toBe('1|A\n2|\nA|');
  });

  it('foreign commits are sealed before the group, as one transaction of their own', async () => {
    cluster = await pairOf();
    cluster.shell('a', `INSERT INTO t VALUES (1, 'x', 1); INSERT INTO t VALUES (2, 'y', 1);`);
    const outcome = await cluster.write('a', `UPDATE t SET n = n + 1`);
    expect(outcome).toMatchObject({ id: { counter: 2 } });
    await cluster.publish('a');
    const [first, second] = batchOf(cluster, 0).transactions;
    expect(first?.changes.map(({ op }) => op)).toEqual(['insert', 'insert']);
    expect(
      second?.changes.map((change) => (change.op === 'update' ? [change.changed, change.before] : [])),
    ).toEqual([
      [[2], [1n]],
      [[2], [1n]],
    ]);
  });

  it('packs consecutive transactions, up to 1000 rows or about 180 KB a message', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
    const { store } = cluster.member('a');
    await store.write(
      Array.from({ length: 2500 }, (_, index) => ({
        run: (tx) => tx.run('INSERT INTO t VALUES (?, ?)', [index, 'x']),
      })),
    );
    await store.write(
      Array.from({ length: 10 }, (_, index) => ({
        run: (tx) => tx.run('INSERT INTO t VALUES (?, zeroblob(50000))', [10_000 + index]),
      })),
    );
    const messages = await store.sealed({ counter: 0, part: 0 }, 1e9);
    expect(messages.map(({ lastCounter, firstCounter }) => lastCounter - firstCounter + 1)).toEqual([
      1000, 1000, 500, 3, 3, 3, 1,
    ]);
    const middle = await store.sealed({ counter: 1500, part: 0 }, 1);
    expect(middle).toMatchObject([{ firstCounter: 1001, lastCounter: 2000 }]);
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
  });

  it('STORE_BUSY while another program holds the write lock, and everything works again after', async () => {
    cluster = await pairOf();
    await cluster.member('a').store.close();
    const store = await cluster.join('a', {}, { busyTimeoutMs: 50 });
    const shell = spawn('sqlite3', [cluster.directory.file('a')], { stdio: ['pipe', 'pipe', 'inherit'] });
    shell.stdin.write(`BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 'shell', 1); SELECT 'locked';\n`);
    await once(shell.stdout, 'data');
    await expectCode(
      store.write([{ run: (tx) => tx.run(`INSERT INTO t VALUES (2, 'x', 1)`) }]),
      'STORE_BUSY',
      /write lock/,
    );
    await expectCode(
      store.apply({ steps: [], position: { generation: 'g1', seq: 9 }, ...pacing }),
      'STORE_BUSY',
    );
    expect(store.state().position.seq).toBe(0);
    shell.stdin.end('COMMIT;\n');
    await once(shell, 'close');
    expect(await cluster.write('a', `INSERT INTO t VALUES (2, 'x', 1)`)).toMatchObject({
      id: { counter: 2 },
    });
  });
});
