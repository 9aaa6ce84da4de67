import { decodeBatches, type ApplyStep, type TransactionBatch } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, giveWay } from '../test/cluster.js';
import { batchOf, pacing, pairOf, T } from '../test/pair.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

describe('applying', () => {
  it('I1, I2: rows, vector and position move together; a skip leaves out what is applied', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    await store.write(
      [1, 2, 3].map((id) => ({ run: (tx) => tx.run('INSERT INTO t VALUES (?, ?, ?)', [id, 'x', 1]) })),
    );
    await cluster.publish('a');
    const b = cluster.member('b').store;
    const batch = batchOf(cluster, 0);
    const outcome = await b.apply({
      steps: [
        {
          type: 'transactions',
          batch: { ...batch, transactions: batch.transactions.slice(0, 1) },
          skip: 0,
          seq: 1,
        },
        { type: 'transactions', batch, skip: 1, seq: 2 },
      ],
      position: { generation: 'g1', seq: 2 },
      ...pacing,
    });
    expect(outcome).toEqual({ transactions: 3, rows: 3, conflicts: 0 });
    expect(b.state()).toMatchObject({ vector: { a: 3 }, position: { seq: 2 } });
    expect(
      cluster.shell(
        'b',
        `SELECT vector FROM _antiphon_state; SELECT position_seq FROM _antiphon_state; SELECT count(*) FROM t`,
      ),
    ).toBe('{"a":3}\n2\n3');
    await b.apply({ steps: [], position: { generation: 'g1', seq: 7 }, ...pacing });
    expect(b.state().position.seq).toBe(7);
  });

  it('I1: what counts as published comes with the position that it belongs to, or not at all', async () => {
    cluster = await pairOf();
    await cluster.write('a', ['INSERT INTO t VALUES (1, ?, 1)', ['x']]);
    await cluster.publish('a');
    await cluster.member('b').store.write([{ run: (tx) => tx.run('INSERT INTO t VALUES (9, ?, 1)', ['x']) }]);
    const b = cluster.member('b').store;
    const batch = batchOf(cluster, 0);
    const poisoned = {
      ...batch,
      transactions: [
        { ...batch.transactions[0]!, changes: [{ op: 'insert' as const, table: 0, row: [5n, null, 1n] }] },
      ],
    };
    const at = { position: { generation: 'g1', seq: 2 }, publishedAt: (seq: number) => seq, ...pacing };
    const { refused } = await b.apply({
      steps: [{ type: 'transactions', batch: poisoned, skip: 0, seq: 1 }],
      ...at,
    });
    expect(refused).toMatchObject({ error: { code: 'APPLY_REFUSED' } });
    expect(b.state()).toMatchObject({ position: { seq: 0 }, publishedCounter: 0 });
    await b.apply({ steps: [{ type: 'transactions', batch, skip: 0, seq: 1 }], ...at });
    expect(b.state()).toMatchObject({ position: { seq: 2 }, publishedCounter: 1 });
    await b.apply({ steps: [], position: { generation: 'g1', seq: 3 }, publishedAt: () => 7, ...pacing });
    expect(b.state()).toMatchObject({ lastCounter: 1, publishedCounter: 1 });
  });

  it('I15: a transaction that the database refuses leaves everything before it and nothing of it', async () => {
    cluster = await pairOf();
    for (let id = 1; id <= 4; id++)
      await cluster.write('a', ['INSERT INTO t VALUES (?, ?, ?)', [id, 'x', 1]]);
    await cluster.publish('a');
    const b = cluster.member('b').store;
    const steps: ApplyStep[] = [0, 1, 2, 3].map((index) => ({
      type: 'transactions',
      batch: batchOf(cluster, index),
      skip: 0,
      seq: index + 11,
    }));
    const poisoned = batchOf(cluster, 2);
    const changes = [
      ...poisoned.transactions[0]!.changes,
      { op: 'insert' as const, table: 0, row: [50n, null, 1n] },
    ];
    steps[2] = {
      type: 'transactions',
      batch: { ...poisoned, transactions: [{ ...poisoned.transactions[0]!, changes }] },
      skip: 0,
      seq: 13,
    };
    const outcome = await b.apply({ steps, position: { generation: 'g1', seq: 14 }, ...pacing });
    expect(outcome).toMatchObject({
      transactions: 2,
      rows: 2,
      refused: { step: 2, error: { code: 'APPLY_REFUSED', message: expect.stringMatching(/NOT NULL/) } },
    });
    expect(b.state()).toMatchObject({ position: { seq: 12 }, vector: { a: 2 } });
    expect(cluster.shell('b', 'SELECT id FROM t')).toBe('1\n2');
    await b.apply({
      steps: [
        {
          type: 'quarantine',
          storedAtMs: 1000,
          seq: 13,
          origin: 'a',
          data: cluster.log[2]!.data,
          error: outcome.refused!.error,
        },
      ],
      position: { generation: 'g1', seq: 13 },
      ...pacing,
    });
    expect(b.state()).toMatchObject({ quarantined: 1, position: { seq: 13 }, vector: { a: 2 } });
    expect(cluster.shell('b', 'SELECT seq, origin, code FROM _antiphon_quarantine')).toBe(
      '13|a|APPLY_REFUSED',
    );
    expect(b.hasUnsealed()).toBe(false);
    expect(cluster.shell('b', 'SELECT count(*) FROM _antiphon_guard')).toBe('0');
  });

  it('I15: unknown tables and columns, and values of other engines that have no place here, are refused', async () => {
    cluster = await pairOf();
    await cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`);
    await cluster.publish('a');
    const b = cluster.member('b').store;
    const good = batchOf(cluster, 0);
    const apply = async (changes: Partial<TransactionBatch>) =>
      (
        await b.apply({
          steps: [{ type: 'transactions', batch: { ...good, ...changes }, skip: 0, seq: 1 }],
          position: { generation: 'g1', seq: 1 },
          ...pacing,
        })
      ).refused?.error;
    expect(await apply({ tables: [{ ...good.tables[0]!, name: 'nope' }] })).toMatchObject({
      code: 'UNKNOWN_TABLE',
      message: expect.stringMatching(/nope/),
    });
    expect(await apply({ tables: [{ ...good.tables[0]!, columns: ['id', 'a', 'z'] }] })).toMatchObject({
      code: 'UNKNOWN_TABLE',
      message: expect.stringMatching(/lacks its column n/),
    });
    const row = (row: readonly unknown[]): Partial<TransactionBatch> => ({
      transactions: [
        { counter: 1, time: good.time, changes: [{ op: 'insert', table: 0, row: row as never }] },
      ],
    });
    expect(await apply(row([1n, 'x']))).toMatchObject({ code: 'MALFORMED_MESSAGE' });
    expect(await apply(row([1n, null, 1n]))).toMatchObject({
      code: 'APPLY_REFUSED',
      message: expect.stringMatching(/NOT NULL/),
    });
    expect(cluster.shell('b', 'SELECT count(*) FROM t')).toBe('0');
    // Another order of the columns is fine, and so is a boolean.
    expect(
      await apply({ tables: [{ name: 't', columns: ['n', 'id', 'a'], key: [1] }], ...row([true, 1n, 'x']) }),
    ).toBeUndefined();
    expect(cluster.shell('b', 'SELECT id, a, n FROM t')).toBe('1|x|1');
  });

  it('seals what other programs wrote before it applies', async () => {
    cluster = await pairOf(T, true);
    await cluster.write('a', `INSERT INTO t VALUES (1, 'a', 1)`);
    await cluster.publish('a');
    cluster.shell('b', `INSERT INTO t VALUES (2, 'b', 1)`);
    await cluster.deliver('b');
    const [message] = await cluster.member('b').store.sealed({ counter: 0, part: 0 }, 1e6);
    expect(
      decodeBatches(message!.data)[0]!.context,
      'the context does not claim what b had not seen',
    ).toEqual({});
    await cluster.synchronize();
    expect(cluster.rows('a', 't')).toEqual(cluster.rows('b', 't'));
  });

  it('I11: rows that all take the unique value of the next one take time in proportion to their number', async () => {
    cluster = await pairOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, pos INT UNIQUE); CREATE TABLE o (id INTEGER PRIMARY KEY);
       CREATE TRIGGER tr AFTER DELETE ON o BEGIN UPDATE t SET pos = NULL WHERE id = old.id; END;`,
    );
    const rows = 20_000;
    const { store } = cluster.member('a');
    await store.write([
      {
        run: (tx) =>
          tx.run(
            `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows}) INSERT INTO t SELECT i, i FROM n`,
          ),
      },
    ]);
    await store.write([
      {
        run: (tx) => {
          tx.run('UPDATE t SET pos = - pos');
          tx.run('UPDATE t SET pos = 1 - pos');
        },
      },
    ]);
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT count(*), sum(pos - id) FROM t')).toBe(`${rows}|${rows}`);
  });

  it('gives way during a long apply, and reads go on meanwhile', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT);');
    cluster.shell(
      'a',
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t SELECT i, 'row ' || i FROM n;`,
    );
    await cluster.publish('a');
    const b = cluster.member('b').store;
    const steps: ApplyStep[] = cluster.log.map(({ data }, index) => ({
      type: 'part',
      batch: decodeBatches(data)[0] as never,
      seq: index + 1,
    }));
    let yields = 0;
    let seen: unknown;
    const giving = async (): Promise<void> => {
      if (yields++ === 0) seen = (await b.query('SELECT count(*) FROM t', [])).rows[0]?.[0];
      await giveWay();
    };
    await b.apply({ steps, position: { generation: 'g1', seq: steps.length }, yield: giving, sliceMs: 1 });
    expect(yields).toBeGreaterThan(3);
    expect(seen).toBe(0n);
    expect(cluster.shell('b', 'SELECT count(*) FROM t')).toBe('20000');
  });
});
