import {
  AntiphonError,
  assertClusterName,
  assertReplicaId,
  type Bus,
  checkRequired,
  type FailoverOptions,
  type FailoverSettings,
  type Clock,
  type Lease,
  type Log,
  OPTION,
  type OptionKind,
  type OptionNames,
  parseFailover,
  parsePublish,
  parseTopology,
  parseUpdate,
  type Publication,
  type PublishOptions,
  type PublishSettings,
  type Registry,
  shownOption,
  type Store,
  type Topology,
  type UpdateOptions,
  type UpdateSettings,
} from '@antiphon/core';
import { idFrom } from './ids.js';
import type { Holding, StallReason } from './standstill.js';
import type { LifecycleState } from './lifecycle.js';
import { resolveLimits, type ReplicaLimits } from './limits.js';
import { parseReads, type ReadOptions, type ReadSettings } from './reads.js';
import { parseTracing, type TracingOptions } from '../tracing/options.js';
import type { TracingSettings } from '../tracing/spans.js';
import { guardedLogger, silentLogger, type Logger } from './logger.js';
import { VerifiedLog } from '../log/verified-log.js';

/** What a replica is, wherever it runs. */
export interface ReplicaOptions<Tx> {
  /**
   * The name of the cluster: letters, digits, `-` and `_`. It is part of NATS subjects and names.
   */
  readonly cluster: string;
  /** The replica's id: unique in the cluster, for ever. It names this replica's transactions. */
  readonly id: string;
  /** The database, for example `sqlite({ file: 'shop.db' })`. The replica closes it. */
  readonly store: Store<Tx>;
  /**
   * Which tables the cluster replicates. The first replica decides; another list is
   * CLUSTER_MISMATCH. `'auto'` means every table that can be replicated, without those in which
   * tools note which migrations were run; `status().leftOut` shows what is left out and why. Names
   * ignore case, as in SQL.
   * @defaultValue 'auto'
   */
  readonly tables?: readonly string[] | 'auto';
  /**
   * Triggers that use what is not replicated (a full-text index, an audit table) and stay in this
   * database, by name. No other replica gets them from here. One that writes only what is not
   * replicated also fires for changes of other replicas, unless it is BEFORE INSERT or uses RAISE;
   * any other one fires only for what is written here. Names that are not in this database do no
   * harm.
   * @defaultValue none
   */
  readonly localTriggers?: readonly string[];
  /**
   * Which replicas take writes.
   * @defaultValue what the cluster has agreed on; the replica that creates a cluster becomes its
   * primary
   */
  readonly topology?: Topology;
  /**
   * Whether a write waits for other replicas, and for how many. The first replica decides.
   * @defaultValue { mode: 'async' }
   */
  readonly update?: UpdateOptions;
  /**
   * What becomes of a primary that fails, in a primary-replica cluster. The first replica decides.
   * @defaultValue the primary of the topology stays the primary
   */
  readonly failover?: FailoverOptions;
  /**
   * This replica's own: of replicas that have read about as much of the log, the one with the
   * highest priority becomes the primary when the primary fails. 0: never this one.
   * @defaultValue 100
   */
  readonly failoverPriority?: number;
  /**
   * This replica's own: how clients that spread their reads over the replicas see it.
   * @defaultValue { weight: 1 }
   */
  readonly reads?: ReadOptions;
  /**
   * Publishes the committed changes of the cluster to a JetStream stream of their own, as JSON, for
   * clients of NATS in any language. Of all replicas that have it, one does it at a time.
   * @defaultValue this replica publishes nothing
   */
  readonly publish?: PublishOptions;
  /**
   * What goes into OpenTelemetry spans, where an SDK is registered in this process.
   * @defaultValue { sql: true }
   */
  readonly tracing?: TracingOptions;
  /**
   * Bounds of time, memory and work.
   * @defaultValue `DEFAULT_LIMITS`
   */
  readonly limits?: Partial<ReplicaLimits>;
  /**
   * Gets what an operator should know; a pino logger fits. What it throws is dropped.
   * @defaultValue nothing is logged
   */
  readonly logger?: Logger;
  /**
   * Called when the lifecycle changes, also during the start. `reason` says why it is `stalled`,
   * `holding` or `failed`: a stalled replica answers, and replicates nothing until somebody acts.
   * What it throws is logged.
   */
  readonly onLifecycle?: (state: LifecycleState, reason?: StallReason | Holding) => void;
  /**
   * Ends a start that is under way; it rejects with the reason given to `abort(reason)`, or with
   * ABORTED.
   */
  readonly signal?: AbortSignal;
  /**
   * Called while a start gets on, about once a second at least: whoever waits for it knows that it
   * does not stand still. What it throws is logged.
   */
  readonly onProgress?: () => void;
}

