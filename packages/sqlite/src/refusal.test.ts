import { decodeBatches, type ApplyStep, type Gap, type TransactionBatch } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { batchOf, pacing, pairOf } from '../test/pair.js';

const TWO = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE TABLE u (id INTEGER PRIMARY KEY);';
/** No row can be inserted into u meanwhile, whoever does it. */
const BREAK = `CREATE INDEX broken ON u (json('x' || id));`;
const MEND = 'DROP INDEX broken;';

let cluster = new Cluster();
afterEach(() => cluster.close());

/** Four transactions of `a` in one message of the log; the third one writes both tables. */
async function fourInOne(): Promise<void> {
  cluster = await pairOf(TWO);
  const insert = (table: string, id: number) => ({
    run: (tx: { run(sql: string, params: readonly unknown[]): unknown }) => {
      tx.run('INSERT INTO t VALUES (?, ?)', [id, 'x']);
      if (table === 'u') tx.run('INSERT INTO u VALUES (?)', [id]);
    },
  });
  const { store } = cluster.member('a');
  await store.write([insert('t', 1), insert('t', 2), insert('u', 3), insert('t', 4)]);
  await cluster.publish('a');
}

describe('what only its origin decides', () => {
  it.each(['PRAGMA ignore_check_constraints = ON', 'PRAGMA case_sensitive_like = ON'])(
    'a CHECK that did not refuse the row there does not refuse it elsewhere: %s',
    async (pragma) => {
      cluster = await pairOf(
        `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL CHECK (a NOT LIKE 'A%')); INSERT INTO t VALUES (1, 'x');`,
      );
      cluster.shell('a', `${pragma}; INSERT INTO t VALUES (2, 'ab'); UPDATE t SET a = 'ac' WHERE id = 1;`);
      await cluster.publish('a');
      expect((await cluster.deliver('b')).refused).toBeUndefined();
      expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
      await cluster.join('c');
      await cluster.synchronize();
      expect(cluster.rows('c', 't')).toEqual(cluster.rows('a', 't'));
      // Writers are held to it as before.
      expect(() => cluster.shell('b', `INSERT INTO t VALUES (3, 'ad')`)).toThrow(/CHECK constraint failed/);
      expect(await cluster.write('b', `INSERT INTO t VALUES (3, 'ad')`)).toMatchObject({
        type: 'rejected',
        error: { code: 'CONSTRAINT' },
      });
    },
  );
});

describe('what a database refuses', () => {
  it('I1: is told by its counter and table, after everything before it, also in the same message', async () => {
    await fourInOne();
    cluster.shell('b', BREAK);
    const { refused, transactions } = await cluster.deliver('b');
    expect(refused).toMatchObject({
      step: 0,
      error: { code: 'APPLY_REFUSED', context: { origin: 'a', counter: 3, table: 'u', seq: 1 } },
    });
    expect(refused?.error.message).toMatch(/^malformed JSON in table u\.$/);
    expect(transactions).toBe(2);
    const { store } = cluster.member('b');
    expect(store.state()).toMatchObject({ vector: { a: 2 }, position: { seq: 0 } });
    expect(cluster.shell('b', 'SELECT id FROM t')).toBe('1\n2');
    cluster.shell('b', MEND);
    expect((await cluster.deliver('b')).refused).toBeUndefined();
    expect(store.state()).toMatchObject({ vector: { a: 4 }, position: { seq: 1 } });
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    expect(cluster.rows('b', 'u')).toEqual(cluster.rows('a', 'u'));
  });

  it('I1: of a synchronous group is all of it', async () => {
    await fourInOne();
    cluster.shell('b', BREAK);
    const batch: TransactionBatch = {
      ...batchOf(cluster, 0),
      sync: { token: 'x', readSeq: 0, claims: [[], [], [], []] },
    };
    const steps: readonly ApplyStep[] = [{ type: 'transactions', batch, skip: 0, seq: 1 }];
    const { store } = cluster.member('b');
    const request = { steps, position: { generation: 'g1', seq: 1 }, ...pacing };
    expect((await store.apply(request)).refused?.error.context).toMatchObject({ counter: 3, table: 'u' });
    expect(store.state().vector['a'] ?? 0).toBe(0);
    expect(cluster.shell('b', 'SELECT count(*) FROM t')).toBe('0');
    expect(await store.outcomes(0, 10)).toEqual([]);
    cluster.shell('b', MEND);
    expect((await store.apply(request)).refused).toBeUndefined();
    expect(store.state().vector).toEqual({ a: 4 });
    expect(await store.outcomes(0, 10)).toMatchObject([{ lastCounter: 4, seq: 1 }]);
  });

  it.each([1, 2, Infinity])(
    'I1: keeps the parts of a big one, when %d of them come at once, also across a restart',
    async (atOnce) => {
      cluster = await pairOf(TWO);
      await cluster.write(
        'a',
        ...Array.from(
          { length: 12 },
          (_, id) => ['INSERT INTO t VALUES (?, ?)', [id, 'x'.repeat(90_000)]] as const,
        ),
        'INSERT INTO u VALUES (1)',
      );
      await cluster.publish('a');
      expect(cluster.log.length).toBeGreaterThan(3);
      cluster.shell('b', BREAK);
      let refused;
      while (refused === undefined) ({ refused } = await cluster.deliver('b', atOnce));
      expect(refused.error.context).toMatchObject({ origin: 'a', table: 'u' });
      expect((await cluster.deliver('b')).refused?.error.code).toBe('APPLY_REFUSED');
      await cluster.member('b').store.close();
      const store = await cluster.join('b');
      expect(store.state().position.seq).toBe(cluster.log.length - 1);
      expect((await cluster.deliver('b')).refused?.error.code).toBe('APPLY_REFUSED');
      cluster.shell('b', MEND);
      expect((await cluster.deliver('b')).refused).toBeUndefined();
      expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
      expect(cluster.shell('b', 'SELECT count(*) FROM _antiphon_parts')).toBe('0');
    },
  );

  it('changes the schema cookie when it is mended', async () => {
    cluster = await pairOf(TWO);
    const { store } = cluster.member('b');
    const before = store.schemaCookie();
    cluster.shell('b', 'INSERT INTO t VALUES (7, NULL)');
    expect(store.schemaCookie()).toBe(before);
    cluster.shell('b', BREAK);
    expect(store.schemaCookie()).not.toBe(before);
  });
});

