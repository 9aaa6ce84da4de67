import {
  type FailoverSettings,
  parseFailover,
  parsePublish,
  parseTopology,
  parseUpdate,
  type PublishOptions,
  type SyncSettings,
} from '@antiphon/core';
import { dirname, resolve } from 'node:path';
import type { NatsAccess, NatsTls } from '@antiphon/nats';
import type { ReadOptions, ReplicaLimits, Topology, TracingOptions } from '@antiphon/replica';
import type { ServerLimits, ServerTls, ServerToken, SubjectsLimits } from '@antiphon/server';
import type { SqliteOptions } from '@antiphon/sqlite';
import type { ConfigFile } from './schema.js';

export type Update = { readonly mode: 'async'; readonly intervalMs: number } | SyncSettings;

export interface HttpConfig {
  readonly listen: string;
  readonly tokens?: readonly ServerToken[];
  /** With absolute paths. */
  readonly tls?: ServerTls;
  /** Only what the file says. */
  readonly limits?: Partial<ServerLimits>;
}

export interface SubjectsConfig {
  /** Only what the file says. */
  readonly limits?: Partial<SubjectsLimits>;
}

/** The configuration of one replica with everything filled in. */
export interface Config {
  readonly cluster: string;
  readonly id: string;
  /** With absolute paths. */
  readonly nats: NatsAccess & { readonly servers: readonly string[] };
  /** Absent: 1. */
  readonly streamReplicas?: 1 | 3 | 5;
  /** Absolute. */
  readonly sqliteFile: string;
  /** How it is used; only what the file says. */
  readonly sqlite: Omit<SqliteOptions, 'file'>;
  /** Absent: every table that can be replicated. */
  readonly tables?: readonly string[];
  readonly localTriggers?: readonly string[];
  /** Absent: what the cluster has agreed on. */
  readonly topology?: Topology;
  /** Of this replica. Absent: the default. */
  readonly failoverPriority?: number;
  /** Of this replica; only what the file says. */
  readonly reads?: ReadOptions;
  /** Of this replica. Absent: it publishes no changes. */
  readonly publish?: PublishOptions;
  /** Of this replica; only what the file says. */
  readonly tracing?: TracingOptions;
  readonly update: Update;
  /** Absent: what the cluster has agreed on. */
  readonly failover?: FailoverSettings;
  /** Absent: no HTTP. */
  readonly http?: HttpConfig;
  /** Absent: nothing is answered on the subjects of the cluster. */
  readonly subjects?: SubjectsConfig;
  /** Only what the file says: the rest are defaults, or what the cluster has agreed on. */
  readonly limits?: Partial<ReplicaLimits>;
  readonly onStall: 'stay' | 'exit';
}

/** The seed of a user's nkey. */
const SEED = /^SU[A-Z2-7]{56}$/;
/** The content of a PEM or credentials file. */
const CONTENT = '-----BEGIN ';

/** What SQLite itself calls a database without a file. */
const IN_MEMORY = ':memory:';

export function resolveConfig(file: ConfigFile, configPath: string): Config {
  const { file: sqliteFile, ...sqlite } = file.store.sqlite;
  return {
    cluster: file.cluster,
    id: file.id,
    nats: resolveAccess(file.nats, dirname(resolve(configPath))),
    ...(file.nats.streamReplicas === undefined ? {} : { streamReplicas: file.nats.streamReplicas }),
    sqliteFile: sqliteFile === IN_MEMORY ? sqliteFile : resolve(dirname(resolve(configPath)), sqliteFile),
    sqlite: defined(sqlite),
    ...(file.tables === undefined || file.tables === 'auto' ? {} : { tables: file.tables }),
    ...(file.localTriggers === undefined ? {} : { localTriggers: file.localTriggers }),
    ...(file.topology === undefined ? {} : { topology: parseTopology(file.topology) }),
    ...(file.failoverPriority === undefined ? {} : { failoverPriority: file.failoverPriority }),
    ...(file.reads === undefined ? {} : { reads: defined(file.reads) }),
    ...(file.publish === undefined ? {} : { publish: resolvePublish(file.cluster, file.publish) }),
    ...(file.tracing === undefined ? {} : { tracing: defined(file.tracing) }),
    update: resolveUpdate(file.update),
    ...(file.failover === undefined ? {} : { failover: parseFailover(defined(file.failover)) }),
    ...(file.http === undefined ? {} : { http: resolveHttp(file.http, dirname(resolve(configPath))) }),
    ...(file.subjects === undefined ? {} : { subjects: resolveSubjects(file.subjects) }),
    ...resolveLimits(file.limits),
    onStall: file.onStall ?? 'stay',
  };
}

/**
 * What is a path starts at the folder of the file, as the database does. Secrets may stand there
 * themselves.
 */
function resolveAccess(given: ConfigFile['nats'], folder: string): Config['nats'] {
  const { servers, nkey, creds, tls, user, password, token, inboxPrefix } = given;
  return {
    ...defined({ user, password, token, inboxPrefix }),
    // As `init --servers` writes several, and as the library takes them.
    servers: typeof servers === 'string' ? servers.split(',').map((server) => server.trim()) : servers,
    ...(nkey === undefined ? {} : { nkey: SEED.test(nkey) ? nkey : resolve(folder, nkey) }),
    ...(creds === undefined ? {} : { creds: pathOf(creds, folder) }),
    ...(tls === undefined ? {} : { tls: resolveTls(tls, folder) }),
  };
}

function resolveTls(given: NonNullable<ConfigFile['nats']['tls']>, folder: string): NatsTls {
  const { handshakeFirst, ...files } = given;
  return { ...(resolvePaths(files, folder) as NatsTls), ...defined({ handshakeFirst }) };
}

function resolvePaths(files: Readonly<Record<string, string | undefined>>, folder: string): object {
  const paths = Object.entries(files).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, pathOf(value, folder)]],
  );
  return Object.fromEntries(paths) as object;
}

function resolvePublish(cluster: string, given: NonNullable<ConfigFile['publish']>): PublishOptions {
  const { subject, retention, ...others } = given;
  const options = {
    ...{ subject, ...defined(others) },
    ...(retention === undefined ? {} : { retention: defined(retention) }),
  };
  parsePublish(cluster, options);
  return options;
}

function pathOf(value: string, folder: string): string {
  return value.includes(CONTENT) ? value : resolve(folder, value);
}

function defined<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function resolveHttp(given: NonNullable<ConfigFile['http']>, folder: string): HttpConfig {
  const { listen, tokens, tls, limits } = given;
  return {
    listen,
    ...(tokens && { tokens }),
    ...(tls && { tls: resolvePaths(tls, folder) as ServerTls }),
    ...(limits && { limits: defined(limits) }),
  };
}

function resolveSubjects({ limits }: NonNullable<ConfigFile['subjects']>): SubjectsConfig {
  return limits ? { limits: defined(limits) } : {};
}

function resolveLimits(given: ConfigFile['limits']): Pick<Config, 'limits'> {
  if (given === undefined) return {};
  return { limits: defined(given) };
}

/** Every default of a synchronous cluster is agreed on, and so belongs to the file. */
function resolveUpdate(given: ConfigFile['update']): Update {
  const update = parseUpdate(given ?? { mode: 'async' });
  if (update.mode === 'sync') return update;
  return { mode: 'async', intervalMs: (given?.mode === 'async' ? given.intervalMs : undefined) ?? 0 };
}
