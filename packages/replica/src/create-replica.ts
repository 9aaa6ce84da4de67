import { abortError, systemClock } from '@antiphon/core';
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
  const { cluster, id, logger, signal } = options;
  const { connectTimeoutMs } = resolveLimits(options.limits);
  const connecting = connectNats({
    servers,
    name: `antiphon ${cluster} ${id}`,
    connectTimeoutMs,
    onProblem: (problem) => logger?.warn({ err: problem }, problem.message),
  });
  const nats = await wanted(connecting, signal, (late) => late.close());
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

/** The result, or ABORTED as soon as the caller gives up; what comes later is released. */
async function wanted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  release: (late: T) => Promise<void>,
): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      reject(abortError(signal, 'the caller gave up while the replica was connecting'));
      work.then(release).catch(() => undefined);
    };
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
