import { describe, expect, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';

describe('tables that are not replicated, in a synchronous cluster', () => {
  it('I8: keep what was acknowledged, whatever else goes through the log meanwhile', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql(
      'a',
      'CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE mine (id INTEGER PRIMARY KEY)',
    );
    const options = { update: { mode: 'sync', minInSync: 2 }, tables: ['t'] } as const;
    const a = await cluster.replica('a', options);
    const b = await cluster.replica('b', options);
    let id = 0;
    let stop = false;
    const insert = (table: string, key: number) => ({
      sql: `INSERT INTO ${table} (id) VALUES (?)`,
      params: [key],
    });
    const busy = [a, b].map(async (replica) => {
      while (!stop) await replica.execute([insert('t', ++id)], { acks: 'logged' });
    });
    const acknowledged: number[] = [];
    for (let key = 1; key <= 60; key++) {
      const mixed = a.execute([insert('mine', 1000 + key), insert('t', 1_000_000 + key)]);
      const [local, refused] = await Promise.allSettled([a.execute([insert('mine', key)]), mixed]);
      if (local.status === 'fulfilled') acknowledged.push(key);
      expect(refused).toMatchObject({ reason: { code: 'BAD_SQL', context: { table: 'mine' } } });
    }
    stop = true;
    await Promise.all(busy);
    expect(acknowledged).toHaveLength(60);
    const rows = await a.query('SELECT id FROM mine ORDER BY id');
    expect(rows.map((row) => Number(row['id']))).toEqual(acknowledged);
    expect(await b.query('SELECT id FROM t WHERE id > 1000000')).toEqual([]);
  });
});
