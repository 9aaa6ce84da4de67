import { connectNats } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { TestCluster } from './test-cluster.js';
import { clusterCases } from './testing/cluster-cases.js';

clusterCases('nats');

it('publishes what its replicas write, also when the one that published is killed', async () => {
  await using cluster = await TestCluster.start({
    schema: 'CREATE TABLE orders (id INTEGER PRIMARY KEY)',
    options: { publish: { subject: 'shop.{table}.{op}' }, topology: { mode: 'multi-primary' } },
  });
  const nats = await connectNats({ servers: cluster.broker.url ?? '' });
  try {
    const subjects = async (): Promise<readonly string[]> => {
      const messages = [1, 2, 3].map((seq) => nats.api.getMessage('ANTIPHON-CHANGES_test', seq));
      return (await Promise.all(messages)).flatMap((message) => message?.subject ?? []);
    };
    await cluster.replica('r2').execute([{ sql: 'INSERT INTO orders VALUES (1)' }]);
    await eventually('it is published', async () => (await subjects()).length === 1);
    const active = cluster.replicas.find((replica) => replica.status().publishing?.state === 'active');
    await cluster.killReplica(active?.id ?? '');
    await cluster.replicas[0]?.execute([{ sql: 'DELETE FROM orders' }]);
    await eventually('another one publishes', async () => (await subjects()).length === 2);
    expect(await subjects()).toEqual(['shop.orders.insert', 'shop.orders.delete']);
  } finally {
    await nats.close();
  }
});