/** The ports a replica runs on. They stay the caller's: the replica does not close them. */
export interface ReplicaPorts {
  /** The ordered log of the cluster. */
  readonly log: Log;
  /** Messages that are not stored: questions, answers, heartbeats. */
  readonly bus: Bus;
  /** Shared facts: the cluster's document and its members. */
  readonly registry: Registry;
  /** Of the cluster; only where a primary is elected. */
  readonly lease?: Lease;
  /** The stream that `publish` is about; the replica closes it. */
  readonly publication?: Publication;
  /** Time, timers and chance; `systemClock()` of `@antiphon/core`. */
  readonly clock: Clock;
  /** The resident memory of the process in bytes, for `status`. */
  readonly memory?: () => number;
  /** What this replica is not permitted at the moment; `status` shows it among the alarms. */
  readonly denials?: () => readonly AccessDenial[];
}

/** Something that NATS does not permit this replica at the moment. */
export interface AccessDenial {
  /** `publish` or `subscribe`. */
  readonly operation: string;
  readonly subject: string;
  /** What is not permitted, and what to do. */
  readonly message: string;
  /** Since when, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** How often it was refused since then. */
  readonly count: number;
}

export interface Settings<Tx = unknown> extends ReplicaPorts {
  readonly log: VerifiedLog;
  readonly cluster: string;
  readonly id: string;
  /** Tells two processes that run under one id apart. */
  readonly instance: string;
  readonly startedAtMs: number;
  readonly store: Store<Tx>;
  readonly tables: readonly string[] | undefined;
  readonly localTriggers: readonly string[] | undefined;
  /** As asked for; what counts is that of the cluster's document. */
  readonly topology: Topology | undefined;
  readonly update: UpdateSettings;
  /** As asked for; what counts is that of the cluster's document. */
  readonly failover: FailoverSettings | undefined;
  /** 0: never the primary by failover. */
  readonly failoverPriority: number;
  readonly reads: ReadSettings;
  readonly publish?: PublishSettings;
  readonly tracing: TracingSettings;
  /** Asynchronous changes are sent at this interval. */
  readonly intervalMs: number;
  readonly limits: ReplicaLimits;
  /** What the caller said; the rest of `limits` are defaults, or what the cluster has agreed on. */
  readonly givenLimits: Partial<ReplicaLimits>;
  readonly logger: Logger;
  readonly onLifecycle?: NonNullable<ReplicaOptions<Tx>['onLifecycle']>;
}

const LOGGER: OptionKind = {
  give: 'an object with debug, info, warn and error, as a pino logger is',
  is: (value) => {
    const { debug, info, warn, error } = (value ?? {}) as Partial<Logger>;
    return [debug, info, warn, error].every((write) => typeof write === 'function');
  },
};

const DEFAULT_PRIORITY = 100;
const MAX_PRIORITY = 1000;
const PRIORITY: OptionKind = {
  give: `a whole number from 0 to ${MAX_PRIORITY}`,
  is: (value) => OPTION.count.is(value) && (value as number) <= MAX_PRIORITY,
};