describe('gaps', () => {
  const gap = (origin: string, expected: number): Gap => ({
    ...{ origin, expected, found: expected + 1, seq: 5 },
    reason: 'it has not come',
  });

  it('I2: are stored with the position, survive a restart, and close with what was missing', async () => {
    await fourInOne();
    const { store } = cluster.member('b');
    const steps: readonly ApplyStep[] = [
      { type: 'gap', gap: gap('a', 2), seq: 5 },
      { type: 'gap', gap: gap('x', 1), seq: 5 },
    ];
    await store.apply({ steps, position: { generation: 'g1', seq: 5 }, ...pacing });
    expect(store.state().gaps).toEqual([gap('a', 2), gap('x', 1)]);
    await store.close();
    const again = await cluster.join('b');
    expect(again.state()).toMatchObject({ position: { seq: 5 }, gaps: [gap('a', 2), gap('x', 1)] });
    const batch = decodeBatches(cluster.log[0]!.data)[0] as TransactionBatch;
    const first = { ...batch, transactions: batch.transactions.slice(0, 1) };
    const position = { generation: 'g1', seq: 6 };
    await again.apply({
      steps: [{ type: 'transactions', batch: first, skip: 0, seq: 6 }],
      position,
      ...pacing,
    });
    expect(again.state().gaps.map(({ origin }) => origin)).toEqual(['a', 'x']);
    await again.apply({ steps: [{ type: 'transactions', batch, skip: 1, seq: 6 }], position, ...pacing });
    expect(again.state().gaps.map(({ origin }) => origin)).toEqual(['x']);
    await again.apply({ steps: [{ type: 'no-gap', origin: 'x', seq: 5 }], position, ...pacing });
    expect(again.state().gaps).toEqual([]);
    await again.close();
    expect((await cluster.join('b')).state().gaps).toEqual([]);
  });

  it('I1: are not there when what came with them was refused', async () => {
    await fourInOne();
    cluster.shell('b', BREAK);
    const { store } = cluster.member('b');
    const steps: readonly ApplyStep[] = [
      { type: 'transactions', batch: batchOf(cluster, 0), skip: 0, seq: 1 },
      { type: 'gap', gap: gap('x', 1), seq: 2 },
    ];
    const outcome = await store.apply({ steps, position: { generation: 'g1', seq: 2 }, ...pacing });
    expect(outcome.refused?.step).toBe(0);
    expect(store.state().gaps).toEqual([]);
    expect(cluster.shell('b', 'SELECT count(*) FROM _antiphon_gaps')).toBe('0');
  });
});
