import { describe, expect, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';

// What it does on three servers: test/examples/nats-cluster.e2e.test.ts.
describe('streamReplicas', () => {
  it('on a server that stands alone is refused, with what to do, and makes nothing', async () => {
    await using cluster = await ClusterFixture.start();
    cluster.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
    await expect(cluster.replica('a', { streamReplicas: 3 })).rejects.toMatchObject({
      code: 'LOG_REFUSED',
      message: expect.stringMatching(/non-clustered.*Leave `streamReplicas` out/) as string,
    });
    const replica = await cluster.replica('a', { streamReplicas: 1 });
    expect(replica.status().lifecycle).toBe('following');
  });

  it('of another number is refused', async () => {
    await using cluster = await ClusterFixture.start();
    await expect(cluster.replica('a', { streamReplicas: 2 as 3 })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringContaining('1, 3 or 5') as string,
    });
  });
});
