import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, type TestStore } from '../test/cluster.js';
import { expectCode, installOptions, newClock, pairOf } from '../test/pair.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

const DDL = `CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE); CREATE TABLE log (id INTEGER PRIMARY KEY, a);
  CREATE TABLE heap (x);
  CREATE TRIGGER logging AFTER INSERT ON t BEGIN INSERT INTO log (a) VALUES (NEW.a); END;
  CREATE TRIGGER heaping AFTER INSERT ON heap WHEN NEW.x = 'through' BEGIN UPDATE t SET a = NEW.x; END;`;
const REFUSED = /synchronous cluster.*antiphon exec.*update\.foreignWrites: async/;

async function policy(
  store: TestStore,
  writes: 'library' | 'capture' | 'refuse',
  durable = false,
): Promise<void> {
  await store.install(installOptions(cluster, 'a', { writes, durable, primary: 'b' }), newClock());
}

async function insert(store: TestStore, id: number): Promise<void> {
  const group = await store.prepare(
    [{ run: (tx) => tx.run('INSERT INTO t VALUES (?, ?)', [id, `v${id}`]) }],
    {
      token: 't',
      maxBytes: 1e6,
      certified: true,
    },
  );
  expect(group?.writes).toMatchObject([{ type: 'ran' }]);
  await group?.commit({ generation: 'g1', seq: store.state().position.seq + 1 });
}

describe('the policy `library`', () => {
  it('refuses other programs inside the database, and lets the library write with its triggers', async () => {
    cluster = await pairOf(DDL);
    const { store } = cluster.member('a');
    await policy(store, 'library');
    await insert(store, 1);
    await cluster.write('a', `INSERT INTO t VALUES (2, 'v2')`);
    expect(cluster.shell('a', 'SELECT * FROM log')).toBe('1|v1\n2|v2');
    for (const sql of [
      `INSERT INTO t VALUES (3, 'x')`,
      `INSERT OR IGNORE INTO t VALUES (3, 'x')`,
      `REPLACE INTO t VALUES (3, 'v1')`,
      `UPDATE t SET a = 'x' WHERE id = 1`,
      `UPDATE OR IGNORE t SET id = 9 WHERE id = 1`,
      'DELETE FROM t',
      `INSERT INTO heap VALUES ('through')`,
    ])
      expect(() => cluster.shell('a', sql)).toThrow(REFUSED);
    cluster.shell('a', `INSERT INTO heap VALUES ('beside'); INSERT OR IGNORE INTO t VALUES (7, 'v1')`);
    await store.seal();
    expect(cluster.shell('a', 'SELECT * FROM t; SELECT count(*) FROM _antiphon_outbox')).toBe(
      '1|v1\n2|v2\n0',
    );
    await insert(store, 3);
    await store.close();
    expect(() => cluster.shell('a', 'DELETE FROM t')).toThrow(REFUSED);
  });

  it('applies what other replicas wrote, also over rows of its own', async () => {
    cluster = await pairOf(DDL);
    await policy(cluster.member('a').store, 'library');
    await cluster.write('b', `INSERT INTO t VALUES (1, 'b')`);
    await cluster.synchronize();
    expect(cluster.shell('a', 'SELECT * FROM t; SELECT count(*) FROM log')).toBe('1|b\n1');
    await cluster.write('a', `UPDATE t SET a = 'a'`);
    expect(() => cluster.shell('a', 'DELETE FROM t')).toThrow(REFUSED);
  });

  it('nothing that failed or changed nothing leaves the door open', async () => {
    cluster = await pairOf(DDL);
    const { store } = cluster.member('a');
    await policy(store, 'library');
    const options = { token: 't', maxBytes: 1e6, certified: false };
    for (const sql of [
      'SELECT 1',
      'SELEKT',
      `INSERT INTO heap VALUES (1)`,
      `INSERT INTO t VALUES (1, 'x')`,
    ]) {
      const requests = [{ run: (tx: { run(sql: string): unknown }) => tx.run(sql) }];
      await (await store.prepare(requests, options))?.rollback();
      const group = await store.prepare([...requests, ...requests], options);
      await group?.commit({ generation: 'g1', seq: store.state().position.seq + 1 });
      await store.write(requests);
      await store.write([]);
      await (
        await store.prepare([], options)
      )?.commit({ generation: 'g1', seq: store.state().position.seq + 1 });
      expect(() => cluster.shell('a', 'INSERT INTO log VALUES (99, 1)')).toThrow(REFUSED);
      expect(cluster.shell('a', 'SELECT count(*) FROM _antiphon_outbox')).toBe('0');
      expect(store.hasUnsealed()).toBe(false);
    }
  });

  it('gives way to the other policies and comes back, at an install and after opening again', async () => {
    cluster = await pairOf(DDL);
    let { store } = cluster.member('a');
    await policy(store, 'library');
    await policy(store, 'capture');
    cluster.shell('a', `INSERT INTO t VALUES (1, 'shell')`);
    expect(await store.seal()).toBe(1);
    await policy(store, 'refuse');
    expect(() => cluster.shell('a', 'DELETE FROM t')).toThrow(/write to the primary b/);
    const refused = await store.prepare([{ run: (tx) => tx.run('DELETE FROM t') }], {
      token: 't',
      maxBytes: 1e6,
      certified: false,
    });
    expect(refused).toMatchObject({ writes: [{ type: 'rejected', error: { code: 'NOT_WRITABLE' } }] });
    await refused?.rollback();
    await store.close();
    store = await cluster.join('a', { writes: 'library' });
    expect(() => cluster.shell('a', 'DELETE FROM t')).toThrow(REFUSED);
    await insert(store, 2);
  });

  it('I3: says so when somebody dropped its triggers, since what was written then is not known', async () => {
    cluster = await pairOf(DDL);
    const { store } = cluster.member('a');
    await policy(store, 'library');
    const names = cluster.shell(
      'a',
      `SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB '_antiphon_*'`,
    );
    for (const name of names.split('\n')) cluster.shell('a', `DROP TRIGGER ${name}`);
    await expectCode(insert(store, 1), 'SCHEMA_DRIFT', /is missing/);
    expect(store.state()).toMatchObject({ lastCounter: 0 });
  });
});

