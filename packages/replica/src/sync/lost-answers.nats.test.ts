import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { DatabaseSync } from 'node:sqlite';
import {
  AntiphonError,
  type Bus,
  type Store,
  systemClock,
  type Topology,
  UnknownOutcomeError,
} from '@antiphon/core';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { describe, expect, it } from 'vitest';
import { startReplica } from '../start/start.js';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';
import { flakyLog, type Flakiness } from '../testing/flaky-log.js';
import { seeded } from '../testing/seeded.js';

const TOPOLOGIES: readonly Topology[] = [
  { mode: 'primary-replica', primary: 'a' },
  { mode: 'multi-primary' },
];

const shell = promisify(execFile);

async function start(
  cluster: ClusterFixture,
  topology: Topology,
  flakiness: Flakiness,
  seed: number,
  foreignWrites: 'refuse' | 'async' = 'refuse',
  wrapBus: (bus: Bus) => Bus = (bus) => bus,
  wrapStore: (store: Store<SqliteTransaction>) => Store<SqliteTransaction> = (store) => store,
): Promise<readonly SqliteReplica[]> {
  cluster.sql('a', 'CREATE TABLE items (id TEXT PRIMARY KEY, n INTEGER)');
  const replicas: SqliteReplica[] = [];
  for (const [index, id] of ['a', 'b', 'c'].entries()) {
    const nats = await cluster.nats();
    const replica = await startReplica({
      cluster: cluster.cluster,
      id,
      store: wrapStore(sqlite({ file: cluster.file(id) })),
      topology,
      update: { mode: 'sync', acks: 'majority', minInSync: 2, foreignWrites },
      log: flakyLog(nats.log(cluster.cluster), flakiness, seeded(seed + index)),
      bus: wrapBus(nats.bus()),
      registry: nats.registry(cluster.cluster),
      clock: systemClock(),
    });
    replicas.push(replica);
  }
  return replicas;
}

it('I3: what comes out of the log, since its append had no answer, is kept for a member that is away', async () => {
  await using cluster = await ClusterFixture.start();
  const flakiness: Flakiness = { lost: 0, silent: 0, refused: 0 };
  const [a, , c] = await start(cluster, { mode: 'primary-replica', primary: 'a' }, flakiness, 5);
  await a?.execute([{ sql: "INSERT INTO items VALUES ('before', 1)" }], { acks: 'all' });
  await c?.close();
  Object.assign(flakiness, { silent: 0.3 });
  for (let n = 0; n < 30; n++)
    await a?.execute([{ sql: 'INSERT INTO items VALUES (?, 1)', params: [`item ${n}`] }]);
  Object.assign(flakiness, { silent: 0 });
  const sql = 'SELECT first_counter, last_counter FROM _antiphon_sealed ORDER BY id';
  const { stdout } = await shell('sqlite3', ['-cmd', '.timeout 5000', cluster.file('a'), sql]);
  const ranges = stdout
    .trim()
    .split('\n')
    .map((line) => line.split('|').map(Number));
  const kept = ranges.flatMap(([first = 0, last = 0]) =>
    Array.from({ length: last - first + 1 }, (_, index) => first + index),
  );
  expect(kept.slice(-30)).toEqual(Array.from({ length: 30 }, (_, index) => 2 + index));
});

