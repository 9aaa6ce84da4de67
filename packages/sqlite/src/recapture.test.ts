import { existsSync } from 'node:fs';
import type { RecaptureReport } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { sqlite } from './index.js';
import { Cluster } from '../test/cluster.js';
import { recaptureIn } from '../test/recapture.js';
import { expectCode, installOptions, newClock, pairOf } from '../test/pair.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

const T = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, n INT);';
const REBUILD = `CREATE TABLE new_t (id INTEGER PRIMARY KEY, a TEXT, n INT); INSERT INTO new_t SELECT * FROM t;
  DROP TABLE t; ALTER TABLE new_t RENAME TO t;`;
const UNSEEN = `INSERT INTO t VALUES (10, 'only here', 1); UPDATE t SET a = 'changed here' WHERE id = 1;
                DELETE FROM t WHERE id = 2;`;

const recapture = (name: string, table: string, dryRun = false): Promise<RecaptureReport> =>
  recaptureIn(cluster, name, table, dryRun);

async function filled(versions: boolean, ddl = T): Promise<void> {
  cluster = await pairOf(ddl, versions);
  await cluster.write('a', `INSERT INTO t (id, a, n) VALUES (1, 'x', 1), (2, 'y', 2), (3, 'z', 3)`);
  await cluster.synchronize();
}

async function expectEqual(table = 't'): Promise<void> {
  await cluster.synchronize();
  await cluster.synchronize();
  expect(cluster.rows('a', table)).toEqual(cluster.rows('b', table));
  expect(cluster.member('a').store.state().vector).toEqual(cluster.member('b').store.state().vector);
  expect(cluster.versions('a')).toBe(cluster.versions('b'));
}

it('names keys as they are: empty, with a NUL, and the beginning of long ones', async () => {
  cluster = await pairOf('CREATE TABLE t (id ANY PRIMARY KEY, n INT) STRICT, WITHOUT ROWID;', true);
  const ids = [
    ...[`x''`, `''`, `'a' || char(0) || 'b'`, `'plain'`, `x'0061'`],
    ...[
      `replace(hex(zeroblob(2500)), '00', 'ä')`,
      `'c' || char(0) || replace(hex(zeroblob(2500)), '00', 'x')`,
      `zeroblob(5000)`,
    ],
  ];
  await cluster.write('a', `INSERT INTO t VALUES ${ids.map((id) => `(${id}, 1)`).join(', ')}`);
  await cluster.synchronize();
  cluster.shell(
    'a',
    `CREATE TABLE u (id ANY PRIMARY KEY, n INT) STRICT, WITHOUT ROWID; DROP TABLE t;
     ALTER TABLE u RENAME TO t;`,
  );
  const { missingHere } = await recapture('a', 't', true);
  expect(missingHere.count).toBe(ids.length);
  const shown = missingHere.keys.map(([key]) => (key instanceof Uint8Array ? Buffer.from(key) : key));
  expect(shown).toEqual(
    expect.arrayContaining([
      ...['', 'a\0b', 'plain', 'ä'.repeat(200), `c\0${'x'.repeat(198)}`],
      ...[Buffer.alloc(0), Buffer.from([0, 0x61]), Buffer.alloc(200)],
    ]),
  );
});

