import { ChaosCluster, type ChaosOptions } from './cluster.js';
import { eventually } from '@antiphon/testing';
import type { ReplicaHandle } from './replica-handle.js';

export const PRIMARY_REPLICA = {
  name: 'primary-replica',
  topology: { mode: 'primary-replica', primary: 'a' },
};
export const MULTI_PRIMARY = { name: 'multi-primary', topology: { mode: 'multi-primary' } };
export const TOPOLOGIES = [PRIMARY_REPLICA, MULTI_PRIMARY] as const;

/** Silence is noticed sooner than by default, so that a round does not take long. */
const LIMITS = { beatMs: 200, inSyncLagMs: 1000 };

const SCHEMA = `
  CREATE TABLE entries (id TEXT PRIMARY KEY, payload TEXT);
  CREATE TABLE hot (k INTEGER PRIMARY KEY, writer TEXT);
  CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
  CREATE TABLE counters (id INTEGER PRIMARY KEY, value INTEGER NOT NULL);
  CREATE TABLE done (id TEXT PRIMARY KEY, counter INTEGER);
  CREATE TABLE registers (id TEXT PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL);
  CREATE TABLE doctors (id INTEGER PRIMARY KEY, on_call INTEGER NOT NULL);
  WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9)
    INSERT INTO accounts SELECT i, 100 FROM n;
  INSERT INTO counters VALUES (0, 0), (1, 0), (2, 0);
  INSERT INTO doctors VALUES (1, 1), (2, 1);
`;
const TABLES = ['entries', 'hot', 'accounts', 'counters', 'done', 'registers', 'doctors'];

/** What ten accounts hold together. */
export const TOTAL = 1000;

export interface SyncStart {
  readonly ids?: readonly string[];
  readonly topology: unknown;
  readonly update?: Readonly<Record<string, unknown>>;
  readonly limits?: Readonly<Record<string, number>>;
  readonly failover?: unknown;
  readonly proxied?: boolean;
  readonly servers?: string;
  readonly envs?: ChaosOptions['envs'];
}

/**
 * Processes that write through the log, unless `update` says otherwise; all of them are in sync
 * when it resolves.
 */
export async function startSync(start: SyncStart): Promise<ChaosCluster> {
  const { ids = ['a', 'b', 'c'], topology, update, limits, failover, servers, envs, proxied = false } = start;
  const replica: ChaosOptions['replica'] = {
    program: './sync-process.mjs',
    update: update?.mode === 'async' ? update : { mode: 'sync', minInSync: 2, ...update },
    limits: { ...LIMITS, ...limits },
    ...(failover !== undefined && { failover }),
  };
  return ChaosCluster.start(ids, topology, {
    ...{ schema: SCHEMA, tables: TABLES, proxied, replica },
    ...(servers !== undefined && { servers }),
    ...(envs !== undefined && { envs }),
  });
}

/** Of a write, a transaction or a query that a process was asked for. */
export interface Settled {
  readonly outcome: 'committed' | 'rejected' | 'unknown' | 'read';
  readonly tookMs: number;
  readonly position: { readonly generation: string; readonly seq: number };
  readonly value?: unknown;
  readonly acks?: {
    readonly by: readonly string[];
    readonly missing: readonly string[];
    readonly reached: boolean;
  };
  readonly degraded?: true;
  readonly rows?: readonly Readonly<Record<string, unknown>>[];
  /** When it was not committed. */
  readonly code?: string;
  readonly message?: string;
  readonly unknownId?: string;
}

export interface SyncReplicaStatus {
  readonly alarms: readonly { readonly name: string; readonly message: string }[];
  readonly sync: {
    readonly inSync: readonly string[];
    readonly degraded: boolean;
    readonly recordSeq: number;
  };
}

export function statusOf(replica: ReplicaHandle): Promise<SyncReplicaStatus> {
  return replica.ask('status');
}

export interface CallOptions {
  readonly acks?: string | number;
  readonly timeoutMs?: number;
}

export function write(
  replica: ReplicaHandle,
  sql: string,
  params: readonly unknown[] = [],
  options: CallOptions = {},
): Promise<Settled> {
  return replica.ask('write', { statements: [{ sql, params }], options });
}

let serial = 0;

/** A row of its own, written at the first replica. */
export function entry(chaos: ChaosCluster): Promise<Settled> {
  const sql = 'INSERT INTO entries (id) VALUES (?)';
  return write(chaos.at(0), sql, [`entry-${serial++}`], { timeoutMs: 8000 });
}

export async function untilInSync(chaos: ChaosCluster, ids: readonly string[]): Promise<void> {
  await eventually(`in sync are ${ids.join(', ')}`, async () => {
    const { sync } = await statusOf(chaos.at(0));
    return sync.inSync.join() === ids.join();
  });
}

export interface ReadOptions {
  readonly consistency?: 'any' | 'session' | 'strong';
  readonly after?: Settled['position'];
  readonly timeoutMs?: number;
}

export function read(
  replica: ReplicaHandle,
  sql: string,
  params: readonly unknown[] = [],
  options: ReadOptions = {},
): Promise<Settled> {
  return replica.ask('query', { sql, params, options });
}

/** Ends all loads: everything that was under way has been settled. */
export async function idle(replicas: readonly ReplicaHandle[]): Promise<void> {
  await Promise.all(replicas.filter(({ running }) => running).map((replica) => replica.ask('idle')));
}
