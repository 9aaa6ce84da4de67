import { verifyCluster } from './index.js';
import { systemClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, count, rowsOf } from './testing/cluster-fixture.js';
import { eventually } from './testing/eventually.js';

const TABLES = 'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, price REAL)';

describe('multi-primary', () => {
  it('I4: three replicas in step, whoever writes, library or not', async () => {
    await using fixture = await ClusterFixture.start();
    fixture.sql('a', `${TABLES}; INSERT INTO items VALUES (1, 'one', 1.5), (2, 'two', NULL)`);
    const a = await fixture.replica('a');
    const [b, c] = await Promise.all([fixture.replica('b'), fixture.replica('c')]);
    await Promise.all([b, c].map((replica) => replica.caughtUp()));
    expect(await rowsOf(b, 'items')).toBe(await rowsOf(a, 'items'));

    const result = await b.transaction((tx) => tx.run('INSERT INTO items VALUES (3, ?, 3)', ['three']).changes);
    expect(result).toMatchObject({ outcome: 'committed', id: { origin: 'b', counter: 1 }, value: 1 });
    const changed = await c.execute([
      { sql: 'UPDATE items SET price = price * 2 WHERE id < ?', params: [10] },
      { sql: 'DELETE FROM items WHERE id = 2' },
    ]);
    expect(changed.value[1]).toBe(1);
    fixture.sql('a', "INSERT INTO items VALUES (4, 'by the shell', 4)");
    await eventually('all three hold the same', async () => {
      const [first, ...others] = await Promise.all([a, b, c].map((replica) => rowsOf(replica, 'items')));
      return (await count(a, 'items')) === 3 && others.every((rows) => rows === first);
    });
    const nats = await fixture.nats();
    const ports = { bus: nats.bus(), registry: nats.registry('shop'), clock: systemClock(), cluster: 'shop' };
    expect(await verifyCluster(ports)).toMatchObject({ outcome: 'equal', absent: [], differences: [] });
  });
});
