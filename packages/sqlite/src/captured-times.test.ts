import { DatabaseSync } from 'node:sqlite';
import { decodeBatches, decodeChanges, type Change } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../test/cluster.js';
import type { Database } from './driver/driver.js';
import { PROCESS } from './surroundings.js';

let cluster: Cluster;
afterEach(() => cluster.close());

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const T = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);';

interface Sealed {
  readonly counter: number;
  /** Milliseconds. */
  readonly time: number;
  readonly changes: readonly Change[];
}

/** What a replica has published, whole. */
function published(name: string): Sealed[] {
  const sealed: Sealed[] = [];
  const bodies: Uint8Array[] = [];
  for (const { data } of cluster.log.filter(({ origin }) => origin === name)) {
    for (const batch of decodeBatches(data)) {
      if (batch.kind === 'transactions') {
        sealed.push(...batch.transactions.map((each) => ({ ...each, time: each.time / 1000 })));
        continue;
      }
      bodies.push(batch.body);
      if (!batch.last) continue;
      const changes = [...decodeChanges(bodies.splice(0), batch.tables)];
      sealed.push({ counter: batch.firstCounter, time: batch.time / 1000, changes });
    }
  }
  return sealed;
}

async function expectEqual(...names: string[]): Promise<void> {
  await cluster.synchronize();
  await cluster.synchronize();
  const [first = '', ...others] = names;
  for (const other of others) {
    expect(cluster.rows(other, 't')).toEqual(cluster.rows(first, 't'));
    expect(cluster.versions(other)).toBe(cluster.versions(first));
  }
}

/** Another program that keeps its connection. */
function program(name: string): DatabaseSync {
  const db = new DatabaseSync(cluster.directory.file(name));
  db.exec('PRAGMA busy_timeout = 5000');
  return db;
}

