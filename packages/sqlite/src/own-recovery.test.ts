import { copyFileSync, rmSync } from 'node:fs';
import { decodeBatches, type Batch } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, type TestStore } from '../test/cluster.js';

let cluster: Cluster;
afterEach(() => cluster.close());

/** They go into the log in parts. */
const MANY_ROWS = `WITH RECURSIVE i(x) AS (SELECT 10 UNION ALL SELECT x + 1 FROM i WHERE x < 5000)
  INSERT INTO t SELECT x, hex(randomblob(60)) FROM i`;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Some time passes: more than times of two machines may differ by. */
const later = (): Promise<void> => pause(150);

async function start(ddl: string, versions: boolean): Promise<void> {
  cluster = new Cluster({ versions });
  await cluster.first('a', ddl);
  await cluster.join('b', versions ? {} : { writes: 'refuse' });
  await cluster.synchronize();
}

/**
 * The file of `a` with these edits in it that nobody has sealed; the first life goes on from there.
 */
async function copyWithEdits(...edits: readonly string[]): Promise<void> {
  const { store, published } = cluster.member('a');
  await store.close();
  for (const sql of edits) cluster.shell('a', sql);
  copyFileSync(cluster.directory.file('a'), cluster.directory.file('copy'));
  await cluster.join('a');
  cluster.member('a').published = published;
  await later();
}

/**
 * The copy comes back, `edits` are made in it, and the replica takes up what the log has of it.
 * Returns how many changes were forgotten.
 */
function restore(...edits: readonly string[]): Promise<number> {
  return restoreWhile(async (store, past) => {
    // One at a time, as pages of the log may end anywhere.
    for (const batch of past) await store.notePast?.([batch]);
  }, edits);
}

async function restoreWhile(
  note: (store: TestStore, past: readonly Batch[]) => Promise<void>,
  edits: readonly string[] = [],
): Promise<number> {
  await cluster.synchronize();
  const { store, published } = cluster.member('a');
  await store.close();
  for (const end of ['-wal', '-shm']) rmSync(cluster.directory.file('a') + end, { force: true });
  copyFileSync(cluster.directory.file('copy'), cluster.directory.file('a'));
  for (const sql of edits) cluster.shell('a', sql);
  const restored = await cluster.join('a');
  const past = cluster.log.filter(({ origin }) => origin === 'a').flatMap(({ data }) => decodeBatches(data));
  await note(restored, past);
  const forgotten = await restored.resumeFrom(published.counter, latestTime(past));
  await restored.seal();
  cluster.member('a').published = published;
  await cluster.deliver('a');
  return forgotten;
}

function latestTime(batches: readonly Batch[]): number {
  return Math.max(
    ...batches.map((batch) =>
      batch.kind === 'part' ? batch.time : Math.max(...batch.transactions.map(({ time }) => time)),
    ),
  );
}

async function expectRows(rows: string): Promise<void> {
  await cluster.synchronize();
  await cluster.synchronize();
  for (const name of ['a', 'b']) expect(cluster.shell(name, 'SELECT * FROM t ORDER BY 1')).toBe(rows);
  expect(cluster.versions('b')).toBe(cluster.versions('a'));
}

const T = `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, '0'), (2, '0'), (3, '0');`;

