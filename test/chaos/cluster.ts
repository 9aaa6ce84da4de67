import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { NatsServer } from '@antiphon/nats-server';
import { ReplicaHandle, type ReplicaConfig } from './replica-handle.js';
import { TcpProxy } from './tcp-proxy.js';

/** How many rounds of each disaster: a short share by default, 20 with `npm run test:chaos`. */
export const ROUNDS = Number(process.env.ANTIPHON_CHAOS_ROUNDS ?? 3);

const SCHEMA = `
  CREATE TABLE entries (id TEXT PRIMARY KEY, origin TEXT NOT NULL, n INTEGER NOT NULL, payload TEXT);
  CREATE TABLE hot (k INTEGER PRIMARY KEY, value INTEGER, writer TEXT);
  CREATE TABLE orders (id TEXT PRIMARY KEY, amount INTEGER);
  CREATE TABLE audit (entry TEXT PRIMARY KEY, what TEXT);
  CREATE TRIGGER orders_audited AFTER INSERT ON orders BEGIN
    INSERT INTO audit VALUES (hex(randomblob(16)), NEW.id);
  END;
`;

const TABLES = ['entries', 'hot', 'orders', 'audit'];

export interface CommittedWrite {
  readonly id: string;
  readonly origin: string;
  readonly counter: number;
}

export interface ChaosOptions {
  /** Where a replica's file lies when not in the common folder. */
  readonly folders?: Readonly<Record<string, string>>;
  /** The tables that the first replica brings, and the names of those that are compared. */
  readonly schema?: string;
  readonly tables?: readonly string[];
  /** Where NATS is; a server of its own when absent. */
  readonly servers?: string;
  /** Each replica reaches NATS through a proxy of its own. */
  readonly proxied?: boolean;
  /** The environment of a replica's process. */
  readonly envs?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** What all replicas run and how. */
  readonly replica?: Pick<ReplicaConfig, 'program' | 'update' | 'limits' | 'failover'>;
}

/** Real replica processes and a real nats-server, in a temporary folder. */
export class ChaosCluster {
  readonly replicas: readonly ReplicaHandle[];

  private constructor(
    readonly dir: string,
    private readonly ownServer: NatsServer | undefined,
    ids: readonly string[],
    topology: unknown,
    private readonly options: ChaosOptions,
    private readonly proxies: ReadonlyMap<string, TcpProxy>,
  ) {
    const { folders = {}, envs = {}, replica, servers = this.server.url } = options;
    this.replicas = ids.map(
      (id) =>
        new ReplicaHandle({
          cluster: 'chaos',
          id,
          servers: proxies.get(id)?.url ?? servers,
          file: join(folders[id] ?? dir, `${id}.db`),
          journal: join(dir, `${id}.journal`),
          topology,
          env: envs[id] ?? {},
          ...replica,
        }),
    );
  }

  /** The first replica brings the tables. */
  static async start(
    ids: readonly string[],
    topology: unknown,
    options: ChaosOptions = {},
  ): Promise<ChaosCluster> {
    const dir = mkdtempSync(join(tmpdir(), 'antiphon-chaos-'));
    const started = options.servers === undefined;
    const server = started ? await NatsServer.start({ storeDir: join(dir, 'nats') }) : undefined;
    const proxies = new Map<string, TcpProxy>();
    if (options.proxied === true && server !== undefined)
      for (const id of ids) proxies.set(id, await TcpProxy.start(server.url));
    const cluster = new ChaosCluster(dir, server, ids, topology, options, proxies);
    try {
      for (const [index, replica] of cluster.replicas.entries()) {
        if (index === 0) sqlite3(replica.config.file, options.schema ?? SCHEMA);
        await replica.start();
      }
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  /** The one that was started for this cluster. */
  get server(): NatsServer {
    if (this.ownServer === undefined) throw new Error("its NATS is somebody else's");
    return this.ownServer;
  }

  at(index: number): ReplicaHandle {
    const replica = this.replicas[index];
    if (replica === undefined) throw new Error(`no replica ${index}`);
    return replica;
  }

  /** Between a replica and NATS, where the cluster is `proxied`. */
  linkOf({ config }: ReplicaHandle): TcpProxy {
    const proxy = this.proxies.get(config.id);
    if (proxy === undefined) throw new Error(`no proxy for ${config.id}`);
    return proxy;
  }

  /** Every write that some process saw committed, and what it set out to delete. */
  journal(): { committed: CommittedWrite[]; mayBeDeleted: Set<string> } {
    const records = this.replicas.flatMap(({ config }) => {
      if (!existsSync(config.journal)) return [];
      return readFileSync(config.journal, 'utf8')
        .split('\n')
        .filter((line) => line.endsWith('}'))
        .map((line) => JSON.parse(line) as CommittedWrite | { readonly intendsToDelete: string });
    });
    return {
      committed: records.filter((record) => 'counter' in record),
      mayBeDeleted: new Set(records.flatMap((record) => ('counter' in record ? [] : record.intendsToDelete))),
    };
  }

  /** Reads a table of every replica straight from its file, not through Antiphon. */
  read(sql: string): string[] {
    return this.replicas.map(({ config }) => {
      const database = new DatabaseSync(config.file, { readOnly: true, timeout: 5000 });
      try {
        const select = database.prepare(sql);
        select.setReturnArrays(true);
        select.setReadBigInts(true);
        return JSON.stringify(select.all(), (_, value: unknown) =>
          typeof value === 'bigint' ? `${value}n` : value,
        );
      } finally {
        database.close();
      }
    });
  }

  /** Waits until the files hold the same rows and stay so; says what differs when they don't. */
  async converged(timeoutMs = 60_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const differing = this.differences();
      if (differing.length === 0) return;
      if (performance.now() > deadline) {
        const running = this.replicas.filter((replica) => replica.running);
        const statuses = await Promise.all(
          running.map((replica) =>
            replica.config.program === undefined ? replica.status() : replica.ask('status'),
          ),
        );
        throw new Error(
          `not converged: ${differing.join('; ')}\n${JSON.stringify(statuses, null, 1).slice(0, 6000)}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  differences(): string[] {
    const found: string[] = [];
    for (const table of this.options.tables ?? TABLES) {
      const [first, ...others] = this.read(`SELECT * FROM ${table} ORDER BY 1`);
      others.forEach((rows, index) => {
        if (rows !== first)
          found.push(`${table}: ${this.at(index + 1).config.id} differs from ${this.at(0).config.id}`);
      });
    }
    return found;
  }

  async close(): Promise<void> {
    for (const replica of this.replicas) {
      if (replica.running) replica.resume();
    }
    for (const proxy of this.proxies.values()) proxy.heal();
    await Promise.all(this.replicas.map((replica) => replica.close()));
    await Promise.all([...this.proxies.values()].map((proxy) => proxy.close()));
    await this.ownServer?.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** The plain shell, as another program. Waits for locks like people do. */
export function sqlite3(file: string, sql: string): string {
  return execFileSync('sqlite3', ['-cmd', '.timeout 10000', file, sql], {
    encoding: 'utf8',
    stdio: 'pipe',
    maxBuffer: 256 * 1024 * 1024,
  });
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
