import { copyFileSync, rmSync } from 'node:fs';
import {
  encodeBatch,
  type Log,
  type LogEntry,
  summarize,
  type Topology,
  type TransactionBatch,
} from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, count, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';
import { flakyLog } from '../testing/flaky-log.js';
import { createKv, kvOf, put } from '../testing/kv.js';
import { seeded } from '../testing/seeded.js';

const TOPOLOGIES: readonly Topology[] = [
  { mode: 'multi-primary' },
  { mode: 'primary-replica', primary: 'a' },
];

async function insert(replica: SqliteReplica, ...ids: number[]): Promise<void> {
  for (const id of ids)
    await replica.execute([{ sql: 'INSERT INTO t VALUES (?, ?)', params: [BigInt(id), `row ${id}`] }]);
}

describe.each(TOPOLOGIES)('two files under one id, %j', (topology) => {
  it('I2: the one whose numbers the log gave to others is not started, and loses nothing', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'first')");
    const creator = await cluster.replica('a', { topology });
    const b = await cluster.replica('b', { topology });
    await eventually('b has the first row', async () => (await count(b, 't')) === 1);
    await eventually('a knows it', () => creator.status().outbox.unpublished === 0);
    await creator.close();
    copyFileSync(cluster.file('a'), cluster.file('backup'));

    const first = await cluster.replica('a', { topology });
    await cluster.server.stop();
    await insert(first, 10, 11, 12);
    expect(first.status().outbox.unpublished).toBe(3);
    await first.close();
    await cluster.restartServer();
    const second = await cluster.replica('a', { topology, file: cluster.file('backup') });
    await insert(second, 20, 21);
    await eventually('b has what the second one wrote', async () => (await count(b, 't')) === 3);
    await second.close();

    const log = (await cluster.nats()).log('shop');
    const { lastSeq } = await log.open({ create: false });
    await expect(cluster.replica('a', { topology })).rejects.toMatchObject({
      code: 'DUPLICATE_REPLICA',
      message: expect.stringMatching(/a:2, but not the transaction.*empty file/) as string,
      context: { origin: 'a', counter: 2 },
    });
    expect((await log.identity()).lastSeq).toBe(lastSeq);
    expect(await count(b, 't')).toBe(3);
    copyFileSync(cluster.file('a'), cluster.file('aside'));
    for (const end of ['', '-wal', '-shm']) rmSync(cluster.file('a') + end, { force: true });
    const empty = await cluster.replica('a', { topology });
    await insert(empty, 10, 11, 12);
    await eventually('b has everything', async () => (await count(b, 't')) === 6);
    expect(await rowsOf(b, 't')).toBe(await rowsOf(empty, 't'));
  });

  it('I2: what one of them wrote while the other one ran without the log ends that one', async () => {
    await using cluster = await ClusterFixture.start();
    const flakiness = { lost: 0, silent: 0, refused: 0 };
    const left = createKv(cluster, 'a');
    const options = { topology };
    const flaky = (log: Log) => flakyLog(log, flakiness, seeded(1));
    const a = await cluster.replicaWith({ log: flaky }, 'a', options);
    const right = kvOf(cluster, 'b');
    await cluster.replica('b', options);
    await put(a, 'k', 'before');
    await eventually('b has it', () => right.rows.has('k'));
    await eventually('a knows it', () => a.status().outbox.unpublished === 0);
    flakiness.lost = 1;
    await put(a, 'k', 'of this one');
    const log = (await cluster.nats()).log(cluster.cluster);
    await log.open({ create: false });
    const data = otherAfter(await log.lastOf('a'));
    const stored = await new Promise((settled) =>
      log.append({ origin: 'a', id: 'a:2-2~other', data }, settled),
    );
    expect(stored).toMatchObject({ type: 'stored' });
    expect(await a.ended).toMatchObject({ code: 'DUPLICATE_REPLICA', context: { counter: 2 } });
    expect(left.rows.get('k')).toBe('of this one');
    await eventually('b has what is in the log', () => right.rows.get('k') === 'of another');
  });
});

/** Transaction `a:2` of another file. */
function otherAfter(newest: LogEntry | undefined): Uint8Array {
  const [{ time = 0, schemaVersion = 1 } = {}] = newest === undefined ? [] : summarize(newest.data);
  const batch: TransactionBatch = {
    ...{ kind: 'transactions', origin: 'a', firstCounter: 2, epoch: 0, context: {}, schemaVersion },
    time: time + 1000,
    tables: [{ name: 'kv', columns: ['k', 'v'], key: [0] }],
    transactions: [
      {
        counter: 2,
        time: time + 1000,
        changes: [{ op: 'update', table: 0, row: ['k', 'of another'], changed: [1], before: ['before'] }],
      },
    ],
  };
  return encodeBatch(batch);
}
