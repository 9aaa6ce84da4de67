import { copyFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError, type Log, type LogReader, systemClock } from '@antiphon/core';
import { sqlite } from '@antiphon/sqlite';
import { describe, expect, it } from 'vitest';
import { startReplica } from '../start/start.js';
import { ClusterFixture, count, type SqliteReplica } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';
import { createKv, put } from '../testing/kv.js';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);';
/** A machine that runs other tests as well may take so long to fire a timer. */
const LATE_MS = 250;

/** How it ended, and after how many milliseconds. */
async function timed(work: Promise<unknown>): Promise<{ readonly code: string; readonly ms: number }> {
  const startMs = performance.now();
  const code = await work.then(
    () => 'done',
    (error: unknown) => (error instanceof AntiphonError ? error.code : String(error)),
  );
  return { code, ms: performance.now() - startMs };
}

async function syncPair(cluster: ClusterFixture): Promise<readonly [SqliteReplica, SqliteReplica]> {
  cluster.sql('a', SCHEMA);
  const options = { update: { mode: 'sync' } } as const;
  const a = await cluster.replica('a', options);
  return [a, await cluster.replica('b', options)];
}

describe('with a NATS server that stands still', () => {
  it('I12: strong reads, caughtUp and outcome keep their time limit and their signal', async () => {
    await using cluster = await ClusterFixture.start();
    const [a] = await syncPair(cluster);
    const { id } = await a.execute([{ sql: "INSERT INTO t VALUES (1, 'x')" }]);
    if (id === undefined) throw new Error('the write has no id');
    const later = `${id.origin}:${id.counter + 5}`;
    await cluster.server.pause();
    const calls: readonly ((options: { timeoutMs?: number; signal?: AbortSignal }) => Promise<unknown>)[] = [
      (options) => a.query('SELECT 1', [], { consistency: 'strong', ...options }),
      (options) => a.caughtUp(options),
      (options) => a.outcome(later, options),
    ];
    for (const call of calls) {
      const late = await timed(call({ timeoutMs: 300 }));
      expect(late).toMatchObject({ code: expect.stringMatching(/TIMEOUT|LOG_UNAVAILABLE/) });
      expect(late.ms).toBeLessThan(300 + LATE_MS);
      const aborted = await timed(call({ timeoutMs: 20_000, signal: AbortSignal.timeout(200) }));
      expect(aborted).toMatchObject({ code: expect.stringMatching(/ABORTED|LOG_UNAVAILABLE/) });
      expect(aborted.ms).toBeLessThan(200 + LATE_MS);
    }
    cluster.server.resume();
    const [row] = await a.query('SELECT v FROM t', [], { consistency: 'strong', timeoutMs: 15_000 });
    expect(row).toEqual({ v: 'x' });
  });

  it('a synchronous write that is alone says that NATS does not answer', async () => {
    await using cluster = await ClusterFixture.start();
    const [a] = await syncPair(cluster);
    await cluster.server.pause();
    const insert = (id: number): Promise<unknown> =>
      a
        .execute([{ sql: 'INSERT INTO t VALUES (?, 1)', params: [id] }], { timeoutMs: 600 })
        .catch((error: unknown) => error);
    const first = await insert(1);
    // While the log is asked what became of the first one.
    const second = await insert(2);
    for (const error of [first, second]) {
      expect(error).toMatchObject({ code: expect.stringMatching(/TIMEOUT|LOG_UNAVAILABLE|OUTCOME_UNKNOWN/) });
      expect((error as AntiphonError).message).toMatch(/NATS|The log did not answer/);
      expect((error as AntiphonError).message).not.toMatch(/other writes/);
    }
    cluster.server.resume();
  });

  it('a synchronous write that waits for another program says so', async () => {
    await using cluster = await ClusterFixture.start();
    const [a] = await syncPair(cluster);
    using other = new DatabaseSync(cluster.file('a'));
    other.exec('BEGIN IMMEDIATE');
    const error = await a
      .execute([{ sql: "INSERT INTO t VALUES (1, 'x')" }], { timeoutMs: 400 })
      .catch((thrown: unknown) => thrown);
    other.exec('ROLLBACK');
    expect(error).toMatchObject({
      message: expect.stringMatching(/busy|locked/),
      code: expect.stringMatching(/TIMEOUT|STORE_BUSY/),
    });
  });

  it('closing is bounded, and settles everything that was under way', async () => {
    await using cluster = await ClusterFixture.start();
    const [a] = await syncPair(cluster);
    const changes = a.changes();
    const following = changes.next();
    await a.execute([{ sql: "INSERT INTO t VALUES (1, 'x')" }]);
    await following;
    await cluster.server.pause();
    const waiting = [
      a.caughtUp(),
      a.query('SELECT 1', [], { consistency: 'strong', timeoutMs: 60_000 }),
      a.execute([{ sql: "INSERT INTO t VALUES (2, 'y')" }], { timeoutMs: 60_000 }),
      changes.next(),
      a.outcome('a:99', { timeoutMs: 60_000 }),
    ];
    const settled = Promise.allSettled(waiting);
    await sleep(200);
    const closing = await timed(a.close());
    expect(closing).toMatchObject({ code: 'done' });
    expect(closing.ms).toBeLessThan(5000 + LATE_MS);
    expect(await Promise.race([settled, sleep(LATE_MS, 'still waiting')])).toHaveLength(waiting.length);
    cluster.server.resume();
  });
});

