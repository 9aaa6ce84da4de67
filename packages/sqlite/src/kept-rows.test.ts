import { copyFileSync, rmSync } from 'node:fs';
import { decodeBatches, type PreparedGroup, type TransactionBatch } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, type TestStore } from '../test/cluster.js';
import { installOptions, newClock, pacing } from '../test/pair.js';
import { recaptureIn } from '../test/recapture.js';
import { sqlite } from './index.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

const T = `CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (9, 'known');`;
const UNSEEN = `INSERT INTO t VALUES (1, 'unseen'), (2, 'unseen'); DELETE FROM t WHERE id = 9;`;
const WRITTEN = '1|unseen\n2|unseen';

let a: TestStore;

async function started(ddl: string): Promise<void> {
  cluster = new Cluster();
  a = await cluster.first('a', ddl, { writes: 'library' });
  await cluster.publish('a');
  await cluster.deliver('a');
}

/** What another program did with the table behind our back is set back, and kept. */
async function keep(sql: string, ...tables: readonly string[]): Promise<void> {
  const drops = cluster.shell(
    'a',
    "SELECT group_concat('DROP TRIGGER ' || name, '; ') FROM sqlite_schema WHERE type = 'trigger'",
  );
  cluster.shell('a', `PRAGMA foreign_keys = OFF; ${drops}; ${sql}`);
  for (const table of tables) await recaptureIn(cluster, 'a', table, false, true);
}

async function attempt(token: string, ...others: readonly string[]): Promise<PreparedGroup> {
  const group = await a.prepare(
    [
      { run: () => a.recapturing!.writeKept() },
      ...others.map((sql) => ({ run: (tx: { run(sql: string): unknown }) => tx.run(sql) })),
    ],
    { token, maxBytes: 1e8, certified: false },
  );
  return group!;
}

/** The log has it; this database has not committed it. */
async function lost(token: string): Promise<Uint8Array> {
  const group = await attempt(token);
  const { data } = group.message!;
  await group.rollback();
  return data;
}

async function arrives(data: Uint8Array): Promise<void> {
  cluster.log.push({ origin: 'a', data });
  expect((await cluster.deliver('a')).refused).toBeUndefined();
}

/** Writes what is kept until nothing is left. Returns how many rows each write had. */
async function writeAll(): Promise<number[]> {
  const written: number[] = [];
  for (;;) {
    const group = await attempt(`all${written.length}`);
    const [write] = group.writes;
    if (write?.type !== 'ran') {
      await group.rollback();
      throw (write as { error: Error }).error;
    }
    const { seq } = a.state().position;
    await group.commit(group.message && { generation: 'g1', seq: seq + 1 });
    if (write.value === 0) return written;
    written.push(write.value as number);
  }
}

const attempts = (): string => cluster.shell('a', 'SELECT count(*) FROM _antiphon_kept_attempts');
const kept = (table = 't') => a.recapturing!.kept().find((each) => each.table === table);

