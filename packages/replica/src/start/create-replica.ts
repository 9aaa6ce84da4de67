import { setTimeout as delay } from 'node:timers/promises';
import {
  abortError,
  abortReason,
  AntiphonError,
  checkRequired,
  parsePublish,
  type OptionKind,
  type OptionNames,
  type Publication,
  type PublishSettings,
  systemClock,
  withAbortReason,
} from '@antiphon/core';
import type { DenialEvent, NatsAccess, NatsHandle } from '@antiphon/nats';
import { resolveLimits } from '../config/limits.js';
import { guardedLogger, type Logger } from '../config/logger.js';
import { assertStore, REPLICA_OPTIONS, type ReplicaOptions } from '../config/options.js';
import type { Replica } from '../replica/replica.js';
import { startReplica } from './start.js';

/** What the actors send first goes out in turns of its own. */
const SETTLING_ROUNDS = 2;
/** It takes milliseconds; a server that is away again is not waited for. */
const SETTLING_MS = 1000;
const POLL_MS = 5;

/** What a replica is, where NATS with JetStream is, and how to log in there. */
export interface CreateReplicaOptions<Tx> extends ReplicaOptions<Tx>, NatsAccess {
  /**
   * How many servers of a NATS cluster keep each stream of the log and the registry: 1, 3 or 5.
   * Counts where this replica is the first, which creates them; streams that are there stay as they
   * are.
   * @defaultValue 1
   */
  readonly streamReplicas?: 1 | 3 | 5;
}

const ACCESS_OPTIONS: OptionNames<NatsAccess> = {
  ...{ servers: true, user: true, password: true, token: true, nkey: true, creds: true, tls: true },
  inboxPrefix: true,
};
const STREAM_REPLICAS: OptionKind = {
  give: '1, 3 or 5',
  is: (value) => value === 1 || value === 3 || value === 5,
};
const REQUIRED = ['cluster', 'id', 'servers', 'store'];

/**
 * Connects to NATS and starts a replica. Resolves when writes can be called, the first of which
 * may wait for a lease; it may still be behind the log (see `caughtUp`). The first replica of a
 * cluster creates it with its tables and rows; one that starts with an empty file gets them.
 * `close` also closes the connection.
 *
 * @throws AntiphonError ACCESS_DENIED when NATS refuses the login or something that a replica needs
 *   (once it runs, that is an alarm in `status`), LOG_UNAVAILABLE when NATS does not answer in
 *   time, TIMEOUT when the cluster has not been created, CLUSTER_MISMATCH, STORE_CONTENT,
 *   UNSUPPORTED_TABLE, DUPLICATE_REPLICA, BAD_OPTION. The store is closed then: make
 *   another one for the next try.
 * @example
 * await using replica = await createReplica({
 *   cluster: 'shop',
 *   id: 'eu-1',
 *   servers: 'nats://localhost:4222',
 *   store: sqlite({ file: 'shop.db' }),
 * });
 * await replica.execute([{ sql: 'UPDATE orders SET state = ? WHERE id = ?', params: ['paid', 7] }]);
 */
export async function createReplica<Tx>(options: CreateReplicaOptions<Tx>): Promise<Replica<Tx>> {
  const known = { ...REPLICA_OPTIONS, ...ACCESS_OPTIONS, streamReplicas: STREAM_REPLICAS };
  checkRequired(options, known, 'createReplica()', REQUIRED);
  assertStore(options.store);
  const { servers, user, password, token, nkey, creds, tls, inboxPrefix, ...others } = options;
  const { streamReplicas: replicas = 1, ...rest } = others;
  // Only here: who starts replicas on other ports need not load it.
  const { connectNats } = await import('@antiphon/nats');
  const { cluster, id, signal } = options;
  const publish = options.publish && parsePublish(cluster, options.publish);
  const logger = options.logger && guardedLogger(options.logger);
  const { connectTimeoutMs } = resolveLimits(options.limits);
  const connecting = connectNats({
    ...given({ user, password, token, nkey, creds, tls, inboxPrefix }),
    servers,
    name: `antiphon ${cluster} ${id}`,
    connectTimeoutMs,
    onProblem: (problem) => logger?.warn({ err: problem }, problem.message),
  });
  const connected = wanted(connecting, signal, (late) => late.close());
  const nats = await withAbortReason(connected, options);
  const denied = new AbortController();
  const stopListening = nats.denials.on(({ type, denial }) => {
    if (type === 'begun') denied.abort(nats.denials.errorFor(denial.operation, denial.subject));
  });
  const release = (): Promise<void> => nats.close();
  let replica: Replica<Tx> | undefined;
  try {
    await nats.assertJetStream(signal);
    const log = nats.log(cluster, { replicas });
    const ports = {
      ...{ log, bus: nats.bus(), registry: nats.registry(cluster, { replicas }), lease: nats.lease(cluster) },
      ...(publish && { publication: publicationOf(nats, cluster, publish) }),
    };
    const memory = (): number => process.memoryUsage.rss();
    const starting = signal ? AbortSignal.any([signal, denied.signal]) : denied.signal;
    const around = { clock: systemClock(), memory, denials: () => nats.denials.all, signal: starting };
    replica = await startReplica({ ...rest, ...ports, ...around }, release);
    const { role, update } = replica.status();
    if (role !== 'primary' || update.mode === 'sync') await within(SETTLING_MS, () => log.reading);
    await settled(nats);
    if (role !== 'replica') await nats.assertMayAppend(cluster, id);
    denied.signal.throwIfAborted();
    nats.denials.bePatient();
    nats.denials.on((event) => report(event, logger));
    return replica;
  } catch (error) {
    await replica?.close();
    await release();
    throw denied.signal.aborted ? denied.signal.reason : abortReason(error, signal);
  } finally {
    stopListening();
  }
}

function publicationOf(
  nats: NatsHandle,
  cluster: string,
  { stream, subject, retention }: PublishSettings,
): Publication {
  return nats.publication({ cluster, stream, subjects: subject.wildcard, retention });
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
      reject(abortError(signal, 'The caller gave up while the replica was connecting.'));
      work.then(release).catch(() => undefined);
    };
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/**
 * Everything that was sent up to now has been permitted or denied. A server that is away again has
 * said neither.
 */
async function settled(nats: NatsHandle): Promise<void> {
  for (let round = 0; round < SETTLING_ROUNDS; round++) {
    await nats.rtt().catch((error: unknown) => {
      if (!(error instanceof AntiphonError) || error.code !== 'LOG_UNAVAILABLE') throw error;
    });
  }
}

async function within(limitMs: number, holds: () => boolean): Promise<void> {
  const untilMs = performance.now() + limitMs;
  while (!holds() && performance.now() < untilMs) await delay(POLL_MS);
}

function report({ type, denial }: DenialEvent, logger: Logger | undefined): void {
  const { operation, subject, message } = denial;
  if (type === 'begun') logger?.warn({ operation, subject }, message);
  else logger?.info({ operation, subject }, `${`NATS permits it again: ${operation} ${subject}`.trimEnd()}.`);
}

function given<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