/** A log whose readers take their time: each page comes in, and long after the last one. */
function slowLog(log: Log, delayMs: number): Log {
  const slowed = (reader: LogReader): LogReader => ({
    next: async (limits) => {
      await sleep(delayMs);
      return reader.next(limits);
    },
    ack: (seq) => reader.ack(seq),
    close: () => reader.close(),
  });
  return new Proxy(log, {
    get: (target, name) => {
      if (name === 'read')
        return async (options: Parameters<Log['read']>[0]) => slowed(await log.read(options));
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** With nobody's transactions, a thousand at a time. */
async function makeLong(log: Log, entries: number): Promise<void> {
  for (let n = 0; n < entries;) {
    const upTo = n + 1000;
    const stored: Promise<void>[] = [];
    for (; n < upTo; n++) {
      const request = { origin: '_noise', id: `noise-${n}`, data: new Uint8Array([0xc0]) };
      stored.push(
        new Promise((resolve, reject) =>
          log.append(request, (result) => (result.type === 'stored' ? resolve() : reject(result.error))),
        ),
      );
    }
    await Promise.all(stored);
  }
}

describe('a database that was restored from an old backup', () => {
  it.each([{ mode: 'async' }, { mode: 'sync', acks: 'local', minInSync: 1 }] as const)(
    'starts however long the log is, update %j: only silence counts',
    async (update) => {
      await using cluster = await ClusterFixture.start();
      cluster.sql('a', SCHEMA);
      const first = await cluster.replica('a', { update });
      await first.close();
      copyFileSync(cluster.file('a'), cluster.file('backup'));
      const nats = await cluster.nats();
      const log = nats.log(cluster.cluster);
      await log.open({ create: false });
      await makeLong(log, 10_000);
      const second = await cluster.replica('a', { update });
      for (let id = 1; id <= 5; id++) await second.execute([{ sql: `INSERT INTO t VALUES (${id}, 'v')` }]);
      await second.close();

      const delayMs = 150;
      const ports = {
        log: slowLog(log, delayMs),
        bus: nats.bus(),
        registry: nats.registry(cluster.cluster),
        clock: systemClock(),
      };
      const startMs = performance.now();
      const restored = await startReplica({
        ...{ cluster: cluster.cluster, id: 'a', topology: { mode: 'multi-primary' }, update, ...ports },
        store: sqlite({ file: cluster.file('backup') }),
        limits: { connectTimeoutMs: 1000 },
      });
      try {
        expect(performance.now() - startMs).toBeGreaterThan(1000);
        expect(await count(restored, 't')).toBe(5);
        await restored.execute([{ sql: "INSERT INTO t VALUES (6, 'after')" }]);
        expect(restored.status().vector['a']).toBeGreaterThanOrEqual(6);
      } finally {
        await restored.close();
      }
    },
  );
});

it('I13: closes while nobody can tell whether the log is the same', async () => {
  await using cluster = await ClusterFixture.start();
  createKv(cluster, 'a');
  let isAway = false;
  const wrapLog = (log: Log): Log =>
    new Proxy(log, {
      get: (target, name: keyof Log) => {
        if (name === 'identity' && isAway)
          return () => Promise.reject(new AntiphonError('LOG_UNAVAILABLE', 'no answer', { retriable: true }));
        const value: unknown = target[name];
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      },
    });
  const a = await cluster.replicaWith({ log: wrapLog }, 'a');
  await put(a, 'k', 'v');
  await a.caughtUp();
  isAway = true;
  // It looks at the log anew.
  await cluster.server.kill();
  await cluster.server.restart();
  await eventually('it is in doubt', () => a.status().alarms.some(({ name }) => name === 'log'), 10_000);
  await a.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
});
