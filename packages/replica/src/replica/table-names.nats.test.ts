import { systemClock } from '@antiphon/core';
import { expect, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';
import { verifyCluster } from '../service/verify.js';

it('tables and triggers are named without regard to case, as in SQL, wherever they are named', async () => {
  await using cluster = await ClusterFixture.start();
  cluster.sql(
    'a',
    `CREATE TABLE Orders (id INTEGER PRIMARY KEY, v); CREATE TABLE audit (line);
     CREATE TRIGGER Auditing AFTER INSERT ON Orders BEGIN INSERT INTO audit VALUES (NEW.id); END;`,
  );
  const options = { tables: ['ORDERS'], localTriggers: ['auditing'] };
  const a = await cluster.replica('a', options);
  const b = await cluster.replica('b', { tables: ['orders'] });
  await a.execute([{ sql: 'INSERT INTO orders VALUES (1, 1)' }]);
  await b.caughtUp();
  for await (const change of b.changes({ tables: ['oRDERS'], from: 'beginning' })) {
    expect(change.table).toBe('Orders');
    break;
  }
  const nats = await cluster.nats();
  const result = await verifyCluster({
    bus: nats.bus(),
    registry: nats.registry(cluster.cluster),
    clock: systemClock(),
    cluster: cluster.cluster,
    tables: ['orders'],
  });
  expect(result).toMatchObject({ outcome: 'equal', reports: { a: { tables: [{ table: 'Orders' }] } } });
  expect(await a.recapture('orders')).toMatchObject({ table: 'Orders' });
  expect(() => b.changes({ tables: ['orders_'] })).toThrow(
    expect.objectContaining({ code: 'UNKNOWN_TABLE' }) as Error,
  );
});
