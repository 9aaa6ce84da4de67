import type { PrepareOptions, WriteRequest } from '@antiphon/core';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, type TestStore } from '../test/cluster.js';
import type { Database, RowForm, Statement } from './driver/driver.js';
import type { SqliteTransaction } from './index.js';
import { PROCESS, type Surroundings } from './surroundings.js';

let cluster = new Cluster();
afterEach(() => cluster.close());

/** A clock that stands still unless a write lets it go on, and a count of what is read. */
class Bench {
  nowMs = 0;
  outboxRows = 0;
  /** Called when somebody has waited. */
  slept = (): void => undefined;
  readonly runs: number[] = [];
  readonly surroundings: Surroundings = {
    ...PROCESS,
    monotonicMs: () => this.nowMs,
    sleep: (delayMs) => {
      this.nowMs += delayMs;
      this.slept();
      return Promise.resolve();
    },
    openDatabase: (file, options) => this.#counting(PROCESS.openDatabase(file, options)),
  };

  async store(ddl: string): Promise<TestStore> {
    cluster = new Cluster({ surroundings: this.surroundings });
    return cluster.first('a', ddl);
  }

  /** `count` writes that say when they run, and take so long. */
  writes(
    count: number,
    run: (tx: SqliteTransaction, index: number) => void,
    tookMs = 0,
  ): WriteRequest<SqliteTransaction>[] {
    return Array.from({ length: count }, (_, index) => ({
      run: (tx) => {
        this.runs.push(index);
        this.nowMs += tookMs;
        run(tx, index);
      },
    }));
  }

  /** Rows of the outbox that are read with all that they hold. */
  #counting(db: Database): Database {
    const prepare = (sql: string, form?: RowForm): Statement => {
      const statement = db.prepare(sql, form);
      if (!/^SELECT .*\b[no]0\b.* FROM _antiphon_outbox .* ORDER BY seq$/.test(sql)) return statement;
      const all: Statement['all'] = (...parameters) => {
        const rows = statement.all(...parameters);
        this.outboxRows += rows.length;
        return rows;
      };
      return new Proxy(statement, {
        get: (target, name) => {
          const value: unknown = name === 'all' ? all : Reflect.get(target, name, target);
          return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
        },
      });
    };
    return new Proxy(db, {
      get: (target, name) => {
        const value: unknown = name === 'prepare' ? prepare : Reflect.get(target, name, target);
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      },
    });
  }
}

const OPTIONS: PrepareOptions = { token: 'tok', maxBytes: 50_000, certified: true };
const at = (seq: number): { generation: string; seq: number } => ({ generation: 'g1', seq });

const PLAIN = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a, b UNIQUE, c UNIQUE, d UNIQUE, e);';
/** Its rows change twice, so that the numbers of the outbox have gaps. */
const GAPS = `${PLAIN} CREATE TRIGGER again AFTER INSERT ON t BEGIN UPDATE t SET e = 7 WHERE id = NEW.id; END;`;

const put = (tx: SqliteTransaction, id: number): void => {
  tx.run('INSERT INTO t (id, b, c, d) VALUES (?1, ?1, ?1, ?1)', [id]);
};