describe('when it was written', () => {
  it('A.4: the later write wins, however late the earlier one is sealed', async () => {
    cluster = new Cluster({ versions: true });
    await cluster.first('a', `${T} INSERT INTO t VALUES (1, ''), (2, ''), (3, '')`);
    await cluster.join('b');
    await cluster.synchronize();
    cluster.shell('b', `UPDATE t SET v = 'first' WHERE id = 1; DELETE FROM t WHERE id = 2;`);
    await pause(150);
    await cluster.write('a', `UPDATE t SET v = 'second'`);
    await pause(150);
    cluster.shell('b', `UPDATE t SET v = 'third' WHERE id = 3`);
    await pause(150);
    await cluster.publish('a');
    // b seals when it is started again, and then applies what a wrote meanwhile.
    await expectEqual('a', 'b');
    expect(cluster.shell('a', 'SELECT * FROM t')).toBe('1|second\n2|second\n3|third');
  });

  it('A.4: what a full disk undid does not make later what was written before it', async () => {
    let writer: Database | undefined;
    const openDatabase: typeof PROCESS.openDatabase = (...args) => {
      const db = PROCESS.openDatabase(...args);
      writer ??= db;
      return db;
    };
    cluster = new Cluster({ versions: true, surroundings: { ...PROCESS, openDatabase } });
    await cluster.first('a', T);
    await cluster.write('a', `INSERT INTO t VALUES (1, 'committed')`);
    const { clock } = cluster.member('a');
    const { last } = clock;
    // It is sealed in front of the write that fails, and that is undone as well.
    cluster.shell('a', `INSERT INTO t VALUES (2, 'before')`);
    writer?.exec('PRAGMA max_page_count = 1');
    const large = `INSERT INTO t VALUES (3, '${'x'.repeat(100_000)}')`;
    expect(await cluster.write('a', large)).toMatchObject({
      type: 'rejected',
      error: { code: 'STORE_FULL' },
    });
    expect(clock.last).toBe(last);
  });

  it('A.4: a write is later than what was applied before it, whatever the clock says', async () => {
    let aheadMs = 60_000;
    cluster = new Cluster({ versions: true, clock: () => Date.now() + aheadMs });
    await cluster.first('a', `${T} INSERT INTO t VALUES (1, '')`);
    await cluster.join('b');
    await cluster.synchronize();
    await cluster.write('a', `UPDATE t SET v = 'by a fast clock'`);
    await cluster.synchronize();
    aheadMs = 0;
    cluster.shell('b', `UPDATE t SET v = 'after it'`);
    await expectEqual('a', 'b');
    expect(cluster.shell('a', 'SELECT v FROM t')).toBe('after it');
  });

  it('A.4: what was committed by different connections is sealed apart, with the times when it was written', async () => {
    cluster = new Cluster({ versions: true });
    await cluster.first('a', T);
    await cluster.join('b');
    await cluster.publish('a');
    const startedMs = Date.now();
    for (let id = 1; id <= 3; id++) {
      cluster.shell(
        'a',
        `BEGIN; INSERT INTO t VALUES (${id}, 'x'); INSERT INTO t VALUES (${id + 10}, 'y'); COMMIT;`,
      );
      await pause(150);
    }
    await cluster.publish('a');
    const sealed = published('a');
    expect(sealed.map(({ changes }) => changes.length)).toEqual([2, 2, 2]);
    for (const [index, { time }] of sealed.entries()) {
      const earliestMs = startedMs + index * 150;
      expect(time).toBeGreaterThanOrEqual(earliestMs - 1);
      if (index > 0) expect(time - sealed[index - 1]!.time).toBeGreaterThan(140);
    }
    expect(Date.now() - sealed[2]!.time).toBeGreaterThan(140);
    await expectEqual('a', 'b');
  });

  it.each([true, false])(
    'A.4: so is what is sent as its net effect, apart from what neither side of it touched (row versions: %s)',
    async (versions) => {
      cluster = new Cluster({ versions });
      await cluster.first(
        'a',
        `${T} CREATE TABLE u (id INTEGER PRIMARY KEY, n INT, at INT);
         CREATE TRIGGER touched AFTER UPDATE OF n ON u BEGIN UPDATE u SET at = ifnull(at, 0) + 1 WHERE id = NEW.id; END;
         CREATE TRIGGER gone AFTER UPDATE OF n ON u WHEN NEW.n < 0 BEGIN DELETE FROM u WHERE id = NEW.id; END;
         INSERT INTO t VALUES (1, ''), (2, ''), (3, ''), (4, ''), (5, '');
         INSERT INTO u VALUES (1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0), (5, 0, 0);`,
      );
      await cluster.join('b', versions ? {} : { writes: 'refuse' });
      await cluster.publish('a');
      const before = published('a').length;
      for (const sql of [
        'UPDATE t SET v = 1 WHERE id = 1',
        'UPDATE u SET n = 1 WHERE id = 1',
        'UPDATE u SET n = -1 WHERE id = 2',
        'UPDATE u SET n = -1 WHERE id = 3',
        'UPDATE t SET v = 3 WHERE id = 3',
        'BEGIN; UPDATE t SET v = 4 WHERE id = 4; UPDATE u SET n = 4 WHERE id = 4; COMMIT',
        // What this row was in between is not known: three become one.
        'DELETE FROM t WHERE id = 2',
        'UPDATE u SET n = 5 WHERE id = 5',
        `INSERT INTO t VALUES (2, 'again')`,
        'UPDATE t SET v = 5 WHERE id = 5',
      ]) {
        cluster.shell('a', sql);
        await pause(110);
      }
      await cluster.publish('a');
      const sealed = published('a').slice(before);
      expect(sealed.map(({ changes }) => changes.length)).toEqual([1, 1, 1, 1, 1, 2, 2, 1]);
      for (const [index, { time }] of sealed.entries())
        if (index > 0) expect(time - sealed[index - 1]!.time).toBeGreaterThan(90);
      await cluster.synchronize();
      for (const table of ['t', 'u'])
        expect(cluster.shell('b', `SELECT * FROM ${table}`)).toBe(
          cluster.shell('a', `SELECT * FROM ${table}`),
        );
    },
  );

  it.each([true, false])(
    'A.4: never tears a transaction, however long it took (row versions: %s)',
    async (versions) => {
      cluster = new Cluster({ versions });
      await cluster.first('a', T);
      await cluster.join('b', versions ? {} : { writes: 'refuse' });
      const other = program('a');
      other.exec(`BEGIN; INSERT INTO t VALUES (1, 'x')`);
      await pause(250);
      other.exec(`INSERT INTO t VALUES (2, 'y'); UPDATE t SET v = 'z' WHERE id = 1; COMMIT`);
      // Another transaction, of the same connection: nobody can tell.
      await pause(250);
      other.exec(`INSERT INTO t VALUES (3, 'x')`);
      other.close();
      await cluster.publish('a');
      const sealed = published('a');
      expect(sealed).toHaveLength(1);
      const earlier = sealed[0]!.changes.map(({ earlierUs = 0 }) => Math.round(earlierUs / 250_000));
      expect(earlier).toEqual(versions ? [2, 1, 1, 0] : [0, 0, 0, 0]);
      await expectEqual('a', 'b');
    },
  );

  it('A.4: rows of one connection win or lose each by its own time', async () => {
    cluster = new Cluster({ versions: true });
    await cluster.first('a', `${T} INSERT INTO t VALUES (1, ''), (2, '')`);
    await cluster.join('b');
    await cluster.synchronize();
    const other = program('b');
    other.exec(`UPDATE t SET v = 'friday' WHERE id = 1`);
    await pause(200);
    await cluster.write('a', `UPDATE t SET v = 'saturday'`);
    await pause(200);
    other.exec(`UPDATE t SET v = 'monday' WHERE id = 2`);
    other.close();
    await expectEqual('a', 'b');
    expect(cluster.shell('b', 'SELECT v FROM t ORDER BY id')).toBe('saturday\nmonday');
  });

  it('A.4: what is sent as its net effect has the time of the last change, and the others keep theirs', async () => {
    cluster = new Cluster({ versions: true });
    await cluster.first(
      'a',
      `${T} CREATE TABLE log (id INTEGER PRIMARY KEY, what TEXT);
       CREATE TRIGGER noted AFTER UPDATE ON t BEGIN INSERT INTO log (what) VALUES (NEW.v); END;
       INSERT INTO t VALUES (1, ''), (2, ''), (3, ''), (4, '');`,
    );
    await cluster.join('b');
    await cluster.synchronize();
    cluster.shell('b', `BEGIN; UPDATE t SET v = 'friday' WHERE id IN (1, 2); DELETE FROM log; COMMIT`);
    await pause(150);
    await cluster.write('a', `UPDATE t SET v = 'saturday' WHERE id < 4`);
    await pause(150);
    cluster.shell('b', `DELETE FROM t WHERE id = 1`);
    await pause(150);
    cluster.shell('b', `UPDATE t SET v = 'tuesday' WHERE id = 4`);
    const before = cluster.member('b').store.state().lastCounter;
    await expectEqual('a', 'b');
    expect(cluster.shell('a', 'SELECT * FROM t')).toBe('2|saturday\n3|saturday\n4|tuesday');
    // Row 1 between Friday and Monday is not known, so these are one transaction; and who came
    // after Monday's row is not known either.
    expect(cluster.member('b').store.state().lastCounter - before).toBe(1);

    const two = (sql: string, then: string): void => {
      for (const each of [sql, then]) cluster.shell('b', `${each}; UPDATE _antiphon_outbox SET at = at - 1`);
    };
    two(
      `UPDATE t SET v = 'x' WHERE id = 2`,
      `BEGIN; UPDATE t SET v = 'y' WHERE id = 2; UPDATE t SET v = 'y' WHERE id = 3; COMMIT`,
    );
    cluster.shell('b', `UPDATE t SET v = 'z' WHERE id = 4`);
    expect(await cluster.member('b').store.seal()).toBe(2);
    await expectEqual('a', 'b');
  });

  it('A.4: a transaction in parts has its times too', async () => {
    cluster = new Cluster({ versions: true });
    await cluster.first('a', T);
    await cluster.join('b');
    const other = program('a');
    const rows = (from: number): string =>
      `WITH RECURSIVE i(x) AS (SELECT ${from} UNION ALL SELECT x + 1 FROM i WHERE x < ${from + 2499})
       INSERT INTO t SELECT x, 'row ' || x || hex(zeroblob(100)) FROM i`;
    other.exec(`BEGIN; ${rows(1)}`);
    await pause(200);
    other.exec(`${rows(10_001)}; COMMIT`);
    other.close();
    await expectEqual('a', 'b');
    const [sealed] = published('a');
    expect(cluster.log.length).toBeGreaterThan(2);
    expect(sealed!.changes).toHaveLength(5000);
    expect(new Set(sealed!.changes.slice(0, 2500).map(({ earlierUs }) => earlierUs)).size).toBe(1);
    expect(sealed!.changes[0]!.earlierUs).toBeGreaterThan(150_000);
    expect(sealed!.changes[2500]!.earlierUs).toBeUndefined();
  });

  it('A.4: keeps the order of changes whose clock was set back', async () => {
    cluster = new Cluster({ versions: true });
    await cluster.first('a', T);
    await cluster.join('b');
    cluster.shell('a', `INSERT INTO t VALUES (1, 'one'); UPDATE t SET v = 'two'; UPDATE t SET v = 'three';`);
    cluster.shell('a', `UPDATE _antiphon_outbox SET at = at - seq / 24.0`);
    await expectEqual('a', 'b');
    expect(cluster.shell('b', 'SELECT v FROM t')).toBe('three');
  });

  it('I11: is bounded for any number of transactions, and of times in one', async () => {
    cluster = new Cluster({ versions: true });
    await cluster.first('a', T);
    const captured = (count: number, total: string): void =>
      void cluster.shell(
        'a',
        `WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < ${count})
         INSERT INTO _antiphon_outbox (t, op, at, total, n0, n1) SELECT 1, 0, julianday() - 10 + x / 86400.0, ${total}, x, 'x' FROM i;`,
      );
    captured(9000, '0');
    expect(await cluster.member('a').store.seal()).toBe(9000);
    captured(40_000, 'x');
    expect(await cluster.member('a').store.seal()).toBe(1);
    await cluster.publish('a');
    const last = published('a').at(-1)!;
    const times = new Set(last.changes.map(({ earlierUs = 0 }) => earlierUs));
    expect(times.size).toBeGreaterThan(8000);
    expect(times.size).toBeLessThan(16_400);
  });
});

