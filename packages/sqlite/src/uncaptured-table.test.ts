import { rmSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { sqlite } from './index.js';
import { Cluster } from '../test/cluster.js';
import { expectCode, installOptions, newClock, pairOf } from '../test/pair.js';
import { recaptureIn } from '../test/recapture.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

const REBUILD = `CREATE TABLE new_t (id INTEGER PRIMARY KEY, a TEXT, n INT); INSERT INTO new_t SELECT * FROM t;
  DROP TABLE t; ALTER TABLE new_t RENAME TO t;`;
const REBUILT = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, n INT);';

describe('changes that nobody may have captured', () => {
  it.each([
    [
      'a table rebuilt by hand',
      REBUILD,
      /table t: its trigger _antiphon_\w+ is missing.*antiphon recapture t --dry-run/,
    ],
    ['a trigger dropped', 'DROP TRIGGER _antiphon_insert1;', /trigger _antiphon_insert1 is missing/],
    [
      'a trigger put in the place of ours',
      'DROP TRIGGER _antiphon_insert1; CREATE TRIGGER _antiphon_insert1 AFTER INSERT ON t BEGIN SELECT 1; END;',
      /_antiphon_insert1 is not the one/,
    ],
  ])('I3: %s is noticed without any write, and not mended in silence', async (_what, sql, message) => {
    cluster = await pairOf(REBUILT);
    const { store } = cluster.member('a');
    await store.check();
    expect(store.hasUnsealed()).toBe(false);
    cluster.shell('a', sql);
    expect(store.hasUnsealed(), 'the poll sees the new schema version').toBe(true);
    await expectCode(store.check(), 'SCHEMA_DRIFT', message);
    await expectCode(store.seal(), 'SCHEMA_DRIFT', message);
    await expectCode(cluster.write('a', 'SELECT 1'), 'SCHEMA_DRIFT', message);
  });

  it('I3: also one that happened while no replica ran, after as many starts as it takes', async () => {
    cluster = await pairOf(REBUILT);
    await cluster.member('a').store.close();
    cluster.shell('a', REBUILD);
    for (let start = 0; start < 2; start++) {
      const store = sqlite({ file: cluster.directory.file('a') });
      await store.install(installOptions(cluster, 'a'), newClock());
      await expectCode(store.check(), 'SCHEMA_DRIFT', /is missing/);
      await store.close();
    }
  });

  it('I3: also when the triggers were put back, as the documentation of SQLite advises', async () => {
    cluster = await pairOf(REBUILT);
    const triggers = cluster.shell('a', `SELECT sql || ';' FROM sqlite_schema WHERE type = 'trigger'`);
    cluster.shell('a', REBUILD + triggers);
    await expectCode(cluster.member('a').store.check(), 'SCHEMA_DRIFT', /dropped and created again/);
  });

  it.each(['', 'VACUUM;'])(
    'I3: also when only the triggers were dropped and put back, around a bulk load; %s',
    async (meanwhile) => {
      cluster = await pairOf(REBUILT);
      const all = (of: string): string =>
        cluster.shell('a', `SELECT ${of} || ';' FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid`);
      const { store } = cluster.member('a');
      if (meanwhile !== '') cluster.shell('a', meanwhile);
      await store.check();
      const [drop, create] = [all(`'DROP TRIGGER ' || name`), all('sql')];
      cluster.shell('a', `BEGIN; ${drop} INSERT INTO t VALUES (1, 'unseen', 1); ${create} COMMIT;`);
      await expectCode(store.check(), 'SCHEMA_DRIFT', /trigger _antiphon_\w+ was dropped and created again/);
      if (meanwhile !== '') cluster.shell('a', meanwhile);
      await expectCode(store.check(), 'SCHEMA_DRIFT', /trigger _antiphon_\w+ was dropped and created again/);
    },
  );

  it.each(['', 'VACUUM;'])(
    'I3: also when views were dropped with the triggers, and all of them put back in their order; %s',
    async (before) => {
      cluster = await pairOf(`${REBUILT} CREATE VIEW v AS SELECT a FROM t;`);
      const all = (of: string): string =>
        cluster.shell(
          'a',
          `SELECT ${of} || ';' FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY rowid`,
        );
      const { store } = cluster.member('a');
      cluster.shell('a', `${before} INSERT INTO t VALUES (7, 'seen', 1)`);
      await cluster.synchronize();
      await store.check();
      const [drop, create] = [all(`'DROP ' || type || ' ' || name`), all('sql')];
      cluster.shell('a', `BEGIN; ${drop} INSERT INTO t VALUES (1, 'unseen', 1); ${create} COMMIT;`);
      await expectCode(store.check(), 'SCHEMA_DRIFT', /trigger _antiphon_\w+ was dropped and created again/);
    },
  );

  it('I3: also when that was done while no replica ran, and VACUUM after it', async () => {
    cluster = await pairOf(`${REBUILT} CREATE VIEW v AS SELECT a FROM t;`);
    const all = (of: string): string =>
      cluster.shell(
        'a',
        `SELECT ${of} || ';' FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY rowid`,
      );
    await cluster.member('a').store.close();
    cluster.shell(
      'a',
      'CREATE INDEX t_a ON t (a); VACUUM; CREATE TABLE other (x); DROP TABLE other; VACUUM;',
    );
    const store = await cluster.join('a', { createTables: false });
    await store.check();
    await store.close();
    const [drop, create] = [all(`'DROP ' || type || ' ' || name`), all('sql')];
    cluster.shell('a', `BEGIN; ${drop} INSERT INTO t VALUES (1, 'unseen', 1); ${create} COMMIT; VACUUM;`);
    for (let start = 0; start < 2; start++) {
      const again = await cluster.join('a', { createTables: false });
      await expectCode(again.check(), 'SCHEMA_DRIFT', /trigger _antiphon_\w+ was dropped and created again/);
      await again.close();
    }
  });

  it('I3: also when that was done with the triggers of one table only', async () => {
    cluster = await pairOf(`${REBUILT} CREATE TABLE other (id INTEGER PRIMARY KEY, x UNIQUE);`);
    const { store } = cluster.member('a');
    await store.check();
    const all = (of: string): string =>
      cluster.shell(
        'a',
        `SELECT ${of} || ';' FROM sqlite_schema
         WHERE type = 'trigger' AND tbl_name = 'other' OR name = '_antiphon_capturing' ORDER BY rowid`,
      );
    const [drop, create] = [all(`'DROP ' || type || ' ' || name`), all('sql')];
    cluster.shell('a', `BEGIN; ${drop} INSERT INTO other VALUES (1, 1); ${create} COMMIT; VACUUM;`);
    await expectCode(
      store.check(),
      'SCHEMA_DRIFT',
      /table other: its trigger \w+ was dropped and created again/,
    );
  });

  it('but not because the build that made the file marked nothing', async () => {
    cluster = await pairOf(REBUILT);
    await cluster.member('a').store.close();
    cluster.shell('a', 'DROP VIEW _antiphon_capturing; DROP TABLE _antiphon_mark;');
    const store = await cluster.join('a', { createTables: false });
    await store.check();
    await store.close();
    cluster.shell('a', 'DROP VIEW _antiphon_capturing;');
    const again = await cluster.join('a', { createTables: false });
    await expectCode(again.check(), 'SCHEMA_DRIFT', /was dropped and created again/);
  });

  it('I3: also after somebody has put the dropped trigger back, once it was noticed', async () => {
    cluster = await pairOf(REBUILT);
    const trigger = cluster.shell('a', `SELECT sql FROM sqlite_schema WHERE name = '_antiphon_insert1'`);
    cluster.shell('a', `DROP TRIGGER _antiphon_insert1; INSERT INTO t VALUES (1, 'unseen', 1);`);
    const { store } = cluster.member('a');
    await expectCode(store.check(), 'SCHEMA_DRIFT', /_antiphon_insert1 (is missing|was dropped)/);
    cluster.shell('a', `${trigger};`);
    await expectCode(store.check(), 'SCHEMA_DRIFT', /_antiphon_insert1 (is missing|was dropped)/);
    await store.close();
    const again = sqlite({ file: cluster.directory.file('a') });
    await again.install(installOptions(cluster, 'a'), newClock());
    await expectCode(again.check(), 'SCHEMA_DRIFT', /_antiphon_insert1 (is missing|was dropped)/);
    await again.close();
  });

  it('VACUUM, a new index, another table, a trigger of a user and ANALYZE are none', async () => {
    cluster = await pairOf(REBUILT);
    const { store } = cluster.member('a');
    cluster.shell(
      'a',
      "CREATE TABLE other (x); CREATE INDEX t_a ON t (a); INSERT INTO t VALUES (1, 'x', 1);",
    );
    cluster.shell('a', 'CREATE TRIGGER u AFTER INSERT ON t BEGIN SELECT 1; END; ANALYZE; VACUUM;');
    await store.check();
    await cluster.synchronize();
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
    await store.check();
    expect(store.hasUnsealed()).toBe(false);
  });
});

