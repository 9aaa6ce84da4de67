import { eventually } from '@antiphon/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { connect, type NatsConnection } from 'nats';
import { ChaosCluster, pause } from './cluster.js';

let cluster: ChaosCluster | undefined;
let operator: NatsConnection | undefined;
afterEach(async () => {
  await operator?.close();
  await cluster?.close();
  cluster = undefined;
});

async function untilLifecycle(index: number, lifecycle: string): Promise<Record<string, unknown>> {
  let status: Record<string, unknown> = {};
  const reached = async (): Promise<boolean> => {
    status = (await cluster?.at(index).status())?.status ?? {};
    return status['lifecycle'] === lifecycle;
  };
  await eventually(`replica ${index} is ${lifecycle}`, reached, { seen: () => status });
  return status;
}

describe('somebody changes the stream behind the replicas', () => {
  it('I14: deleted and recreated: every replica stops, says so and loses nothing', async () => {
    cluster = await ChaosCluster.start(['a', 'b', 'c'], { mode: 'multi-primary' });
    operator = await connect({ servers: cluster.server.url });
    for (const replica of cluster.replicas) replica.load(1, 5);
    await pause(500);
    const manager = await operator.jetstreamManager();
    const { config } = await manager.streams.info('ANTIPHON_chaos');
    await manager.streams.delete('ANTIPHON_chaos');
    await manager.streams.add(config);
    for (const index of [0, 1, 2]) {
      const status = await untilLifecycle(index, 'stalled');
      expect(JSON.stringify(status)).toContain('LOG_REPLACED');
    }
    const committed = cluster.journal().committed.length;
    await pause(300);
    expect(cluster.journal().committed.length, 'local writes go on into the outbox').toBeGreaterThan(
      committed,
    );
    await Promise.all(cluster.replicas.map((replica) => replica.idle()));
    const info = await manager.streams.info('ANTIPHON_chaos');
    expect(info.state.messages, 'nothing was published into the other stream for long').toBeLessThan(200);
    for (const [index, replica] of cluster.replicas.entries()) {
      const own = cluster.journal().committed.filter(({ origin }) => origin === replica.config.id);
      const ids = new Set(
        (JSON.parse(cluster.read('SELECT id FROM orders')[index] as string) as [string][]).flat(),
      );
      expect(own.filter(({ id }) => !ids.has(id))).toEqual([]);
      expect(replica.running).toBe(true);
    }
  });

  it('I2: a durable consumer deleted from outside is made again where the database stands', async () => {
    cluster = await ChaosCluster.start(['a', 'b'], { mode: 'multi-primary' });
    operator = await connect({ servers: cluster.server.url });
    for (const replica of cluster.replicas) replica.load(1, 2);
    const manager = await operator.jetstreamManager();
    for (let round = 0; round < 3; round++) {
      await pause(300);
      await manager.consumers.delete('ANTIPHON_chaos', 'replica_b').catch(stillWritten);
    }
    await pause(500);
    await Promise.all(cluster.replicas.map((replica) => replica.idle()));
    await cluster.converged();
    await pause(500);
    expect((await manager.consumers.info('ANTIPHON_chaos', 'replica_b')).name).toBe('replica_b');
  });
});

/** nats-server says so when it writes the state of the consumer that it is deleting. */
function stillWritten(error: unknown): void {
  if (!/directory not empty/.test(String(error))) throw error;
}
