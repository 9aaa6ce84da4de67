import { AntiphonError } from '@antiphon/core';
import { DatabaseSync } from 'node:sqlite';
import { sqlite } from '@antiphon/sqlite';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';

const SCHEMA =
  "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')";
/** More than two pieces. */
const MANY =
  'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) ' +
  'SELECT i FROM n WHERE EXISTS (SELECT 1 FROM t)';
const ALL = 'SELECT id, v FROM t ORDER BY id';

let cluster: ClusterFixture;
let a: SqliteReplica;

beforeAll(async () => {
  cluster = await ClusterFixture.start();
  cluster.sql('a', SCHEMA);
  a = await cluster.replica('a', { store: sqlite({ file: cluster.file('a'), streams: 2 }) });
});
afterAll(() => cluster[Symbol.asyncDispose]());

const codeOf = (error: unknown): string => (error instanceof AntiphonError ? error.code : String(error));

async function end(rows: AsyncIterable<unknown>): Promise<string> {
  try {
    for await (const _ of rows);
    return 'all';
  } catch (error) {
    return codeOf(error);
  }
}

/** Whether what is written now can go into the database file: an open snapshot forbids it. */
async function isFree(): Promise<boolean> {
  await a.execute([{ sql: "INSERT INTO t (v) VALUES ('meanwhile')" }]);
  const db = new DatabaseSync(cluster.file('a'), { timeout: 0 });
  try {
    return db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.['busy'] === 0;
  } finally {
    db.close();
  }
}