describe('I2: kept rows', () => {
  it('go with the transaction that brings their write into the database: its own', async () => {
    await started(T);
    await keep(UNSEEN, 't');
    expect(kept()).toEqual({ table: 't', keptIn: '_antiphon_kept1', rows: 3, inDoubt: 0 });
    expect(await writeAll()).toEqual([3]);
    expect([cluster.shell('a', 'SELECT * FROM t'), attempts(), kept()]).toEqual([WRITTEN, '0', undefined]);
  });

  it('or the one that applies the log, also in the next process', async () => {
    await started(T);
    await keep(UNSEEN, 't');
    const data = await lost('one');
    expect([kept()?.rows, attempts()]).toEqual([3, '3']);
    await a.close();
    a = sqlite({ file: cluster.directory.file('a') });
    await a.install(installOptions(cluster, 'a', { writes: 'library' }), newClock());
    cluster.members.set('a', { ...cluster.member('a'), store: a });
    await a.resumeFrom(2, 1);
    await arrives(data);
    expect([cluster.shell('a', 'SELECT * FROM t'), attempts(), kept()]).toEqual([WRITTEN, '0', undefined]);
    expect(await writeAll()).toEqual([]);
  });

  it('whichever attempt it is that arrives', async () => {
    await started(T);
    await keep(UNSEEN, 't');
    const first = await lost('first');
    await lost('second');
    expect(attempts()).toBe('6');
    await arrives(first);
    expect([attempts(), kept()]).toEqual(['0', undefined]);
  });

  it('stay when their write was rejected, and when it was never sent', async () => {
    await started(T);
    await keep(UNSEEN, 't');
    const [batch] = decodeBatches(await lost('one'));
    const seq = a.state().position.seq + 1;
    const step = {
      type: 'transactions',
      batch: batch as TransactionBatch,
      skip: 0,
      rejected: [2],
      seq,
    } as const;
    await a.apply({ steps: [step], position: { generation: 'g1', seq }, ...pacing });
    expect([kept()?.rows, attempts(), a.state().lastCounter]).toEqual([3, '0', 2]);
    await lost('two');
    expect(await writeAll()).toEqual([3]);
    expect(attempts()).toBe('0');
  });

  it('have a group of their own', async () => {
    await started(T);
    await keep(UNSEEN, 't');
    const group = await attempt('one', `INSERT INTO t VALUES (5, 'other')`);
    expect(group.writes).toMatchObject([{ type: 'alone' }, { type: 'ran' }]);
    await group.rollback();
    expect(attempts()).toBe('0');
  });

  it('never get the number of one that was sent', async () => {
    await started(T);
    await keep(UNSEEN, 't');
    const data = await lost('one');
    cluster.shell('a', 'DROP TABLE _antiphon_kept1');
    await keep(`INSERT INTO t VALUES (7, 'later')`, 't');
    await arrives(data);
    expect(cluster.shell('a', 'SELECT id FROM _antiphon_kept1')).toBe('7');
    expect(await writeAll()).toEqual([1]);
    expect(cluster.shell('a', 'SELECT * FROM t')).toBe(`${WRITTEN}\n7|later`);
  });

  it('of the same row are written in their order, each in a write of its own', async () => {
    await started(T);
    await keep(UNSEEN, 't');
    await keep(`INSERT INTO t VALUES (1, 'again')`, 't');
    await keep(`UPDATE t SET v = 'changed' WHERE id = 9; INSERT INTO t VALUES (2, 'again')`, 't');
    expect(kept()?.rows).toBe(6);
    expect(await writeAll()).toEqual([3, 3]);
    expect(cluster.shell('a', 'SELECT * FROM t')).toBe('1|again\n2|again\n9|changed');
  });
});

describe('I2: kept rows of a database that was restored from a copy', () => {
  async function restored(): Promise<void> {
    const file = cluster.directory.file('a');
    await a.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true });
    copyFileSync(`${file}-copy`, file);
    a = sqlite({ file });
    await a.install(installOptions(cluster, 'a', { writes: 'library' }), newClock());
    cluster.members.set('a', { ...cluster.member('a'), store: a });
    await a.resumeFrom(2, 1);
  }

  it('are not written again before somebody says so', async () => {
    await started(T);
    await keep(`${UNSEEN} INSERT INTO t VALUES (3, 'unseen')`, 't');
    cluster.shell('a', `VACUUM INTO '${cluster.directory.file('a')}-copy'`);
    const group = await attempt('one');
    const { data } = group.message!;
    await group.commit({ generation: 'g1', seq: a.state().position.seq + 1 });
    await restored();
    await arrives(data);
    expect(kept()).toMatchObject({ rows: 4, inDoubt: 4 });
    expect(await writeAll()).toEqual([]);
    cluster.shell(
      'a',
      'DELETE FROM _antiphon_kept1 WHERE id <> 3; UPDATE _antiphon_kept1 SET _antiphon_doubt = NULL',
    );
    expect(kept()).toMatchObject({ rows: 1, inDoubt: 0 });
    expect(await writeAll()).toEqual([1]);
  });

  it('are when what came back from the log has to do with other rows', async () => {
    await started(T);
    await keep(UNSEEN, 't');
    cluster.shell('a', `VACUUM INTO '${cluster.directory.file('a')}-copy'`);
    const group = await a.prepare([{ run: (tx) => tx.run(`INSERT INTO t VALUES (5, 'other')`) }], {
      ...{ token: 'x', maxBytes: 1e6, certified: false },
    });
    const { data } = group!.message!;
    await group!.rollback();
    await restored();
    await arrives(data);
    expect(kept()).toMatchObject({ rows: 3, inDoubt: 0 });
    expect(await writeAll()).toEqual([3]);
  });
});