describe.each(TOPOLOGIES)('answers that are lost, %j', (topology) => {
  it.each([1, 2, 3])('I8: every outcome is the truth, and nothing happens twice (seed %i)', async (seed) => {
    await using cluster = await ClusterFixture.start();
    const flakiness: Flakiness = { lost: 0, silent: 0, refused: 0 };
    const replicas = await start(cluster, topology, flakiness, seed);
    Object.assign(flakiness, { lost: 0.1, silent: 0.1, refused: 0.1 });
    const writers = topology.mode === 'multi-primary' ? replicas : replicas.slice(0, 1);
    const random = seeded(seed * 7);
    const committed = new Set<string>();
    const rejected = new Set<string>();
    const unknown = new Map<string, string>();
    const write = async (replica: SqliteReplica, id: string): Promise<void> => {
      try {
        // A plain insert: run twice, it would fail.
        const statement = { sql: 'INSERT INTO items VALUES (?, ?)', params: [id, 1] };
        await replica.execute([statement], { timeoutMs: random() < 0.3 ? 5 : 5000 });
        committed.add(id);
      } catch (error) {
        if (error instanceof UnknownOutcomeError) unknown.set(id, error.id);
        else if (error instanceof AntiphonError) rejected.add(`${id} ${error.code}`);
        else throw error;
      }
    };
    for (let round = 0; round < 40; round++) {
      await Promise.all(
        writers.flatMap((replica) =>
          [0, 1, 2].map((lane) => write(replica, `${replica.id}-${round}-${lane}`)),
        ),
      );
    }
    Object.assign(flakiness, { lost: 0, silent: 0, refused: 0 });
    await eventually('nothing is under way', () =>
      writers.every((replica) => {
        const { waiting, inFlight, unacknowledged } = replica.status().sync ?? {};
        return waiting === 0 && inFlight === 0 && unacknowledged === 0;
      }),
    );
    expect([...rejected].filter((reason) => !/TIMEOUT|LOG_UNAVAILABLE/.test(reason))).toEqual([]);
    for (const [id, outcomeId] of unknown) {
      const origin = replicas.find((replica) => outcomeId.startsWith(`${replica.id}:`));
      const told = await origin?.outcome(outcomeId);
      expect(told?.outcome).not.toBe('unknown');
      const elsewhere = await Promise.all(replicas.map((replica) => replica.outcome(outcomeId)));
      expect(elsewhere.map(({ outcome }) => outcome)).toEqual(Array(3).fill(told?.outcome));
      if (told?.outcome === 'committed') committed.add(id);
    }
    expect(unknown.size + rejected.size).toBeGreaterThan(0);
    await Promise.all(replicas.map((replica) => replica.caughtUp()));
    for (const replica of replicas) {
      const ids = (await replica.query('SELECT id FROM items')).map(({ id }) => String(id));
      expect(ids.sort()).toEqual([...committed].sort());
    }
  });

  it('I6: members whose acknowledgements are lost are asked directly', async () => {
    await using cluster = await ClusterFixture.start();
    let lost = 0;
    const deaf = (bus: Bus): Bus => ({
      publish: (subject, data) => {
        if (subject.includes('.ack.')) lost++;
        else bus.publish(subject, data);
      },
      request: (subject, data, options) => bus.request(subject, data, options),
      subscribe: (subject, handler, options) => bus.subscribe(subject, handler, options),
    });
    const [a] = await start(cluster, topology, { lost: 0, silent: 0, refused: 0 }, 1, 'refuse', deaf);
    const result = await a?.execute([{ sql: "INSERT INTO items VALUES ('x', 1)" }], { acks: 'all' });
    expect(result?.acks).toMatchObject({ by: ['a', 'b', 'c'], missing: [], reached: true });
    expect(lost).toBeGreaterThan(0);
  });

  it('I2, I3: writes of other programs keep their place beside lost answers', async () => {
    await using cluster = await ClusterFixture.start();
    const flakiness: Flakiness = { lost: 0, silent: 0, refused: 0 };
    const replicas = await start(cluster, topology, flakiness, 5, 'async');
    Object.assign(flakiness, { lost: 0.2, silent: 0.2, refused: 0.1 });
    const [a] = replicas;
    if (a === undefined) throw new Error('no replica');
    for (let n = 0; n < 30; n++) {
      // Another process, while the replica may hold the database's lock and wait for the log.
      await shell('sqlite3', [
        '-cmd',
        '.timeout 10000',
        cluster.file('a'),
        `INSERT INTO items VALUES ('outside-${n}', 0)`,
      ]);
      await a
        .execute([{ sql: 'INSERT INTO items VALUES (?, 1)', params: [`inside-${n}`] }], { timeoutMs: 200 })
        .catch(() => undefined);
    }
    Object.assign(flakiness, { lost: 0, silent: 0, refused: 0 });
    await eventually('all are equal', async () => {
      const rows = await Promise.all(replicas.map((replica) => rowsOf(replica, 'items')));
      return (
        rows.every((one) => one === rows[0]) &&
        a.status().outbox.unpublished === 0 &&
        a.status().sync?.inFlight === 0
      );
    });
    const [row] = await a.query("SELECT count(*) AS n FROM items WHERE id LIKE 'outside%'");
    expect(row?.['n']).toBe(30n);
    expect(replicas.map((replica) => replica.status().lifecycle)).not.toContain('stalled');
  });

  it('I2, I3: what other programs commit in the last moment is not numbered while nobody knows which number is free', async () => {
    await using cluster = await ClusterFixture.start();
    const flakiness: Flakiness = { lost: 0, silent: 0, refused: 0 };
    let outside = 0;
    let races = false;
    const raced = (store: Store<SqliteTransaction>): Store<SqliteTransaction> => {
      const apply = store.apply.bind(store);
      return Object.assign(store, {
        apply: (request: Parameters<typeof apply>[0]) => {
          // The replica has just found nothing to seal.
          if (races) other.exec(`INSERT INTO items VALUES ('outside-${outside++}', 0)`);
          return apply(request);
        },
      });
    };
    let first = true;
    const onlyFirst = (store: Store<SqliteTransaction>): Store<SqliteTransaction> => {
      const wrapped = first ? raced(store) : store;
      first = false;
      return wrapped;
    };
    const replicas = await start(cluster, topology, flakiness, 5, 'async', undefined, onlyFirst);
    using other = new DatabaseSync(cluster.file('a'));
    const [a] = replicas;
    if (a === undefined) throw new Error('no replica');
    Object.assign(flakiness, { lost: 0.3, silent: 0.3, refused: 0.1 });
    races = true;
    for (let n = 0; n < 25; n++) {
      await a
        .execute([{ sql: 'INSERT INTO items VALUES (?, 1)', params: [`inside-${n}`] }], { timeoutMs: 200 })
        .catch(() => undefined);
    }
    races = false;
    Object.assign(flakiness, { lost: 0, silent: 0, refused: 0 });
    await eventually('all are equal', async () => {
      const rows = await Promise.all(replicas.map((replica) => rowsOf(replica, 'items')));
      return rows.every((one) => one === rows[0]) && a.status().outbox.unpublished === 0;
    });
    const [row] = await a.query("SELECT count(*) AS n FROM items WHERE id LIKE 'outside%'");
    expect(row?.['n']).toBe(BigInt(outside));
    expect(outside).toBeGreaterThan(0);
    expect(replicas.map((replica) => replica.status().lifecycle)).not.toContain('stalled');
  });
});