describe('how much a group takes', () => {
  it.each([
    ['plain rows', PLAIN],
    ['rows that a trigger changes again', GAPS],
  ])('does not run more than a message can hold, of %s', async (_, ddl) => {
    const bench = new Bench();
    const store = await bench.store(ddl);
    const big = bench.writes(60, (tx, id) =>
      tx.run('INSERT INTO t (id, a) VALUES (?, zeroblob(20000))', [id]),
    );
    const ids: number[] = [];
    for (let next = 0, seq = 1; next < big.length; seq++) {
      const group = await store.prepare(big.slice(next), OPTIONS);
      const ran = group?.writes.filter(({ type }) => type === 'ran').length ?? 0;
      expect(group?.writes.slice(ran).every(({ type }) => type === 'left-out')).toBe(true);
      await group?.commit(at(seq));
      ids.push(ran);
      next += ran;
    }
    expect(new Set(ids)).toEqual(new Set([2]));
    expect(bench.runs).toEqual(big.map((_, index) => index));
    expect(bench.outboxRows).toBeLessThanOrEqual(2 * big.length);
    expect(cluster.shell('a', 'SELECT count(*) FROM t')).toBe('60');
  });

  it('measures rows with as many columns as a replicated table may have', async () => {
    const bench = new Bench();
    const columns = Array.from({ length: 990 }, (_, index) => `c${index}`);
    const store = await bench.store(`CREATE TABLE t (id INTEGER PRIMARY KEY, ${columns.join(', ')})`);
    const requests = bench.writes(5, (tx, id) =>
      tx.run('INSERT INTO t (id, c0, c989) VALUES (?, zeroblob(10000), zeroblob(10000))', [id]),
    );
    const group = await store.prepare(requests, OPTIONS);
    expect(bench.runs).toEqual([0, 1]);
    await group?.commit(at(1));
  });

  it('goes on behind a write that never fits', async () => {
    const bench = new Bench();
    const store = await bench.store(PLAIN);
    const sizes = [1000, 90_000, 1000, 90_000, 1000];
    const requests = bench.writes(sizes.length, (tx, id) =>
      tx.run('INSERT INTO t (id, a) VALUES (?, zeroblob(?))', [id, sizes[id]]),
    );
    const group = await store.prepare(requests, OPTIONS);
    expect(group?.writes.map(({ type }) => type)).toEqual(['ran', 'rejected', 'ran', 'rejected', 'ran']);
    await group?.commit(at(1));
  });

  it('does not write more than two megabytes in one piece where it may become several messages', async () => {
    const bench = new Bench();
    const store = await bench.store(PLAIN);
    const sizes = [...Array<number>(30).fill(250_000), 3_000_000, 1000];
    const big = bench.writes(sizes.length, (tx, id) =>
      tx.run('INSERT INTO t (id, a) VALUES (?, zeroblob(?))', [id, sizes[id]]),
    );
    const groups: number[] = [];
    for (let next = 0; next < big.length; next += groups.at(-1) ?? 0) {
      const outcomes = await store.write(big.slice(next));
      const committed = outcomes.filter(({ type }) => type === 'committed').length;
      expect(outcomes.slice(committed).every(({ type }) => type === 'left-out')).toBe(true);
      groups.push(committed);
    }
    // One that is larger goes where there still is room for one like those before it.
    expect(groups).toEqual([8, 8, 8, 7, 1]);
    expect(bench.runs).toEqual(big.map((_, index) => index));
    expect(cluster.shell('a', 'SELECT count(*) FROM t')).toBe(String(sizes.length));
  });

  it.each([
    ['plain rows', PLAIN],
    ['rows that a trigger changes again', GAPS],
  ])('measures %s without reading those behind them again', async (_, ddl) => {
    const bench = new Bench();
    const store = await bench.store(ddl);
    // Each claims more bytes than it changes.
    const requests = bench.writes(300, put);
    const group = await store.prepare(requests, { ...OPTIONS, maxBytes: 8000 });
    const ran = group?.writes.filter(({ type }) => type === 'ran').length ?? 0;
    expect(ran).toBeGreaterThan(50);
    expect(ran).toBeLessThan(300);
    expect(group?.writes.at(ran)).toMatchObject({ type: 'left-out', bytes: expect.any(Number) as unknown });
    expect(bench.outboxRows).toBeLessThanOrEqual(4 * 300);
    await group?.commit(at(1));
    expect(cluster.shell('a', 'SELECT count(*) FROM t')).toBe(String(ran));
  });

  it.each([
    ['plain rows', PLAIN],
    ['rows that a trigger changes again', GAPS],
  ])('seals asynchronous writes of %s without reading those behind them again', async (_, ddl) => {
    const bench = new Bench();
    const store = await bench.store(ddl);
    const outcomes = await store.write(bench.writes(300, put));
    expect(outcomes.every(({ type }) => type === 'committed')).toBe(true);
    expect(bench.outboxRows).toBeLessThanOrEqual(2 * 300);
    await cluster.join('b');
    await cluster.synchronize();
    expect(cluster.shell('b', 'SELECT count(*), sum(id), sum(d) FROM t')).toBe('300|44850|44850');
  });
});