describe('the policy `capture` with a lease for other programs', () => {
  const UNATTENDED = /has not run, or not reached NATS, for a while/;

  it('refuses them when it has run out, and never the library', async () => {
    cluster = await pairOf(DDL);
    const { store } = cluster.member('a');
    await store.install(installOptions(cluster, 'a', { writes: 'capture', foreignLeaseMs: 300 }), newClock());
    cluster.shell('a', `INSERT INTO t VALUES (1, 'shell')`);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(() => cluster.shell('a', `INSERT INTO t VALUES (2, 's2')`)).toThrow(UNATTENDED);
    const write = (id: number): Promise<readonly unknown[]> =>
      store.write([{ run: (tx) => tx.run('INSERT INTO t VALUES (?, ?)', [id, `v${id}`]) }]);
    expect(await write(3)).toMatchObject([{ type: 'committed' }]);
    await insert(store, 4);
    expect(await store.write([{ run: (tx) => tx.run('SELECT 1') }])).toMatchObject([{ type: 'committed' }]);
    // The door is closed behind it.
    for (const sql of [`INSERT INTO t VALUES (5, 'x')`, `UPDATE t SET a = 'x'`, 'DELETE FROM t'])
      expect(() => cluster.shell('a', sql)).toThrow(UNATTENDED);
    expect(cluster.shell('a', 'SELECT id FROM t; SELECT count(*) FROM _antiphon_outbox')).toBe('1\n3\n4\n0');
    store.renewForeignLease();
    cluster.shell('a', `INSERT INTO t VALUES (6, 's6')`);
    expect(await store.seal()).toBe(1);
  });
});