describe.each([
  ['one writer', false],
  ['several writers', true],
])('a table that was rebuilt and written to unseen, %s', (_mode, versions) => {
  it('I3: others get what is different, and capture goes on', async () => {
    await filled(versions);
    cluster.shell('a', REBUILD + UNSEEN);
    const { store } = cluster.member('a');
    expect(store.recapturing!.uncaptured()).toMatchObject([{ table: 't', reason: /is missing/ }]);
    const report = await recapture('a', 't');
    expect(report).toEqual({
      table: 't',
      reason: expect.stringMatching(/trigger .* is missing/) as string,
      way: 'capture',
      changed: { count: 1, keys: [[1n]] },
      onlyHere: { count: 1, keys: [[10n]] },
      missingHere: { count: 1, keys: [[2n]] },
      knownRows: 3,
      remaining: [],
    });
    await store.check();
    await expectEqual();
    expect(cluster.shell('b', 'SELECT * FROM t')).toBe('1|changed here|1\n3|z|3\n10|only here|1');
    cluster.shell('a', `INSERT INTO t VALUES (11, 'captured again', 1); UPDATE t SET n = 7 WHERE id = 10;`);
    await expectEqual();
    expect(cluster.shell('b', 'SELECT count(*) FROM t WHERE id = 11 OR n = 7')).toBe('2');
    expect(existsSync(`${cluster.directory.file('a')}-recapture`)).toBe(false);
  });

  it('a dry run says the same and changes nothing', async () => {
    await filled(versions);
    cluster.shell('a', REBUILD + UNSEEN);
    const before = cluster.shell('a', '.dump');
    const dry = await recapture('a', 't', true);
    expect(cluster.shell('a', '.dump')).toBe(before);
    await expectCode(cluster.member('a').store.check(), 'SCHEMA_DRIFT', /antiphon recapture t --dry-run/);
    expect(await recapture('a', 't')).toEqual(dry);
  });

  it('what was captured before, and waits to be sealed, counts as known', async () => {
    await filled(versions);
    cluster.shell(
      'a',
      `INSERT INTO t VALUES (20, 'captured', 1), (21, 'captured', 1), (22, 'captured', 1);
       DELETE FROM t WHERE id = 3; UPDATE t SET n = 5 WHERE id = 1;
       ${REBUILD} UPDATE t SET a = 'unseen' WHERE id = 21;
       DELETE FROM t WHERE id = 22; INSERT INTO t VALUES (3, 'again', 1);`,
    );
    expect(await recapture('a', 't')).toMatchObject({
      changed: { count: 1, keys: [[21n]] },
      onlyHere: { count: 1, keys: [[3n]] },
      missingHere: { count: 1, keys: [[22n]] },
    });
    await expectEqual();
    expect(cluster.shell('b', 'SELECT * FROM t')).toBe('1|x|5\n2|y|2\n3|again|1\n20|captured|1\n21|unseen|1');
  });

  it('nothing is different after a rebuild that nobody wrote to, nor after the triggers were put back', async () => {
    await filled(versions);
    const triggers = cluster.shell('a', `SELECT sql || ';' FROM sqlite_schema WHERE type = 'trigger'`);
    cluster.shell('a', REBUILD + triggers);
    const { store } = cluster.member('a');
    await expectCode(store.check(), 'SCHEMA_DRIFT', /created again/);
    expect(await recapture('a', 't')).toMatchObject({
      ...{ changed: { count: 0 }, onlyHere: { count: 0 }, missingHere: { count: 0 } },
    });
    await store.check();
    expect(store.unsealed()).toBe(0);
    cluster.shell('a', 'VACUUM');
    await store.check();
    // Noticed again, the next time.
    cluster.shell('a', REBUILD + triggers);
    await expectCode(store.check(), 'SCHEMA_DRIFT', /created again/);
    await store.close();
    const again = sqlite({ file: cluster.directory.file('a') });
    await again.install(installOptions(cluster, 'a', { rowVersions: versions }), newClock());
    expect(again.recapturing!.uncaptured()).toHaveLength(1);
    await again.close();
  });
});

describe('values and keys', () => {
  it('every type and byte is compared, and travels as it is', async () => {
    await filled(true, 'CREATE TABLE t (id INTEGER PRIMARY KEY, a, n);');
    await cluster.write(
      'a',
      `UPDATE t SET a = CAST(x'ff' AS TEXT), n = 1 WHERE id = 1`,
      `UPDATE t SET a = x'00ff' WHERE id = 2`,
    );
    await cluster.synchronize();
    cluster.shell(
      'a',
      `DROP TRIGGER _antiphon_update1; UPDATE t SET n = 1.0 WHERE id = 1;
       UPDATE t SET a = CAST(x'fe' AS TEXT) WHERE id = 2; UPDATE t SET a = NULL WHERE id = 3;`,
    );
    expect(await recapture('a', 't')).toMatchObject({ changed: { count: 3 } });
    await expectEqual();
  });

  it('keys of several columns without a row number, whose collation ignores case, over many pages', async () => {
    const ddl = 'CREATE TABLE t (k TEXT COLLATE NOCASE, l INT, v, PRIMARY KEY (k, l)) WITHOUT ROWID;';
    cluster = await pairOf(ddl, true);
    const fill = `WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 9000)
      INSERT INTO t SELECT 'k' || (x % 97), x, x FROM i`;
    await cluster.write('a', fill);
    await cluster.synchronize();
    cluster.shell(
      'a',
      `CREATE TABLE u (k TEXT COLLATE NOCASE, l INT, v, PRIMARY KEY (k, l)) WITHOUT ROWID;
       INSERT INTO u SELECT * FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t;
       UPDATE t SET k = upper(k) WHERE l = 4001; DELETE FROM t WHERE l % 1000 = 0;
       UPDATE t SET v = -v WHERE l % 1000 = 1 AND l > 5000; INSERT INTO t VALUES ('new', 1, 1);`,
    );
    expect(await recapture('a', 't')).toMatchObject({
      changed: { count: 5 },
      onlyHere: { count: 1, keys: [['new', 1n]] },
      missingHere: { count: 9 },
    });
    await expectEqual();
  });

  it('as many columns as a table can have', async () => {
    const columns = Array.from({ length: 996 }, (_, index) => `c${index}`).join(', ');
    cluster = await pairOf(`CREATE TABLE t (id INTEGER PRIMARY KEY, ${columns});`, true);
    await cluster.write('a', 'INSERT INTO t (id, c0) VALUES (1, 1), (2, 2)');
    await cluster.synchronize();
    cluster.shell('a', `DROP TRIGGER _antiphon_update1; UPDATE t SET c995 = 'x' WHERE id = 2;`);
    expect(await recapture('a', 't')).toMatchObject({ changed: { count: 1, keys: [[2n]] } });
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT id, c0, c1, c995 FROM t')).toBe('1|1||\n2|2||x');
  });

  it('a unique key that two rows exchanged', async () => {
    for (const versions of [false, true]) {
      await cluster.close();
      await filled(versions, 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, n INT);');
      cluster.shell(
        'a',
        `CREATE TABLE u (id INTEGER PRIMARY KEY, a TEXT UNIQUE, n INT); INSERT INTO u SELECT * FROM t;
         DROP TABLE t; ALTER TABLE u RENAME TO t;
         UPDATE t SET a = '?' WHERE id = 1; UPDATE t SET a = 'x' WHERE id = 2; UPDATE t SET a = 'y' WHERE id = 1;`,
      );
      expect(await recapture('a', 't')).toMatchObject({ changed: { count: 2 } });
      await expectEqual();
    }
  });

  it('a row that is hidden is not taken for one that was deleted', async () => {
    await filled(true, 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, n INT);');
    await cluster.write('a', `INSERT INTO t VALUES (50, 'same', 1)`);
    await cluster.write('b', `INSERT INTO t VALUES (51, 'same', 1)`);
    await cluster.synchronize();
    await cluster.synchronize();
    cluster.shell('a', 'DROP TRIGGER _antiphon_insert1');
    expect(await recapture('a', 't')).toMatchObject({ onlyHere: { count: 0 }, missingHere: { count: 0 } });
    await expectEqual();
  });
});