describe('the count of changes that triggers see', () => {
  /**
   * Whatever a connection does, each captured row has a higher count than the one before: else a
   * transaction would be torn.
   */
  it('grows with every captured row of a connection', async () => {
    cluster = new Cluster({ versions: true });
    await cluster.first(
      'a',
      `CREATE TABLE p (id INTEGER PRIMARY KEY, u TEXT UNIQUE, n INTEGER DEFAULT 0);
       CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE, n INTEGER DEFAULT 0);
       CREATE TABLE l (id INTEGER PRIMARY KEY, what TEXT);
       CREATE TRIGGER count_them AFTER INSERT ON c BEGIN UPDATE p SET n = n + 1 WHERE id = NEW.p; INSERT INTO l (what) VALUES ('c' || NEW.id); END;
       CREATE TRIGGER again AFTER UPDATE OF n ON p WHEN NEW.n < 3 BEGIN UPDATE p SET n = n + 1 WHERE id = NEW.id; END;`,
    );
    const other = program('a');
    other.exec('PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON');
    const statements = [
      `INSERT INTO p (id, u) VALUES (1, 'a'), (2, 'b'), (3, 'c')`,
      'INSERT INTO c (id, p) SELECT id * 10, id FROM p',
      'INSERT INTO c (id, p) VALUES (1, 1), (2, 1) ON CONFLICT DO NOTHING',
      `INSERT INTO p (id, u) VALUES (1, 'z') ON CONFLICT (id) DO UPDATE SET u = excluded.u`,
      `INSERT OR REPLACE INTO p (id, u) VALUES (7, 'b')`,
      `UPDATE OR REPLACE p SET u = 'z' WHERE id = 7`,
      'UPDATE p SET id = id + 100',
      `BEGIN; SAVEPOINT s; INSERT INTO l (what) VALUES ('gone'); ROLLBACK TO s; INSERT INTO l (what) VALUES ('kept'); COMMIT`,
      `BEGIN; INSERT INTO l (what) VALUES ('gone'); ROLLBACK; INSERT INTO l (what) VALUES ('kept')`,
      `PRAGMA recursive_triggers = OFF; INSERT OR REPLACE INTO l (id, what) SELECT id, what || '!' FROM l`,
      'DELETE FROM p',
      `VACUUM; ANALYZE; REINDEX; INSERT INTO l (what) VALUES ('end')`,
    ];
    for (const sql of statements) other.exec(sql);
    expect(() =>
      other.exec(`INSERT OR FAIL INTO l (id, what) VALUES (500, 'x'), (501, 'x'), (500, 'y')`),
    ).toThrow();
    expect(() => other.exec(`INSERT OR ABORT INTO l (id, what) VALUES (600, 'x'), (500, 'y')`)).toThrow();
    other.exec('DELETE FROM l');
    const totals = other
      .prepare('SELECT total FROM _antiphon_outbox WHERE seq > 0 ORDER BY seq')
      .all()
      .map((row) => Number(row['total']));
    other.close();
    expect(totals.length).toBeGreaterThan(40);
    for (const [index, total] of totals.entries())
      if (index > 0) expect(total).toBeGreaterThan(totals[index - 1]!);
  });
});
