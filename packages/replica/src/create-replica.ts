import { systemClock } from '@antiphon/core';
import { resolveLimits } from './limits.js';
import type { ReplicaOptions } from './options.js';
import type { Replica } from './replica.js';
import { startReplica } from './start.js';

export interface CreateReplicaOptions<Tx> extends ReplicaOptions<Tx> {
  /** NATS servers with JetStream, e.g. 'nats://localhost:4222'. */
  readonly servers: string | readonly string[];
}

/**
 * Connects to NATS and starts a replica: everything of the cluster `cluster` goes through it. As `startReplica`, with the
 * real clock; `close` also closes the connection.
 *
 *     await using replica = await createReplica({
 *       cluster: 'shop', id: 'eu-1', servers: 'nats://localhost:4222', store: sqlite({ file: 'shop.db' }),
 *     });
 *     await replica.execute([{ sql: 'UPDATE orders SET state = ? WHERE id = ?', params: ['paid', 7] }]);
 */
export async function createReplica<Tx>(options: CreateReplicaOptions<Tx>): Promise<Replica<Tx>> {
  const { servers, ...rest } = options;
  // Only here: who starts replicas on other ports need not load it.
  const { connectNats } = await import('@antiphon/nats');
  const { cluster, id, logger } = options;
  const { connectTimeoutMs } = resolveLimits(options.limits);
  const nats = await connectNats({
    servers,
    name: `antiphon ${cluster} ${id}`,
    connectTimeoutMs,
    onProblem: (problem) => logger?.warn({ err: problem }, problem.message),
  });
  const release = (): Promise<void> => nats.close();
  try {
    await nats.assertJetStream(options.signal);
    const ports = { log: nats.log(cluster), bus: nats.bus(), registry: nats.registry(cluster) };
    const memory = (): number => process.memoryUsage.rss();
    return await startReplica({ ...rest, ...ports, clock: systemClock(), memory }, release);
  } catch (error) {
    await release();
    throw error;
  }
}