describe.each([true, false])('an old file with edits that the log has (row versions: %s)', (versions) => {
  it('A.4: does not bring them back over what came later', async () => {
    await start(T, versions);
    await copyWithEdits(
      `UPDATE t SET v = 'Monday' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (4, 'Monday')`,
    );
    await cluster.write('a', `UPDATE t SET v = 'Tuesday' WHERE id = 1`);
    await cluster.write('a', `INSERT INTO t VALUES (2, 'again')`, `DELETE FROM t WHERE id = 4`);
    await later();
    expect(await restore()).toBe(3);
    await expectRows('1|Tuesday\n2|again\n3|0');
  });

  it('A.4: keeps edits that were made after its past', async () => {
    await start(T, versions);
    await copyWithEdits(`UPDATE t SET v = 'Monday' WHERE id = 1`);
    await cluster.write('a', `UPDATE t SET v = 'Tuesday' WHERE id = 1`);
    await later();
    expect(
      await restore(`UPDATE t SET v = 'restored' WHERE id = 1; UPDATE t SET v = 'too' WHERE id = 3`),
    ).toBe(1);
    await expectRows('1|restored\n2|0\n3|too');
  });

  it('I3: sends an edit that was made after its past, though the clock was set back', async () => {
    await start(T, versions);
    await copyWithEdits(`UPDATE t SET v = 'Monday' WHERE id = 1`);
    await cluster.write('a', `UPDATE t SET v = 'Tuesday' WHERE id = 1`);
    await later();
    const before = cluster.member('a').store.state().lastCounter;
    expect(
      await restore(
        `UPDATE t SET v = 'restored' WHERE id = 1; UPDATE _antiphon_outbox SET at = at - 1 WHERE n1 = 'restored'`,
      ),
    ).toBe(1);
    await expectRows('1|restored\n2|0\n3|0');
    expect(cluster.member('a').store.state().lastCounter).toBe(before + 1);
  });

  it('I3: sends what gives a row once more what it had meanwhile, though the clock was set back', async () => {
    await start(T, versions);
    await copyWithEdits();
    for (const v of ['on', 'off']) {
      await cluster.write('a', `UPDATE t SET v = '${v}' WHERE id = 1`);
      await later();
    }
    await cluster.write('a', `INSERT INTO t VALUES (4, 'x')`);
    await cluster.write('a', `DELETE FROM t WHERE id = 4`);
    await later();
    const again = `UPDATE t SET v = 'on' WHERE id = 1; INSERT INTO t VALUES (4, 'x')`;
    // Ten minutes.
    expect(await restore(`${again}; UPDATE _antiphon_outbox SET at = at - 10.0 / 1440`)).toBe(0);
    await expectRows('1|on\n2|0\n3|0\n4|x');
  });

  it('A.4: knows edits of one connection that were made long apart', async () => {
    await start(T, versions);
    await pause(2000);
    await copyWithEdits(
      `UPDATE t SET v = 'Monday' WHERE id = 1; UPDATE _antiphon_outbox SET at = at - 1.6 / 86400;
       UPDATE t SET v = 'Monday' WHERE id = 3`,
    );
    await cluster.write('a', `UPDATE t SET v = 'Tuesday'`);
    await later();
    expect(await restore()).toBe(2);
    await expectRows('1|Tuesday\n2|Tuesday\n3|Tuesday');
  });

  it('A.4: keys that changed, and keys that compare in their own way', async () => {
    await start(
      `CREATE TABLE t (id TEXT COLLATE NOCASE, n, v TEXT, PRIMARY KEY (id, n)); INSERT INTO t VALUES ('a', 1, '0'), ('b', 2.5, '0')`,
      versions,
    );
    await copyWithEdits(
      `UPDATE t SET id = 'A', v = 'Monday' WHERE id = 'a'; UPDATE t SET id = 'c' WHERE id = 'b'`,
    );
    await cluster.write('a', `UPDATE t SET id = 'z' WHERE id = 'c'`, `DELETE FROM t WHERE id = 'a'`);
    await later();
    await restore();
    await expectRows('z|2.5|0');
    expect(cluster.member('a').store.state().lastCounter).toBe(cluster.member('a').published.counter);
  });

  it('I11: a transaction in parts covers them too', async () => {
    await start(T, versions);
    await copyWithEdits(`UPDATE t SET v = 'Monday' WHERE id IN (1, 3)`);
    await cluster.write(
      'a',
      MANY_ROWS,
      `UPDATE t SET v = 'Tuesday' WHERE id = 3`,
      `DELETE FROM t WHERE id >= 10 AND id % 100`,
    );
    await later();
    expect(await restore()).toBe(2);
    await cluster.synchronize();
    for (const name of ['a', 'b'])
      expect(cluster.shell(name, 'SELECT v FROM t WHERE id < 10')).toBe('Monday\n0\nTuesday');
    expect(cluster.rows('a', 't')).toEqual(cluster.rows('b', 't'));
  });

  it('I11: parts that are noted once more, after a disk was full, count once', async () => {
    await start(T, versions);
    await copyWithEdits(`UPDATE t SET v = 'Monday' WHERE id = 1`);
    await cluster.write('a', MANY_ROWS, `UPDATE t SET v = 'Tuesday' WHERE id = 3`);
    await later();
    const noteTwice = async (store: TestStore, past: readonly Batch[]): Promise<void> => {
      for (const batch of past) {
        await store.notePast?.([batch]);
        await store.notePast?.([batch]);
      }
    };
    expect(await restoreWhile(noteTwice)).toBe(1);
    await cluster.synchronize();
    expect(cluster.rows('a', 't')).toEqual(cluster.rows('b', 't'));
  });

  it('I3: another program writes while the log is read: that comes after its past', async () => {
    await start(T, versions);
    await copyWithEdits();
    await cluster.write('a', MANY_ROWS);
    await later();
    const writeAmong = async (store: TestStore, past: readonly Batch[]): Promise<void> => {
      const second = past.find((batch) => batch.kind === 'part' && batch.offset > 0);
      expect(second).toBeDefined();
      for (const batch of past) {
        if (batch === second) cluster.shell('a', `UPDATE t SET v = 'meanwhile' WHERE id = 1`);
        await store.notePast?.([batch]);
      }
    };
    expect(await restoreWhile(writeAmong)).toBe(0);
    await cluster.synchronize();
    for (const name of ['a', 'b'])
      expect(cluster.shell(name, 'SELECT v FROM t WHERE id = 1')).toBe('meanwhile');
    expect(cluster.rows('a', 't')).toEqual(cluster.rows('b', 't'));
  });
});

