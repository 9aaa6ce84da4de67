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
