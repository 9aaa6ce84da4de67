import { dirname, resolve } from 'node:path';
import { parseUpdate, type SyncSettings } from '@antiphon/replica';
import type { ConfigFile } from './schema.js';

export type Topology = 'multi-primary' | { readonly 'primary-replica': { readonly primary: string } };

export type Update = { readonly mode: 'async'; readonly intervalMs: number } | SyncSettings;

/** The configuration of one replica with everything filled in. */
export interface Config {
  readonly cluster: string;
  readonly id: string;
  readonly servers: readonly string[];
  /** Absolute. */
  readonly sqliteFile: string;
  /** Absent: every table that has a primary key. */
  readonly tables?: readonly string[];
  readonly topology: Topology;
  readonly update: Update;
}

/** What SQLite itself calls a database without a file. */
const IN_MEMORY = ':memory:';

export function resolveConfig(file: ConfigFile, configPath: string): Config {
  const { servers } = file.nats;
  const { file: sqliteFile } = file.store.sqlite;
  return {
    cluster: file.cluster,
    id: file.id,
    servers: typeof servers === 'string' ? [servers] : servers,
    sqliteFile: sqliteFile === IN_MEMORY ? sqliteFile : resolve(dirname(resolve(configPath)), sqliteFile),
    ...(file.tables === undefined ? {} : { tables: file.tables }),
    topology: file.topology,
    update: resolveUpdate(file.update),
  };
}

/** Every default of a synchronous cluster is agreed on, and so belongs to the file. */
function resolveUpdate(given: ConfigFile['update']): Update {
  const update = parseUpdate(given ?? { mode: 'async' });
  if (update.mode === 'sync') return update;
  return { mode: 'async', intervalMs: (given?.mode === 'async' ? given.intervalMs : undefined) ?? 0 };
}
