import { afterEach, describe, expect, it } from 'vitest';
import { ClusterFixture, count } from '../testing/cluster-fixture.js';
import { eventually } from '@antiphon/testing';

let fixture: ClusterFixture | undefined;
afterEach(async () => {
  await fixture?.[Symbol.asyncDispose]();
  fixture = undefined;
});

const ABSENT = { topology: undefined } as never;
const TABLE = 'CREATE TABLE item (id INTEGER PRIMARY KEY, n INTEGER)';

async function start(): Promise<ClusterFixture> {
  fixture = await ClusterFixture.start();
  fixture.sql('a', `${TABLE}; INSERT INTO item VALUES (1, 0)`);
  return fixture;
}

describe('without a topology', () => {
  it('the replica that creates the cluster is its primary, and the others follow it', async () => {
    const cluster = await start();
    const [b, a] = await Promise.all([cluster.replica('b', ABSENT), cluster.replica('a', ABSENT)]);
    expect([a, b].map((replica) => replica.status().role)).toEqual(['primary', 'replica']);
    for (const replica of [a, b])
      expect(replica.status().topology).toEqual({ mode: 'primary-replica', primary: 'a' });
    await a.execute([{ sql: 'UPDATE item SET n = n + 1' }]);
    await eventually('b has the update', async () => {
      const [row] = await b.query('SELECT n FROM item');
      return Number(row?.['n']) === 1;
    });
    await expect(b.execute([{ sql: 'UPDATE item SET n = n + 1' }])).rejects.toMatchObject({
      code: 'NOT_WRITABLE',
      message: /\ba\b/,
    });
    expect(() => cluster.sql('b', 'UPDATE item SET n = 9')).toThrow(/primary/);
  });

  it('keeps the roles through restarts, in whatever order', async () => {
    const cluster = await start();
    const a = await cluster.replica('a', ABSENT);
    const b = await cluster.replica('b', ABSENT);
    await Promise.all([a.close(), b.close()]);
    const second = await cluster.replica('b', ABSENT);
    expect(second.status().role).toBe('replica');
    const first = await cluster.replica('a', ABSENT);
    expect(first.status().role).toBe('primary');
    await first.execute([{ sql: 'INSERT INTO item (n) VALUES (2)' }]);
    await eventually('b has the row', async () => (await count(second, 'item')) === 2);
  });

  it('takes what a multi-primary cluster has agreed on', async () => {
    const cluster = await start();
    const a = await cluster.replica('a', { topology: { mode: 'multi-primary' } });
    const b = await cluster.replica('b', ABSENT);
    expect([a, b].map((replica) => replica.status().role)).toEqual(['peer', 'peer']);
    await b.execute([{ sql: 'INSERT INTO item VALUES (7, 7)' }]);
    await eventually('a has the row', async () => (await count(a, 'item')) === 2);
  });

  it('is one of synchronous writes as well', async () => {
    const cluster = await start();
    const sync = { update: { mode: 'sync', acks: 'all' } } as const;
    const a = await cluster.replica('a', { ...sync, ...(ABSENT as object) });
    const b = await cluster.replica('b', { ...sync, ...(ABSENT as object) });
    const done = await a.execute([{ sql: 'UPDATE item SET n = n + 1' }]);
    expect(done.acks?.by).toEqual(['a', 'b']);
    expect(b.status().role).toBe('replica');
  });

  it('refuses an explicit one that differs from the agreed one', async () => {
    const cluster = await start();
    await cluster.replica('a', ABSENT);
    await expect(cluster.replica('b', { topology: { mode: 'multi-primary' } })).rejects.toMatchObject({
      code: 'CLUSTER_MISMATCH',
      message: /topology: here multi-primary, the cluster has primary-replica with primary a/,
    });
    await expect(
      cluster.replica('b', { topology: { mode: 'primary-replica', primary: 'b' } }),
    ).rejects.toMatchObject({ code: 'CLUSTER_MISMATCH' });
    const b = await cluster.replica('b', { topology: { mode: 'primary-replica', primary: 'a' } });
    expect(b.status().role).toBe('replica');
  });
});
