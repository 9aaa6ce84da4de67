import type { Topology, UpdateOptions } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, rowsOf, type SqliteReplica } from '../testing/cluster-fixture.js';

const SCHEMA = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)';
const SETTINGS: Readonly<
  Record<string, { update: UpdateOptions; topology: Topology; failover?: { mode: 'manual' } }>
> = {
  'one primary, async': {
    update: { mode: 'async' },
    topology: { mode: 'primary-replica', primary: 'a' },
    failover: { mode: 'manual' },
  },
  'one primary, sync': {
    update: { mode: 'sync', acks: 'majority' },
    topology: { mode: 'primary-replica', primary: 'a' },
    failover: { mode: 'manual' },
  },
  'several, async': { update: { mode: 'async' }, topology: { mode: 'multi-primary' } },
  'several, sync': { update: { mode: 'sync', acks: 'majority' }, topology: { mode: 'multi-primary' } },
};

function write(replica: SqliteReplica, id: number): Promise<unknown> {
  return replica.execute([{ sql: 'INSERT INTO t VALUES (?, 0)', params: [id] }]);
}

async function consumers(cluster: ClusterFixture): Promise<readonly string[]> {
  const { connection } = await cluster.nats();
  const names = await (await connection.jetstreamManager()).consumers.list('ANTIPHON_shop').next();
  return names.map(({ name }) => name).filter((name) => name.startsWith('replica_'));
}

describe.each(Object.entries(SETTINGS))('a replica that leaves, %s', (_, settings) => {
  it('I3, I9: leaves nothing behind that counts it, and may come back', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const a = await cluster.replica('a', settings);
    const b = await cluster.replica('b', settings);
    const c = await cluster.replica('c', settings);
    for (let id = 1; id <= 50; id++) await write(a, id);
    const left = await a.leave();
    const handsOver = settings.failover !== undefined;
    expect(left).toEqual({ id: 'a', ...(handsOver && { handedOverTo: 'b' }) });
    expect(await a.ended).toBeUndefined();
    await write(b, 51);
    await eventually('all have it', async () => {
      const [rows, others] = await Promise.all([rowsOf(b, 't'), rowsOf(c, 't')]);
      return rows === others && rows.split('},').length === 51;
    });
    expect(await c.removeMember('a')).toMatchObject({
      members: ['b', 'c'],
    });
    if (settings.update.mode === 'sync') expect(b.status().sync?.known).toEqual(['b', 'c']);
    expect([...(await consumers(cluster))].sort()).toEqual(['replica_b', 'replica_c']);
    const again = await cluster.replica('a', settings);
    await write(again, 52);
    await eventually('it has all', async () => (await rowsOf(again, 't')).split('},').length === 52);
    expect(again.status().rescued).toBe(0);
  }, 30_000);
});

describe('a replica that cannot leave', () => {
  it('says why, and goes on', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', SCHEMA);
    const { failover, ...plain } = SETTINGS['one primary, async'] as { failover: object } & object;
    const a = await cluster.replica('a', plain);
    await expect(a.leave()).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await write(a, 1);
    await using other = await ClusterFixture.start();
    other.sql('a', SCHEMA);
    const alone = await other.replica('a', { ...plain, failover });
    await expect(alone.leave()).rejects.toMatchObject({
      message: expect.stringContaining('no other one can take over') as string,
    });
    await write(alone, 1);
    await alone.close();
    const b = await other.replica('b', { ...plain, failover });
    expect(b.status().members.map(({ id }) => id)).toContain('a');
  });
});