it('A.4: what the past does not touch keeps its time, and whoever wrote later wins', async () => {
  await start(T, true);
  await copyWithEdits(`UPDATE t SET v = 'Monday' WHERE id IN (1, 2)`);
  // The first life went on elsewhere, without these edits.
  const { store, published } = cluster.member('a');
  await store.close();
  cluster.shell('a', 'DELETE FROM _antiphon_outbox');
  await cluster.join('a');
  cluster.member('a').published = published;
  await cluster.write('b', `UPDATE t SET v = 'Wednesday' WHERE id = 2`);
  await later();
  await cluster.write('a', `UPDATE t SET v = 'Thursday' WHERE id = 3`);
  expect(await restore()).toBe(0);
  await expectRows('1|Monday\n2|Wednesday\n3|Thursday');
});

it('I4: a row whose hidden content an edit replaced that the log has comes up once', async () => {
  await start(`CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE)`, true);
  await cluster.write('a', `INSERT INTO t VALUES (1, 'same')`);
  await later();
  await cluster.write('b', `INSERT INTO t VALUES (2, 'same')`);
  await cluster.synchronize();
  expect(cluster.shell('a', 'SELECT * FROM t')).toBe('2|same');
  // Row 1 is hidden, and written again; what hid it goes.
  await copyWithEdits(`INSERT INTO t VALUES (1, 'again')`);
  expect(await restore(`DELETE FROM t WHERE id = 2`)).toBe(1);
  await expectRows('1|again');
});

it('I4: a hidden row that an edit set free which the log has comes up', async () => {
  await start(`CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE)`, true);
  await cluster.write('a', `INSERT INTO t VALUES (1, 'same')`);
  await later();
  await cluster.write('b', `INSERT INTO t VALUES (2, 'same')`);
  await cluster.synchronize();
  expect(cluster.shell('a', 'SELECT * FROM t')).toBe('2|same');
  // What hides row 1 changes. The log brings the same change, and finds the row as it is then.
  await copyWithEdits(`UPDATE t SET v = 'other' WHERE id = 2`);
  expect(await restore()).toBe(1);
  await expectRows('1|same\n2|other');
});

describe('a unique value that the origin did not see, in a transaction that only passes it', () => {
  const UNIQUE = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE)';

  it.each([
    ['is inserted and deleted', `INSERT INTO t VALUES (6, 'same'); DELETE FROM t WHERE id = 6`, '1|same'],
    [
      'is given to a row and taken away',
      `INSERT INTO t VALUES (6, 'same'); UPDATE t SET v = 'other' WHERE id = 6`,
      '1|same\n6|other',
    ],
    ['stays', `INSERT INTO t VALUES (6, 'same')`, '6|same'],
  ])('I4: %s', async (_, edits, rows) => {
    await start(UNIQUE, false);
    await copyWithEdits();
    await cluster.write('a', `INSERT INTO t VALUES (1, 'same')`);
    await restore(`BEGIN; ${edits}; COMMIT`);
    await expectRows(rows);
  });
});

it('A.4: edits keep their times though a row that the first one wrote goes with the last one', async () => {
  await start(
    `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE); INSERT INTO t VALUES (2, '0'), (3, '1')`,
    true,
  );
  await copyWithEdits();
  await cluster.write('a', `UPDATE t SET v = 'first life' WHERE id = 3`);
  await later();
  await cluster.write('b', `UPDATE t SET v = 'late' WHERE id = 2`);
  const ago = (seconds: number): string =>
    `UPDATE _antiphon_outbox SET at = at - ${seconds}.0 / 86400 WHERE at > (SELECT max(at) FROM _antiphon_outbox) - 1.0 / 86400`;
  await restore(
    `INSERT INTO t VALUES (6, 'moves'); ${ago(8)}`,
    `UPDATE t SET v = 'early' WHERE id = 2; ${ago(4)}`,
    `INSERT OR REPLACE INTO t VALUES (4, 'moves')`,
  );
  await expectRows('2|late\n3|first life\n4|moves');
});