const ALL_VIEWS = `SELECT 'DROP VIEW "' || name || '";' FROM sqlite_schema WHERE type = 'view'`;

describe('the guard that triggers ask, when others drop it', () => {
  const view = (name: string): string =>
    cluster.shell(name, `SELECT type, sql FROM sqlite_schema WHERE lower(name) = '_antiphon_guard'`);

  async function expectReplicating(): Promise<void> {
    cluster.shell('b', `INSERT INTO t VALUES (50, 'by a program', 1);`);
    await cluster.write('a', `INSERT INTO t VALUES (60, 'elsewhere', 1)`);
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT group_concat(id) FROM t')).toBe('50,60');
    expect(cluster.rows('b', 't')).toEqual(cluster.rows('a', 't'));
  }

  it.each([
    ['nothing', ''],
    ['a table', 'CREATE TABLE _Antiphon_Guard (applying INTEGER);'],
    ['an index', 'CREATE INDEX _antiphon_guard ON t (a);'],
    ['a view of another text', 'CREATE VIEW _antiphon_guard AS SELECT 1 WHERE 0;'],
    ['a view that cannot be used', 'CREATE VIEW _antiphon_guard AS SELECT * FROM nowhere;'],
  ])('is there again by itself when the file is looked at, in the place of %s', async (_what, put) => {
    cluster = await pairOf(REBUILT);
    const { store } = cluster.member('b');
    await store.check();
    const before = view('b');
    cluster.shell('b', `DROP VIEW _antiphon_guard; ${put}`);
    await store.check();
    expect(view('b')).toBe(before);
    expect(store.hasUnsealed()).toBe(false);
    await expectReplicating();
  });

  it('is there again when something is written, sealed or applied', async () => {
    for (const way of ['write', 'publish', 'deliver'] as const) {
      cluster = await pairOf(REBUILT);
      cluster.shell('b', 'DROP VIEW _antiphon_guard;');
      if (way === 'write') await cluster.write('b', `INSERT INTO t VALUES (1, 'x', 1)`, 'DELETE FROM t');
      else {
        await cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`, 'DELETE FROM t');
        await cluster.publish('a');
        await cluster[way]('b');
      }
      await expectReplicating();
      await cluster.close();
    }
  });

  it('is there again after a start', async () => {
    cluster = await pairOf(REBUILT);
    await cluster.member('b').store.close();
    cluster.shell('b', 'DROP VIEW _antiphon_guard;');
    await cluster.join('b', { createTables: false });
    await expectReplicating();
  });

  it('lets programs write while the replica is stalled for a view that was dropped with it', async () => {
    cluster = await pairOf(REBUILT);
    const { store } = cluster.member('b');
    await store.check();
    cluster.shell('b', cluster.shell('b', ALL_VIEWS));
    await expectCode(store.check(), 'SCHEMA_DRIFT', /dropped and created again/);
    cluster.shell('b', `INSERT INTO t VALUES (50, 'by a program', 1); DELETE FROM t;`);
    await recaptureIn(cluster, 'b', 't', false);
    await expectReplicating();
  });

  it('comes back with recapture alone, in a file that was restored without its views', async () => {
    cluster = await pairOf(REBUILT);
    await cluster.member('b').store.close();
    const file = cluster.directory.file('b');
    const dump = cluster.shell('b', '.dump').replaceAll(/^CREATE VIEW .*$/gm, '');
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
    cluster.shell('b', dump);
    expect(view('b')).toBe('');
    const store = await cluster.join('b', { createTables: false });
    await expectCode(store.check(), 'SCHEMA_DRIFT');
    cluster.shell('b', 'DROP VIEW _antiphon_guard;');
    await recaptureIn(cluster, 'b', 't', false);
    await expectReplicating();
  });

  it('I3: one that kept our triggers from firing is proof that changes went uncaptured', async () => {
    cluster = await pairOf(REBUILT);
    const { store } = cluster.member('b');
    cluster.shell(
      'b',
      `DROP VIEW _antiphon_guard; CREATE VIEW _antiphon_guard AS SELECT 1;
       INSERT INTO t VALUES (50, 'unseen', 1);`,
    );
    for (let look = 0; look < 2; look++)
      await expectCode(store.check(), 'SCHEMA_DRIFT', /table t: .*_antiphon_guard/);
    await recaptureIn(cluster, 'b', 't', false);
    await cluster.synchronize();
    expect(cluster.rows('a', 't')).toEqual(cluster.rows('b', 't'));
    expect(cluster.rows('a', 't')).toHaveLength(1);
  });
});

describe('the file itself', () => {
  it('I1: an older copy restored into the file of a running replica is not written over', async () => {
    cluster = await pairOf(REBUILT);
    await cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`);
    cluster.shell('a', `VACUUM INTO '${cluster.directory.file('copy')}'`);
    await cluster.write('a', `INSERT INTO t VALUES (2, 'y', 1)`);
    cluster.shell('a', `.restore ${cluster.directory.file('copy')}`);
    const { store } = cluster.member('a');
    await expectCode(store.check(), 'STORE_REPLACED', /older state/);
    await expectCode(cluster.write('a', `INSERT INTO t VALUES (3, 'z', 1)`), 'STORE_REPLACED');
    await expectCode(
      store.prepare([{ run: (tx) => tx.run(`INSERT INTO t VALUES (3, 'z', 1)`) }], {
        token: 'x',
        maxBytes: 10_000,
        certified: false,
      }),
      'STORE_REPLACED',
    );
    expect(cluster.shell('a', 'SELECT id FROM t')).toBe('1');
    expect(cluster.shell('a', 'SELECT last_counter FROM _antiphon_state')).toBe('1');
  });

  it.each([
    ['moved', (file: string) => `.shell mv ${file} ${file}.old`],
    ['replaced by a copy', (file: string) => `.shell cp ${file} ${file}.new && mv ${file}.new ${file}`],
  ])('I1: a file that was %s under a running replica is noticed', async (_how, command) => {
    cluster = await pairOf(REBUILT);
    await cluster.write('a', `INSERT INTO t VALUES (1, 'x', 1)`);
    cluster.shell('copy', command(cluster.directory.file('a')));
    await expectCode(cluster.member('a').store.check(), 'STORE_REPLACED', /moved|another file/);
  });

  it('another process that opens the file is told apart from an older copy', async () => {
    cluster = await pairOf(REBUILT);
    const other = sqlite({ file: cluster.directory.file('a') });
    await other.install(installOptions(cluster, 'a'), newClock());
    await expectCode(cluster.member('a').store.check(), 'DUPLICATE_REPLICA');
    await other.check();
    await other.close();
  });
});