export const REPLICA_OPTIONS: OptionNames<ReplicaOptions<unknown>> = {
  ...{
    cluster: true,
    id: true,
    store: true,
    tables: true,
    localTriggers: OPTION.names,
    topology: true,
    update: true,
    failover: true,
    failoverPriority: PRIORITY,
    reads: true,
    publish: true,
    tracing: true,
  },
  ...{
    limits: true,
    logger: LOGGER,
    onLifecycle: OPTION.callback,
    signal: true,
    onProgress: OPTION.callback,
  },
};
const PORTS: OptionNames<ReplicaPorts> = {
  ...{
    log: true,
    bus: true,
    registry: true,
    lease: true,
    publication: true,
    clock: true,
    memory: true,
    denials: true,
  },
};

/** Throws BAD_OPTION. */
export function assertStore(store: unknown): void {
  const { inspect, install } = (store ?? {}) as Partial<Store>;
  if (typeof inspect === 'function' && typeof install === 'function') return;
  throw new AntiphonError('BAD_OPTION', '`store` is not a store. Give sqlite({ file }), for example.');
}

/** Throws BAD_OPTION. */
export function resolveSettings<Tx>(options: ReplicaOptions<Tx> & ReplicaPorts): Settings<Tx> {
  const required = ['cluster', 'id', 'store', 'log', 'bus', 'registry', 'clock'];
  checkRequired(options, { ...REPLICA_OPTIONS, ...PORTS }, 'startReplica()', required);
  assertStore(options.store);
  assertClusterName(options.cluster);
  assertReplicaId(options.id);
  const { update = { mode: 'async' } } = options;
  const agreed = parseUpdate(update);
  const intervalMs = (update.mode === 'sync' ? undefined : update.intervalMs) ?? 0;
  if (!Number.isFinite(intervalMs) || intervalMs < 0) {
    throw new AntiphonError(
      'BAD_OPTION',
      `\`update.intervalMs\` is ${shownOption(intervalMs)}. Give 0 or more milliseconds.`,
    );
  }
  const { cluster, id, store, tables, log, bus, registry, clock } = options;
  return {
    cluster,
    id,
    instance: idFrom(clock),
    startedAtMs: clock.nowMs(),
    store,
    tables: tablesOf(tables),
    localTriggers: options.localTriggers,
    topology: options.topology === undefined ? undefined : parseTopology(options.topology),
    update: agreed,
    failover: options.failover === undefined ? undefined : parseFailover(options.failover),
    failoverPriority: options.failoverPriority ?? DEFAULT_PRIORITY,
    reads: parseReads(options.reads),
    tracing: parseTracing(options.tracing),
    intervalMs,
    limits: resolveLimits(options.limits),
    givenLimits: options.limits ?? {},
    logger: options.logger === undefined ? silentLogger : guardedLogger(options.logger),
    log: new VerifiedLog(log, clock),
    bus,
    registry,
    clock,
    ...(options.lease === undefined ? {} : { lease: options.lease }),
    ...publishingOf(options),
    ...(options.onLifecycle === undefined ? {} : { onLifecycle: options.onLifecycle }),
    ...(options.memory === undefined ? {} : { memory: options.memory }),
    ...(options.denials === undefined ? {} : { denials: options.denials }),
  };
}

function publishingOf({
  cluster,
  publish,
  publication,
}: ReplicaOptions<never> & ReplicaPorts): Pick<Settings, 'publish' | 'publication'> {
  if (publish === undefined) return {};
  const settings = parsePublish(cluster, publish);
  if (publication !== undefined) return { publish: settings, publication };
  throw new AntiphonError(
    'BAD_OPTION',
    'startReplica() has `publish`, and no stream to publish to. Give `publication`, or call createReplica().',
  );
}

function tablesOf(tables: ReplicaOptions<unknown>['tables']): readonly string[] | undefined {
  if (tables === undefined || tables === 'auto') return undefined;
  const isList = Array.isArray(tables) && tables.every((name) => typeof name === 'string');
  if (isList && tables.length > 0) return tables;
  const problem = isList ? 'empty' : 'not valid';
  const wanted = "Give a list of names, or 'auto' for every table that can be replicated.";
  const message = `\`tables\` is ${problem}. ${wanted}`;
  throw new AntiphonError('BAD_OPTION', message);
}
