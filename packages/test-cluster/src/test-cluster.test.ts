import { expect, it } from 'vitest';
import { TestCluster } from './test-cluster.js';
import { clusterCases } from './testing/cluster-cases.js';

clusterCases('memory');

it('says that changes are published to a nats-server', async () => {
  const start = TestCluster.start({
    schema: 'CREATE TABLE orders (id INTEGER PRIMARY KEY)',
    broker: 'memory',
    options: { publish: { subject: 'shop.{table}.{op}' } },
  });
  await expect(start).rejects.toMatchObject({
    code: 'BAD_OPTION',
    message: expect.stringMatching(/`publish` needs a nats-server, .*Give 'nats'/) as string,
  });
});
