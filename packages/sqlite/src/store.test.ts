import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  AntiphonError,
  decodeBatches,
  HybridClock,
  systemClock,
  type ApplyStep,
  type TransactionBatch,
} from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, Directory, giveWay } from '../test/cluster.js';
import { sqlite } from './index.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

async function expectCode(promise: Promise<unknown>, code: string, message?: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AntiphonError);
  expect(error).toMatchObject({ code });
  if (message !== undefined) expect((error as Error).message).toMatch(message);
}

const install = (name: string, changes: object = {}) => ({
  identity: { cluster: 'test', replica: name, generation: 'g1', schemaVersion: 1 },
  schema: cluster.schema!,
  writes: 'capture' as const,
  rowVersions: false,
  createTables: false,
  sealExistingRows: false,
  ...changes,
});

const clock = () => new HybridClock(systemClock());
const T = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, n INT CHECK (n < 100));';

async function pair(ddl = T, versions = false): Promise<void> {
  cluster = new Cluster({ versions });
  await cluster.first('a', ddl);
  await cluster.join('b');
  await cluster.synchronize();
}

const batchOf = (entry: number): TransactionBatch =>
  decodeBatches(cluster.log[entry]!.data)[0] as TransactionBatch;
const pacing = { yield: giveWay, sliceMs: 10 };

