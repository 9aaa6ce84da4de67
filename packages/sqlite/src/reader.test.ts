import { AntiphonError } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import { expectCode, pairOf } from '../test/pair.js';

const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';

let cluster = new Cluster();
afterEach(() => cluster.close());

describe('reading', () => {
  it('query runs read-only statements off the writing thread, exactly typed, bounded, abortable', async () => {
    cluster = await pairOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
    const { store } = cluster.member('a');
    await cluster.write('a', ['INSERT INTO t VALUES (1, ?), (2, ?), (3, ?)', [5, 5.5, new Uint8Array([1])]]);
    expect(await store.query('SELECT * FROM t WHERE id <= ? ORDER BY id', [2])).toEqual({
      columns: ['id', 'a'],
      rows: [
        [1n, 5n],
        [2n, 5.5],
      ],
    });
    expect((await store.query('SELECT a FROM t WHERE id = $id', { id: 3n })).rows).toEqual([
      [new Uint8Array([1])],
    ]);
    for (const sql of [
      'DELETE FROM t',
      'INSERT INTO t (a) VALUES (1) RETURNING id',
      'PRAGMA user_version = 5',
      'BEGIN',
      'nonsense',
      `ATTACH 'x' AS y`,
    ])
      await expectCode(store.query(sql, []), 'BAD_SQL');
    await expectCode(
      store.query('SELECT * FROM t', [], { maxRows: 2 }),
      'BAD_SQL',
      /more than 2 rows.*maxRows/,
    );
    const controller = new AbortController();
    const endless = store.query(
      'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n',
      [],
      { maxRows: 1e9, signal: controller.signal },
    );
    const queued = store.query('SELECT 1', []);
    controller.abort();
    await expectCode(endless, 'ABORTED');
    expect((await queued).rows).toEqual([[1n]]);
    await expectCode(store.query('SELECT 1', [], { signal: AbortSignal.abort() }), 'ABORTED');
  });

  it('a query that never ends is ended by its signal, with its reason, and holds up no checksum', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    const late = new AbortController();
    const endless = store.query(ENDLESS, [], { signal: late.signal });
    const other = store.query(ENDLESS, [], { signal: late.signal });
    expect((await store.checksum()).tables).toHaveLength(1);
    const waiting = store.query('SELECT 2', []);
    late.abort(new AntiphonError('TIMEOUT', 'made up'));
    await expectCode(endless, 'TIMEOUT', /made up/);
    await expectCode(other, 'TIMEOUT');
    expect((await waiting).rows).toEqual([[2n]]);
    const closing = expectCode(store.query(ENDLESS, []), 'CLOSED');
    const startMs = performance.now();
    await store.close();
    await closing;
    expect(performance.now() - startMs).toBeLessThan(1500);
  });

  it('a result over its bytes is refused, whether of many values or of one', async () => {
    cluster = await pairOf();
    const { store } = cluster.member('a');
    const rows = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) SELECT i FROM n';
    expect((await store.query(rows, [], { maxBytes: 9000 })).rows).toHaveLength(1000);
    await expectCode(store.query(rows, [], { maxBytes: 8999 }), 'BAD_SQL', /more than 8999 bytes.*maxBytes/);
    await expectCode(store.query('SELECT zeroblob(40000000)', []), 'BAD_SQL', /bytes/);
  });

  it('checksums belong to a position, and digests name the rows that differ', async () => {
    cluster = await pairOf(
      `CREATE TABLE t (a TEXT COLLATE NOCASE, b INT, c, PRIMARY KEY (a, b)) WITHOUT ROWID; CREATE TABLE e (id INTEGER PRIMARY KEY);`,
    );
    cluster.shell(
      'a',
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO t SELECT 'k' || (i % 5), i, CASE i WHEN 77 THEN CAST(x'ff' AS TEXT) ELSE i END FROM n;`,
    );
    await cluster.synchronize();
    const [a, b] = [cluster.member('a').store, cluster.member('b').store];
    const report = await a.checksum();
    expect(report).toMatchObject({
      vector: { a: 1 },
      position: { generation: 'g1' },
      tables: [
        { table: 'e', rows: 0 },
        { table: 't', rows: 500, checksum: expect.stringMatching(/^[0-9a-f]{64}$/) },
      ],
    });
    expect((await b.checksum(['t'])).tables).toEqual([report.tables[1]]);
    await expectCode(b.checksum(['nope']), 'UNKNOWN_TABLE');
    cluster.shell(
      'b',
      `UPDATE _antiphon_state SET applying = 1; UPDATE t SET c = 'differs' WHERE b = 321; UPDATE _antiphon_state SET applying = 0;`,
    );
    const differing: unknown[] = [];
    let after: readonly unknown[] | undefined;
    for (;;) {
      const [here, there] = await Promise.all([
        a.rowDigests('t', after as never, 64),
        b.rowDigests('t', after as never, 64),
      ]);
      here.forEach(({ key, digest }, index) => digest === there[index]?.digest || differing.push(key));
      if (here.length < 64) break;
      after = here.at(-1)!.key;
    }
    expect(differing).toEqual([['k1', 321n]]);
    expect((await b.checksum(['t'])).tables[0]?.checksum).not.toBe(report.tables[1]?.checksum);
  });
});
