import { DatabaseSync } from 'node:sqlite';
import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';

const OPTIONS = {
  topology: { mode: 'multi-primary' },
  update: { mode: 'sync', acks: 'majority' },
  limits: { beatMs: 100, inSyncLagMs: 500 },
} as const;

/** As an operator might, or a limit of the account: nothing can be written to it any more. */
async function sealRegistry(cluster: ClusterFixture): Promise<void> {
  const { connection } = await cluster.nats();
  const stream = `KV_ANTIPHON_${cluster.cluster}`;
  const manager = await connection.jetstreamManager();
  const { config } = await manager.streams.info(stream);
  const sealed = JSON.stringify({ ...config, sealed: true });
  await connection.request(`$JS.API.STREAM.UPDATE.${stream}`, sealed);
}

it('a registry that takes nothing any more costs an alarm, and neither a process nor the beats', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
  const a = await cluster.replica('a', OPTIONS);
  const b = await cluster.replica('b', OPTIONS);
  await cluster.replica('c', OPTIONS);
  const inSync = (): number | undefined => b.status().sync?.inSync.length;
  await eventually('all are in sync', () => inSync() === 3);
  await sealRegistry(cluster);
  const rejections: unknown[] = [];
  const onRejection = (reason: unknown): void => void rejections.push(reason);
  process.on('unhandledRejection', onRejection);
  try {
    using locked = new DatabaseSync(cluster.file('a'), { timeout: 0 });
    locked.exec('BEGIN IMMEDIATE');
    await b.execute([{ sql: 'INSERT INTO t VALUES (0, 1)' }]);
    await eventually('a is out', () => inSync() === 2, 20_000);
    locked.exec('ROLLBACK');
    await eventually('a is back', () => inSync() === 3, 20_000);
    const alarms = (): readonly { name: string; message: string }[] =>
      [a, b].flatMap((one) => one.status().alarms);
    await eventually('somebody says so', () => alarms().some(({ name }) => name === 'in-sync-set'));
    expect(alarms().find(({ name }) => name === 'in-sync-set')?.message).toMatch(/sealed/);
    for (let id = 1; id <= 20; id++) await b.execute([{ sql: 'INSERT INTO t VALUES (?, 1)', params: [id] }]);
    await eventually('what all have is forgotten', () => b.status().outbox.messages === 0, 20_000);
  } finally {
    process.off('unhandledRejection', onRejection);
  }
  expect(rejections).toEqual([]);
});