describe('how long a group runs', () => {
  const kinds = async (
    store: TestStore,
    how: 'prepare' | 'write',
    requests: readonly WriteRequest<SqliteTransaction>[],
  ): Promise<string[]> => {
    if (how === 'write')
      return (await store.write(requests)).map(({ type }) => type.replace('committed', 'ran'));
    const group = await store.prepare(requests, OPTIONS);
    await group?.commit(
      ...(group.message === undefined ? [] : ([at(store.state().position.seq + 1)] as const)),
    );
    return group?.writes.map(({ type }) => type) ?? [];
  };

  it.each(['prepare', 'write'] as const)(
    '%s: leaves writes to the next group once time is up',
    async (how) => {
      const bench = new Bench();
      const store = await bench.store(PLAIN);
      const requests = bench.writes(10, put, 15);
      const left = Array<string>(6).fill('left-out');
      expect(await kinds(store, how, requests)).toEqual(['ran', 'ran', 'ran', 'ran', ...left]);
      expect(bench.runs).toEqual([0, 1, 2, 3]);
      expect(await kinds(store, how, requests.slice(4))).toEqual([
        'ran',
        'ran',
        'ran',
        'ran',
        ...left.slice(4),
      ]);
      expect(await kinds(store, how, requests.slice(8))).toEqual(['ran', 'ran']);
      expect(bench.runs).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      expect(cluster.shell('a', 'SELECT count(*) FROM t')).toBe('10');
    },
  );

  it.each(['prepare', 'write'] as const)('%s: runs one that takes longer than that', async (how) => {
    const bench = new Bench();
    const store = await bench.store(PLAIN);
    const requests = bench.writes(3, put, 5000);
    expect(await kinds(store, how, requests)).toEqual(['ran', 'left-out', 'left-out']);
    expect(bench.runs).toEqual([0]);
  });

  it.each(['prepare', 'write'] as const)('%s: does not count how long the database was busy', async (how) => {
    const bench = new Bench();
    const store = await bench.store(PLAIN);
    const other = PROCESS.openDatabase(cluster.directory.file('a'));
    other.exec('BEGIN IMMEDIATE');
    bench.slept = () => {
      if (bench.nowMs > 1000 && other.inTransaction) other.exec('COMMIT');
    };
    expect(await kinds(store, how, bench.writes(3, put, 15))).toEqual(['ran', 'ran', 'ran']);
    expect(bench.nowMs).toBeGreaterThan(1000);
    other.close();
  });

  it.each([
    ['prepare', 'a write that fails', 'INSERT INTO t (id) VALUES (1)'],
    ['write', 'a write that fails', 'INSERT INTO t (id) VALUES (1)'],
    ['prepare', 'one that rolls everything back', 'INSERT OR ROLLBACK INTO t (id) VALUES (1)'],
    ['write', 'one that rolls everything back', 'INSERT OR ROLLBACK INTO t (id) VALUES (1)'],
  ] as const)('%s: begins no other one when it runs again for %s', async (how, _, failing) => {
    const bench = new Bench();
    const store = await bench.store(PLAIN);
    const requests = bench.writes(9, (tx, id) => (id === 2 ? tx.run(failing) : put(tx, id)), 20);
    const left = Array<string>(6).fill('left-out');
    expect(await kinds(store, how, requests)).toEqual(['ran', 'ran', 'rejected', ...left]);
    expect(Math.max(...bench.runs)).toBe(2);
    expect(bench.runs.length).toBeLessThanOrEqual(2 * 3 + 2);
    expect(cluster.shell('a', 'SELECT id FROM t')).toBe('0\n1');
  });

  it.each(['prepare', 'write'] as const)(
    '%s: takes no more time for many that roll everything back',
    async (how) => {
      const bench = new Bench();
      const store = await bench.store(PLAIN);
      const failing = 'INSERT OR ROLLBACK INTO t (id) VALUES (0)';
      const requests = bench.writes(64, (tx, id) => (id % 2 === 1 ? tx.run(failing) : put(tx, id)), 1);
      const outcomes = await kinds(store, how, requests);
      const ended = outcomes.findIndex((type) => type === 'left-out');
      expect(ended).toBeGreaterThan(2);
      expect(outcomes.slice(ended).every((type) => type === 'left-out')).toBe(true);
      expect(bench.runs.length).toBeLessThanOrEqual(50 + 2 * ended);
    },
  );
});
