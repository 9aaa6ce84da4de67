import { DatabaseSync } from 'node:sqlite';
import type { Log, LogConnection } from '@antiphon/core';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { describe, expect, it } from 'vitest';
import { changed } from '../testing/changed.js';
import { ClusterFixture, count, type SqliteReplica, type StartOptions } from '../testing/cluster-fixture.js';

type Update = NonNullable<StartOptions['update']>;

const UPDATES: readonly Update[] = [{ mode: 'sync', minInSync: 1 }, { mode: 'async' }];

async function alone(cluster: ClusterFixture, update: Update): Promise<SqliteReplica> {
  cluster.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
  return cluster.replica('a', { update, topology: { mode: 'primary-replica', primary: 'a' } });
}

/** As a function does that computes for so long. */
function compute(durationMs: number): void {
  const startMs = performance.now();
  while (performance.now() - startMs < durationMs);
}

describe.each(UPDATES)('many writes at once, %j', (update) => {
  it('that take long: timers have their turns in between, and each runs once, in order', async () => {
    await using cluster = await ClusterFixture.start();
    const a = await alone(cluster, update);
    const ran: number[] = [];
    /** How many had run at each turn of the timer. */
    const turns = new Set<number>();
    const timer = setInterval(() => turns.add(ran.length), 1);
    const writes = Array.from({ length: 40 }, (_, id) =>
      a.transaction((tx: SqliteTransaction) => {
        ran.push(id);
        compute(20);
        tx.run('INSERT INTO t VALUES (?, 1)', [id]);
      }),
    );
    await Promise.all(writes);
    clearInterval(timer);
    expect(ran).toEqual(writes.map((_, id) => id));
    // 800 ms of work, no more than some 50 ms of it in one piece.
    expect([...turns].filter((at) => at > 0 && at < 40).length).toBeGreaterThanOrEqual(5);
    expect(await count(a, 't')).toBe(40);
  });

  it('that take long: what close() leaves is told so, and is not there', async () => {
    await using cluster = await ClusterFixture.start();
    const a = await alone(cluster, update);
    const writes = Array.from({ length: 30 }, (_, id) =>
      a.transaction((tx: SqliteTransaction) => {
        compute(20);
        tx.run('INSERT INTO t VALUES (?, 1)', [id]);
      }),
    );
    const ended = Promise.allSettled(writes);
    await writes[0];
    await a.close();
    const reasons = (await ended).flatMap((one) =>
      one.status === 'rejected' ? [one.reason as unknown] : [],
    );
    for (const reason of reasons)
      expect(reason).toMatchObject({
        code: 'CLOSED',
        message: expect.stringContaining('Nothing was written') as unknown,
      });
    const db = new DatabaseSync(cluster.file('a'), { readOnly: true });
    expect(db.prepare('SELECT count(*) AS n FROM t').get()).toEqual({ n: 30 - reasons.length });
    db.close();
  });

  it('that take long, one of which fails: fails alone', async () => {
    await using cluster = await ClusterFixture.start();
    const a = await alone(cluster, update);
    const writes = Array.from({ length: 12 }, (_, id) =>
      a.transaction((tx: SqliteTransaction) => {
        compute(15);
        if (id % 4 === 3) throw new Error('mine');
        tx.run('INSERT INTO t VALUES (?, 1)', [id]);
      }),
    );
    const ended = await Promise.allSettled(writes);
    expect(ended.map(({ status }) => status === 'rejected')).toEqual(writes.map((_, id) => id % 4 === 3));
    expect(await count(a, 't')).toBe(9);
  });
});

it('large synchronous writes at once: a function runs when the message has room for what it writes', async () => {
  await using cluster = await ClusterFixture.start('shop', { maxPayload: 256 * 1024 });
  const a = await alone(cluster, { mode: 'sync', minInSync: 1 });
  const runs = new Map<number, number>();
  const value = new Uint8Array(100_000).fill(7);
  const writes = Array.from({ length: 40 }, (_, id) =>
    a.transaction((tx: SqliteTransaction) => {
      runs.set(id, (runs.get(id) ?? 0) + 1);
      tx.run('INSERT INTO t VALUES (?, ?)', [id, value]);
    }),
  );
  const results = await Promise.all(writes);
  expect(results.every(({ outcome }) => outcome === 'committed')).toBe(true);
  expect([...runs.values()]).toEqual(writes.map(() => 1));
  expect(await count(a, 't')).toBe(40);
});

it('a synchronous write that costs the connection runs once, also when the log is trusted later', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
  const listeners = new Set<(connection: LogConnection) => void>();
  const become = (connection: LogConnection): void => listeners.forEach((listener) => listener(connection));
  let isNew = false;
  const log = (real: Log): Log =>
    changed(real, {
      onConnection: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
      // What the log is recognised by.
      get: async (seq, signal) => {
        if (isNew) await new Promise((resolve) => setTimeout(resolve, 500));
        return real.get(seq, signal);
      },
    });
  const topology = { mode: 'primary-replica', primary: 'a' } as const;
  const a = await cluster.replicaWith({ log }, 'a', { update: { mode: 'sync', minInSync: 1 }, topology });
  await a.execute([{ sql: 'INSERT INTO t VALUES (0, 1)', params: [] }]);
  let runs = 0;
  const long = (tx: SqliteTransaction): void => {
    tx.run('INSERT INTO t VALUES (1, 1)');
    if (++runs > 1) return;
    compute(2100);
    isNew = true;
    become('disconnected');
    become('connected');
  };
  await a.transaction(long, { timeoutMs: 20_000 });
  expect(runs).toBe(1);
  expect(await count(a, 't')).toBe(2);
});