describe('I10: more kept rows than go in one write', () => {
  const many = (rows: number): string =>
    `WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < ${rows})`;

  it('go in the order in which they refer to each other, whatever their keys', async () => {
    await started(`CREATE TABLE node (id TEXT PRIMARY KEY, parent TEXT REFERENCES node, v);
      CREATE TABLE leaf (id INTEGER PRIMARY KEY, node TEXT REFERENCES node);`);
    await keep(
      `CREATE TEMP TABLE n AS ${many(3000)} SELECT x, hex(randomblob(16)) AS id FROM i;
       INSERT INTO node SELECT n.id, p.id, printf('%.200c', 'x') FROM n LEFT JOIN n AS p ON p.x = abs(random() % n.x);
       INSERT INTO leaf SELECT x, id FROM n;`,
      'leaf',
      'node',
    );
    const before = a.state().lastCounter;
    const written = await writeAll();
    expect(written.reduce((sum, rows) => sum + rows, 0)).toBe(6000);
    expect(Math.max(...written)).toBeLessThanOrEqual(500);
    expect(a.state().lastCounter - before).toBe(written.length);
    expect(cluster.shell('a', 'SELECT count(*) FROM node; SELECT count(*) FROM leaf')).toBe('3000\n3000');
  });

  it('go before what they refer to is deleted, and after what has their unique value', async () => {
    await started(`CREATE TABLE node (id INTEGER PRIMARY KEY, parent INT REFERENCES node, place INT UNIQUE);
      INSERT INTO node ${many(2000)} SELECT x, nullif((x * 7919) % 2003 % x, 0), x FROM i;`);
    await keep(
      `DELETE FROM node WHERE id > 1000; UPDATE node SET place = -place; UPDATE node SET place = 1 - place;`,
      'node',
    );
    const written = await writeAll();
    expect(written.reduce((sum, rows) => sum + rows, 0)).toBe(2000);
    expect(Math.max(...written)).toBeLessThanOrEqual(500);
    expect(cluster.shell('a', 'SELECT count(*), min(place), max(place) FROM node')).toBe('1000|2|1001');
  });

  it('go where some can never be written, and these stay', async () => {
    await started(`CREATE TABLE node (id INTEGER PRIMARY KEY, parent INT REFERENCES node);`);
    await keep(
      `INSERT INTO node ${many(1200)} SELECT x, CASE x WHEN 3 THEN 5000 ELSE nullif(x + 1, 1201) END FROM i`,
      'node',
    );
    await expect(writeAll()).rejects.toThrow(/FOREIGN KEY constraint failed/);
    expect(cluster.shell('a', 'SELECT id FROM _antiphon_kept1')).toBe('1\n2\n3');
    cluster.shell('a', 'UPDATE _antiphon_kept1 SET parent = NULL WHERE parent = 5000');
    await writeAll();
    expect(cluster.shell('a', 'SELECT count(*) FROM node')).toBe('1200');
  });
});