describe('a stream of rows', () => {
  it('gives them as a query does, one by one', async () => {
    const rows: unknown[] = [];
    for await (const row of a.stream(ALL)) rows.push(row);
    expect(rows).toEqual(await a.query(ALL));
    const numbers: unknown[] = [];
    for await (const row of a.stream('SELECT id FROM t WHERE id > :id', { id: 1 }, { integers: 'number' }))
      numbers.push(row);
    expect(numbers).toEqual([{ id: 2 }, { id: 3 }]);
  });

  it('gives rows as arrays, as a query does, where columns have one name', async () => {
    const joined = 'SELECT t.v, u.v, t.id FROM t JOIN t AS u ON u.id = t.id + 1 WHERE t.id < 3 ORDER BY t.id';
    const expected = [
      ['a', 'b', 1],
      ['b', 'c', 2],
    ];
    const options = { rows: 'array', integers: 'number' } as const;
    expect(await a.query<[string, string, number]>(joined, [], options)).toEqual(expected);
    expect(await a.query(joined, [], { rows: 'array' })).toMatchObject([{ 2: 1n }, { 2: 2n }]);
    const rows: unknown[] = [];
    for await (const row of a.stream(joined, [], options)) rows.push(row);
    expect(rows).toEqual(expected);
    expect(await a.query(joined, [], { integers: 'number' })).toEqual([
      { v: 'b', id: 1 },
      { v: 'c', id: 2 },
    ]);
    await expect(a.query(ALL, [], { rows: 'arrays' as 'array' })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringMatching(/rows.*object.*array/),
    });
  });

  it('opens nothing before somebody asks, and refuses bad options at once', async () => {
    const unused = Array.from({ length: 5 }, () => a.stream(MANY));
    expect(await end(a.stream(ALL))).toBe('all');
    for (const one of unused) await one.return();
    expect(() => a.stream(ALL, [], { idleMs: 0 })).toThrow(/idleMs/);
    expect(() => a.stream(5 as never)).toThrow(/needs a statement/);
  });

  it('waits for what it promises', async () => {
    const { position } = await a.execute([{ sql: "INSERT INTO t VALUES (4, 'd')" }]);
    const ids: unknown[] = [];
    for await (const { id } of a.stream(ALL, [], { consistency: 'session', after: position })) ids.push(id);
    expect(ids).toEqual([1n, 2n, 3n, 4n]);
    const wrong = end(a.stream(ALL, [], { consistency: 'session' }));
    expect(await wrong).toBe('BAD_OPTION');
  });

  it('holds the snapshot while the loop runs, and no longer than it', async () => {
    for await (const _ of a.stream(MANY)) {
      expect(await isFree()).toBe(false);
      break;
    }
    await eventually('the snapshot is gone', isFree);
  });

  it('ends at once with its signal, also while nobody asks for a row', async () => {
    const giving = new AbortController();
    const rows = a.stream(MANY, [], { signal: giving.signal });
    await rows.next();
    giving.abort(new Error('enough'));
    await eventually('the snapshot is gone', isFree);
    await expect(rows.next()).rejects.toThrow('enough');
    expect(await rows.next()).toEqual({ done: true, value: undefined });
  });

  it.each([
    ['its time is up', { timeoutMs: 8000 }, /took longer than 8000 ms/],
    ['nobody asks for a row for long', { idleMs: 500 }, /within 500 ms/],
  ])('lets the snapshot go when %s, and says so to whoever comes back', async (_, limits, message) => {
    const rows = a.stream(MANY, [], limits);
    await rows.next();
    expect(await isFree()).toBe(false);
    await eventually('the snapshot is gone', isFree);
    const late = await rows.next().catch((error: unknown) => error);
    expect(late).toMatchObject({ code: 'TIMEOUT', message: expect.stringMatching(message) });
  });

  it('is not idle while the database takes its time', async () => {
    // Longer than `idleMs` until the first row.
    const slow = `${MANY.replace('200000', '3000000')} AND i = 3000000`;
    expect(await end(a.stream(slow, [], { idleMs: 100 }))).toBe('all');
  });

  describe('whose next row takes long', () => {
    /** Large rows, and minutes until the third. */
    const SLOW =
      'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000000000) ' +
      'SELECT i, zeroblob(300000) AS z FROM n WHERE i < 3 OR i > 2000000000';
    const soon = 10_000;

    it('ends when its time is up, and with its signal', async () => {
      const startedMs = performance.now();
      const giving = new AbortController();
      const [late, given] = [
        end(a.stream(SLOW, [], { timeoutMs: 3000 })),
        end(a.stream(SLOW, [], { signal: giving.signal })),
      ];
      setTimeout(() => giving.abort(), 3000);
      expect(await late).toBe('TIMEOUT');
      expect(await given).toBe('ABORTED');
      expect(performance.now() - startedMs).toBeLessThan(soon);
      await eventually('the snapshots are gone', isFree);
    });

    it('ends when the replica closes', async () => {
      await using other = await ClusterFixture.start('other');
      other.sql('b', SCHEMA);
      const b = await other.replica('b');
      const rows = b.stream(SLOW);
      await rows.next();
      const waiting = end(rows);
      await new Promise((resolve) => setTimeout(resolve, 200));
      const startedMs = performance.now();
      await b.close();
      expect(await waiting).toBe('CLOSED');
      expect(performance.now() - startedMs).toBeLessThan(soon);
    });
  });

  it('is one of a few', async () => {
    const open = [a.stream(MANY), a.stream(MANY)];
    for (const rows of open) await rows.next();
    const third = a.stream(ALL);
    expect(await end(third)).toBe('OVERLOADED');
    // Queries have processes of their own.
    expect(await a.query('SELECT 1 AS one')).toEqual([{ one: 1n }]);
    await open[0]?.return();
    expect(await end(a.stream(ALL))).toBe('all');
    await open[1]?.return();
  });

  it('says so when the replica closes under it', async () => {
    await using other = await ClusterFixture.start('other');
    other.sql('b', SCHEMA);
    const b = await other.replica('b');
    const rows = b.stream(MANY);
    await rows.next();
    await b.close();
    expect(await end(rows)).toBe('CLOSED');
    expect(await end(b.stream(ALL))).toBe('CLOSED');
  });
});