describe('inspect and install', () => {
  it('describes tables, keys, row counts and statements, and says what cannot be replicated', async () => {
    const directory = new Directory();
    directory.shell(
      'x',
      `CREATE TABLE t (b TEXT, a INT, g AS (a + 1), PRIMARY KEY (a, b)); INSERT INTO t VALUES ('x', 1); CREATE INDEX ti ON t (b); CREATE VIEW v AS SELECT 1;
      CREATE TABLE none (a); CREATE VIRTUAL TABLE f USING fts5 (a); CREATE TABLE e (id INTEGER PRIMARY KEY, a); CREATE UNIQUE INDEX ei ON e (lower(a));
      CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END;`,
    );
    const store = sqlite({ file: directory.file('x') });
    const inspection = await store.inspect();
    expect(inspection.identity).toBeUndefined();
    const tables = new Map(inspection.tables.map((table) => [table.schema.name, table]));
    expect(tables.get('t')).toEqual({
      schema: {
        name: 't',
        columns: [
          { name: 'b', declaredType: 'TEXT' },
          { name: 'a', declaredType: 'INT' },
        ],
        key: [1, 0],
      },
      rowCount: 1,
    });
    expect(tables.get('none')?.unsupported).toMatch(/no primary key/);
    expect(tables.get('f')?.unsupported).toMatch(/virtual/);
    expect(tables.get('e')?.unsupported).toMatch(/expression/);
    expect(tables.has('v')).toBe(false);
    expect(inspection.ddl.statements).toEqual([
      expect.stringMatching(/^CREATE TABLE t/),
      expect.stringMatching(/^CREATE INDEX ti/),
      'CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END',
    ]);
    await store.close();
    directory.remove();
  });

  it('refuses tables without a primary key, and keys with NULL', async () => {
    cluster = new Cluster();
    await expectCode(
      cluster.first('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE none (a);').then(async () => {
        cluster.shell('b', 'CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE none (a);');
        const store = sqlite({ file: cluster.directory.file('b') });
        const { tables, ddl } = await store.inspect(['none']);
        await store
          .install(
            install('b', { schema: { version: 1, tables: tables.map(({ schema }) => schema), ddl } }),
            clock(),
          )
          .finally(() => store.close());
      }),
      'UNSUPPORTED_TABLE',
      /none.*no primary key/,
    );
    const nulls = new Cluster();
    await expectCode(
      nulls.first('a', `CREATE TABLE t (k TEXT PRIMARY KEY); INSERT INTO t VALUES (NULL), (NULL);`),
      'UNSUPPORTED_TABLE',
      /2 rows with NULL/,
    );
    await nulls.close();
    const later = new Cluster();
    await later.first('a', `CREATE TABLE t (k TEXT PRIMARY KEY);`);
    expect(() => later.shell('a', 'INSERT INTO t VALUES (NULL)')).toThrow(
      /needs a value in every column of its primary key/,
    );
    await later.close();
  });

  it('a replica that starts with an empty file gets the tables, indexes and triggers; a second install changes nothing', async () => {
    await pair(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE INDEX ti ON t (a); INSERT INTO t VALUES (1, 'x'); CREATE TRIGGER tr AFTER INSERT ON t WHEN NEW.a = 'y' BEGIN DELETE FROM t WHERE a = 'x'; END;`,
    );
    const { ddl, identity } = await cluster.member('b').store.inspect();
    expect(identity).toEqual({ cluster: 'test', replica: 'b', generation: 'g1', schemaVersion: 1 });
    expect(ddl.statements).toEqual(cluster.schema!.ddl.statements);
    const before = cluster.shell('b', 'SELECT type, name, sql FROM sqlite_schema');
    const { state } = { state: cluster.member('b').store.state() };
    await cluster.member('b').store.close();
    const again = await cluster.join('b', { createTables: true });
    expect(cluster.shell('b', 'SELECT type, name, sql FROM sqlite_schema')).toBe(before);
    expect(again.state()).toEqual(state);
    await cluster.member('a').store.close();
    const first = await cluster.join('a', { sealExistingRows: true });
    expect(first.state().lastCounter, 'existing rows are sealed once').toBe(1);
  });

  it('refuses a database with other content and explains what differs', async () => {
    cluster = new Cluster();
    await cluster.first('a', T);
    cluster.shell('rows', `${T} INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2);`);
    await expectCode(cluster.join('rows'), 'STORE_CONTENT', /rows of its own in t \(2 rows\)/);
    cluster.shell('columns', 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL);');
    await expectCode(
      cluster.join('columns'),
      'STORE_CONTENT',
      /its columns are \(id INTEGER, a TEXT\), not \(id INTEGER, a TEXT, n INT\)/,
    );
    expect(cluster.shell('columns', `SELECT name FROM sqlite_schema`), 'nothing was changed').toBe('t');
    await cluster.member('a').store.close();
    const other = sqlite({ file: cluster.directory.file('a') });
    await expectCode(
      other.install(install('z'), clock()),
      'STORE_CONTENT',
      /another replica: replica a, not z/,
    );
    await expectCode(
      other.install(
        install('a', { identity: { cluster: 'other', replica: 'a', generation: 'g2', schemaVersion: 1 } }),
        clock(),
      ),
      'STORE_CONTENT',
      /cluster test, not other; generation g1, not g2/,
    );
    await other.close();
  });

  it('refuses a file that is no database, a missing directory and :memory:', async () => {
    expect(() => sqlite({ file: ':memory:' })).toThrow(AntiphonError);
    await expectCode(sqlite({ file: '/proc/nowhere/x.db' }).inspect(), 'STORE_FAILED');
    cluster = new Cluster();
    execFileSync('sh', [
      '-c',
      `echo 'this is not a database, it is a text file that is long enough' > ${cluster.directory.file('text')}`,
    ]);
    await expectCode(
      sqlite({ file: cluster.directory.file('text') }).inspect(),
      'STORE_FAILED',
      /not a database/,
    );
  });
});

describe('a replica that refuses writes', () => {
  it('refuses every writer with a message that names the primary, and still applies', async () => {
    cluster = new Cluster({ writes: 'refuse' });
    await cluster.first(
      'first',
      `${T} CREATE TABLE other (id INTEGER PRIMARY KEY, t REFERENCES t ON DELETE CASCADE); INSERT INTO t VALUES (1, 'x', 1);`,
    );
    await cluster.join('b');
    await cluster.synchronize();
    for (const sql of [
      `INSERT INTO t VALUES (2, 'y', 2)`,
      `INSERT OR IGNORE INTO t VALUES (2, 'y', 2)`,
      `INSERT OR REPLACE INTO t VALUES (1, 'y', 2)`,
      `UPDATE OR IGNORE t SET n = 5`,
      'DELETE FROM t',
    ]) {
      expect(() => cluster.shell('b', sql)).toThrow(/this database is a replica; write to the primary first/);
    }
    expect(await cluster.write('b', 'DELETE FROM t')).toMatchObject({
      type: 'rejected',
      error: { code: 'NOT_WRITABLE', message: expect.stringContaining('primary first') },
    });
    await cluster.write(
      'first',
      `UPDATE t SET n = 2`,
      `INSERT INTO t VALUES (5, 'z', 1)`,
      `INSERT INTO other VALUES (1, 5)`,
    );
    await cluster.write('first', `DELETE FROM t WHERE id = 5`);
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT * FROM t; SELECT count(*) FROM other')).toBe('1|x|2\n0');
    // Switching at a later install, both ways.
    await cluster.member('b').store.close();
    await cluster.join('b', { writes: 'capture' });
    expect(await cluster.write('b', `UPDATE t SET n = 3`)).toMatchObject({
      type: 'committed',
      id: { origin: 'b', counter: 1 },
    });
    await cluster.member('b').store.close();
    await cluster.join('b', { writes: 'refuse' });
    expect(() => cluster.shell('b', 'DELETE FROM t')).toThrow(/replica/);
  });
});

describe('writing', () => {
  it('gives tx run, get and all, with the values programs expect', async () => {
    await pair('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
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

  it('refuses what would leave the transaction, touch the metadata, or wait', async () => {
    await pair();
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
    await refused((tx) => tx.run('INSERT INTO t VALUES (?, ?, ?)', [1]), 'BAD_SQL', /Too few/);
    await refused((tx) => tx.get(`INSERT INTO t VALUES (1, 'x', 1)`), 'BAD_SQL', /use run/);
    await refused((tx) => tx.run(`INSERT INTO t VALUES (1, 'x', 100)`), 'CONSTRAINT', /CHECK.*INSERT INTO t/);
    await refused(async (tx) => tx.run(`INSERT INTO t VALUES (1, 'x', 1)`), 'BAD_SQL', /async/);
    let leaked: unknown;
    await store.write([{ run: (tx) => (leaked = tx) }]);
    expect(() => (leaked as { run(sql: string): void }).run('DELETE FROM t')).toThrow(/is over/);
    expect(cluster.shell('a', 'SELECT count(*) FROM t')).toBe('0');
    expect(store.state().lastCounter).toBe(0);
  });

  it('a statement that rolls the whole transaction back rejects its own write only', async () => {
    await pair();
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

  it('foreign commits are sealed before the group, as one transaction of their own', async () => {
    await pair();
    cluster.shell('a', `INSERT INTO t VALUES (1, 'x', 1); INSERT INTO t VALUES (2, 'y', 1);`);
    const outcome = await cluster.write('a', `UPDATE t SET n = n + 1`);
    expect(outcome).toMatchObject({ id: { counter: 2 } });
    await cluster.publish('a');
    const [first, second] = batchOf(0).transactions;
    expect(first?.changes.map(({ op }) => op)).toEqual(['insert', 'insert']);
    expect(
      second?.changes.map((change) => (change.op === 'update' ? [change.changed, change.before] : [])),
    ).toEqual([
      [[2], [1n]],
      [[2], [1n]],
    ]);
  });

  it('packs consecutive transactions, up to 1000 rows or about 180 KB a message', async () => {
    await pair('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
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
    await pair();
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

describe('the outbox of sealed messages', () => {
  it('I3: sealed messages stay until they are pruned, which only published ones may be', async () => {
    await pair();
    const { store } = cluster.member('a');
    for (let id = 1; id <= 5; id++)
      await cluster.write('a', ['INSERT INTO t VALUES (?, ?, ?)', [id, 'x', 1]]);
    expect(store.state()).toMatchObject({ lastCounter: 5, publishedCounter: 0, outboxMessages: 5 });
    await expectCode(store.prune(3), 'INTERNAL', /only those up to 0/);
    store.markPublished(3, { generation: 'g1', seq: 3 });
    expect(store.state()).toMatchObject({ publishedCounter: 3, position: { seq: 3 } });
    await store.prune(3);
    expect(store.state()).toMatchObject({ outboxMessages: 2 });
    expect(
      (await store.sealed({ counter: 0, part: 0 }, 1e9)).map(({ firstCounter }) => firstCounter),
    ).toEqual([4, 5]);
    store.markPublished(4);
    const before = store.state();
    await store.close();
    const again = await cluster.join('a');
    expect(again.state()).toEqual(before);
  });

  it('resumes behind its own past: counters are not used twice, and what is missing comes in by apply', async () => {
    await pair(`CREATE TABLE t (id INTEGER PRIMARY KEY, a);`);
    await cluster.write('a', `INSERT INTO t VALUES (1, 'old')`);
    await cluster.synchronize();
    await cluster.member('a').store.close();
    execFileSync('cp', [cluster.directory.file('a'), cluster.directory.file('backup')]);
    await cluster.join('a');
    cluster.member('a').published = { counter: 1, part: 0 };
    await cluster.write('a', `UPDATE t SET a = 'lost'`);
    await cluster.write('a', `INSERT INTO t VALUES (2, 'lost')`);
    await cluster.synchronize();
    await cluster.member('a').store.close();
    execFileSync('cp', [cluster.directory.file('backup'), cluster.directory.file('a')]);
    // A program writes to the restored file before the replica is back.
    cluster.shell('a', `UPDATE t SET a = 'new' WHERE id = 1`);
    const store = await cluster.join('a');
    await store.resumeFrom(3, batchOf(2).time);
    expect(store.state()).toMatchObject({ lastCounter: 3, vector: { a: 1 } });
    await store.seal();
    expect(store.state()).toMatchObject({ lastCounter: 4, vector: { a: 1 } });
    cluster.member('a').published = { counter: 3, part: 0 };
    await cluster.deliver('a');
    expect(store.state()).toMatchObject({ lastCounter: 4, vector: { a: 4 } });
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT * FROM t')).toBe('1|new\n2|lost');
    expect(cluster.shell('a', 'SELECT * FROM t')).toBe('1|new\n2|lost');
  });
});

describe('applying', () => {
  it('I1, I2: rows, vector and position move together; a skip leaves out what is applied', async () => {
    await pair();
    const { store } = cluster.member('a');
    await store.write(
      [1, 2, 3].map((id) => ({ run: (tx) => tx.run('INSERT INTO t VALUES (?, ?, ?)', [id, 'x', 1]) })),
    );
    await cluster.publish('a');
    const b = cluster.member('b').store;
    const batch = batchOf(0);
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
        `SELECT counter FROM _antiphon_vector; SELECT position_seq FROM _antiphon_state; SELECT count(*) FROM t`,
      ),
    ).toBe('3\n2\n3');
    await b.apply({ steps: [], position: { generation: 'g1', seq: 7 }, ...pacing });
    expect(b.state().position.seq).toBe(7);
  });

  it('I15: a transaction that the database refuses leaves everything before it and nothing of it', async () => {
    await pair();
    for (let id = 1; id <= 4; id++)
      await cluster.write('a', ['INSERT INTO t VALUES (?, ?, ?)', [id, 'x', 1]]);
    await cluster.publish('a');
    const b = cluster.member('b').store;
    const steps: ApplyStep[] = [0, 1, 2, 3].map((index) => ({
      type: 'transactions',
      batch: batchOf(index),
      skip: 0,
      seq: index + 11,
    }));
    const poisoned = batchOf(2);
    const changes = [
      ...poisoned.transactions[0]!.changes,
      { op: 'insert' as const, table: 0, row: [50n, 'x', 1000n] },
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
      refused: { step: 2, error: { code: 'APPLY_REFUSED', message: expect.stringMatching(/CHECK/) } },
    });
    expect(b.state()).toMatchObject({ position: { seq: 12 }, vector: { a: 2 } });
    expect(cluster.shell('b', 'SELECT id FROM t')).toBe('1\n2');
    await b.apply({
      steps: [
        {
          type: 'quarantine',
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
    await pair();
    await cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`);
    await cluster.publish('a');
    const b = cluster.member('b').store;
    const good = batchOf(0);
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
      message: expect.stringMatching(/without its column n/),
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
    await pair(T, true);
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

  it('gives way during a long apply, and reads go on meanwhile', async () => {
    await pair('CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT);');
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

describe('changes of the schema by others', () => {
  it('a trigger that a user adds later is guarded, and what it did before that is captured in the end', async () => {
    await pair('CREATE TABLE t (id INTEGER PRIMARY KEY, a, n INT DEFAULT 0);');
    cluster.shell(
      'a',
      `CREATE TRIGGER late AFTER INSERT ON t BEGIN UPDATE t SET n = n + 1 WHERE id = NEW.id; DELETE FROM t WHERE a = 'gone' AND id = NEW.id; END;
      INSERT INTO t (id, a) VALUES (1, 'x'), (2, 'gone');`,
    );
    await cluster.synchronize();
    expect(cluster.shell('a', 'SELECT * FROM t')).toBe('1|x|1');
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    await cluster.write('b', `INSERT INTO t (id, a) VALUES (3, 'from b')`);
    await cluster.synchronize();
    expect(cluster.shell('a', 'SELECT n FROM t WHERE id = 3'), 'it did not fire during apply').toBe('0');
    cluster.shell('a', `INSERT INTO t (id, a) VALUES (4, 'y')`);
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    expect((await cluster.member('a').store.inspect()).ddl.statements.at(-1)).toMatch(
      /^CREATE TRIGGER late AFTER INSERT ON t BEGIN UPDATE/,
    );
  });

  it('a trigger of ours that somebody dropped comes back', async () => {
    await pair();
    cluster.shell('a', `DROP TRIGGER _antiphon_insert1`);
    await cluster.member('a').store.apply({ steps: [], position: { generation: 'g1', seq: 0 }, ...pacing });
    cluster.shell('a', `INSERT INTO t VALUES (1, 'x', 1)`);
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT count(*) FROM t')).toBe('1');
  });

  it('SCHEMA_DRIFT when a replicated table is not what it was; nothing is applied or lost', async () => {
    await pair();
    await cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`);
    await cluster.publish('a');
    cluster.shell('b', `INSERT INTO t VALUES (2, 'y', 1); ALTER TABLE t ADD COLUMN z;`);
    await expectCode(cluster.deliver('b'), 'SCHEMA_DRIFT', /t: its columns are/);
    await expectCode(cluster.member('b').store.seal(), 'SCHEMA_DRIFT');
    expect(cluster.shell('b', 'SELECT id FROM t')).toBe('2');
    cluster.shell('b', `ALTER TABLE t DROP COLUMN z;`);
    await cluster.synchronize();
    expect(cluster.rows('a', 't')).toEqual(cluster.rows('b', 't'));
    cluster.shell('b', 'DROP TABLE t');
    await expectCode(cluster.write('b', 'SELECT 1'), 'SCHEMA_DRIFT', /gone/);
  });

  it('triggers are guarded however they are written', async () => {
    await pair();
    expect((await cluster.member('a').store.inspect()).tables).toHaveLength(1);
    cluster.shell(
      'a',
      `CREATE TRIGGER "when" AFTER UPDATE OF "a" ON "t" WHEN ((NEW.a) = 'BEGIN') /* BEGIN DELETE */ BEGIN SELECT 1; END; CREATE TRIGGER [be gin]AFTER DELETE ON t FOR EACH ROW WHEN OLD.n=1 -- why
      BEGIN DELETE FROM t WHERE 0;END;`,
    );
    await cluster.member('a').store.apply({ steps: [], position: { generation: 'g1', seq: 0 }, ...pacing });
    expect(
      cluster.shell(
        'a',
        `SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND sql LIKE '%_antiphon_guard%' AND name NOT LIKE '\\_antiphon%' ESCAPE '\\'`,
      ),
    ).toBe('2');
  });
});

describe('reading', () => {
  it('query runs read-only statements off the writing thread, exactly typed, bounded, abortable', async () => {
    await pair('CREATE TABLE t (id INTEGER PRIMARY KEY, a);');
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

  it('a query that cannot be interrupted costs its thread, not the reads after it', async () => {
    await pair();
    const { store } = cluster.member('a');
    const controller = new AbortController();
    const long = store.query(
      'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT sum(i) FROM n',
      [],
      { signal: controller.signal },
    );
    controller.abort();
    await expectCode(long, 'ABORTED');
    expect((await store.query('SELECT 1', [])).rows).toEqual([[1n]]);
  });

  it('checksums belong to a position, and digests name the rows that differ', async () => {
    await pair(
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
      `INSERT INTO _antiphon_guard VALUES (1); UPDATE t SET c = 'differs' WHERE b = 321; DELETE FROM _antiphon_guard;`,
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

describe('closing', () => {
  it('is idempotent, also before install and during a read', async () => {
    const directory = new Directory();
    const unused = sqlite({ file: directory.file('x') });
    await unused.close();
    await unused.close();
    await expectCode(unused.inspect(), 'CLOSED');
    directory.remove();
    await pair();
    const { store } = cluster.member('a');
    const reading = store.query(
      'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n',
      [],
      { maxRows: 1e9 },
    );
    const failed = expectCode(reading, 'CLOSED');
    await store.close();
    await failed;
    await store.close();
    expect(() => store.hasUnsealed()).toThrow(AntiphonError);
    await expectCode(store.write([]), 'CLOSED');
    expect(cluster.shell('a', 'PRAGMA integrity_check')).toBe('ok');
  });

  it('a second process on the same file as the same replica is noticed', async () => {
    await pair();
    const second = sqlite({ file: cluster.directory.file('a') });
    await second.install(install('a'), clock());
    await expectCode(cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`), 'DUPLICATE_REPLICA');
    await second.close();
    expect(cluster.shell('a', 'SELECT count(*) FROM t')).toBe('0');
  });
});