describe('where other programs may not write', () => {
  it('a follower gets its rows back, and what it had is kept', async () => {
    cluster = new Cluster();
    await cluster.first('a', T);
    await cluster.join('b', { writes: 'refuse' });
    await cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2), (3, 'z', 3)`);
    await cluster.publish('a');
    await cluster.deliver('b');
    cluster.shell('b', REBUILD + UNSEEN);
    expect(await recapture('b', 't')).toMatchObject({
      ...{ way: 'set-back', keptIn: '_antiphon_kept1' },
      ...{ changed: { count: 1 }, onlyHere: { count: 1 }, missingHere: { count: 1 } },
    });
    await cluster.member('b').store.check();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    expect(cluster.shell('b', 'SELECT _antiphon_kind, id, a FROM _antiphon_kept1')).toBe(
      'missing here|2|y\nchanged|1|changed here\nonly here|10|only here',
    );
    expect(() => cluster.shell('b', 'DELETE FROM t')).toThrow(/this database is a replica/);
    await cluster.write('a', 'UPDATE t SET n = 9');
    await cluster.publish('a');
    await cluster.deliver('b');
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
  });
});

describe('what it cannot do', () => {
  it('another shape, another table, rows that cannot be replicated, a database that has moved', async () => {
    await filled(true, 'CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT, n INT);');
    const { store } = cluster.member('a');
    await expectCode(recapture('a', 'u'), 'UNKNOWN_TABLE', /It replicates t/);
    const rebuild = (columns: string): string =>
      `CREATE TABLE u (id TEXT PRIMARY KEY, a TEXT, n INT${columns});
       INSERT INTO u (id, a, n) SELECT id, a, n FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t;`;
    cluster.shell('a', rebuild(', extra TEXT'));
    await expectCode(recapture('a', 't'), 'SCHEMA_DRIFT', /its columns are/);
    cluster.shell(
      'a',
      `ALTER TABLE t DROP COLUMN extra; INSERT INTO t VALUES (NULL, 'x', 1), ('k', NULL, 1);`,
    );
    await expectCode(recapture('a', 't'), 'CONSTRAINT', /1 rows of t have NULL in their primary key/);
    cluster.shell(
      'a',
      `DELETE FROM t WHERE id IS NULL; INSERT INTO t VALUES ('large', zeroblob(70000000), 1);`,
    );
    await expectCode(recapture('a', 't'), 'MESSAGE_TOO_LARGE', /1 row of t is too large/);
    cluster.shell('a', `DELETE FROM t WHERE id = 'large'`);
    const { lastCounter } = store.state();
    await store.recapturing!.open();
    await expectCode(
      store.recapturing!.compare('t', { dryRun: true, vector: {}, lastCounter }),
      'STORE_BUSY',
      /changed while table t was compared/,
    );
    await store.recapturing!.end();
    expect(await recapture('a', 't')).toMatchObject({ onlyHere: { count: 1 } });
    await expectEqual();
  });

  it('of several tables, each waits for its own', async () => {
    await filled(true, `${T} CREATE TABLE o (id INTEGER PRIMARY KEY, v);`);
    cluster.shell(
      'a',
      `${REBUILD} CREATE TABLE p (id INTEGER PRIMARY KEY, v); DROP TABLE o; ALTER TABLE p RENAME TO o;
       INSERT INTO o VALUES (1, 1); ${UNSEEN}`,
    );
    const { store } = cluster.member('a');
    expect(await recapture('a', 't')).toMatchObject({ remaining: ['o'] });
    cluster.shell('a', `INSERT INTO t VALUES (30, 'captured', 1); INSERT INTO o VALUES (2, 2);`);
    await expectCode(store.check(), 'SCHEMA_DRIFT', /\(table o: /);
    expect(await recapture('a', 'o')).toMatchObject({ remaining: [], onlyHere: { count: 2 } });
    await store.check();
    await expectEqual();
    await expectEqual('o');
  });
});
