import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import {
  type Bus,
  type Clock,
  type Lease,
  type Log,
  parsePublish,
  type Publication,
  type Registry,
  systemClock,
} from '@antiphon/core';
import { connectNats, type NatsHandle } from '@antiphon/nats';
import { NatsServer } from '@antiphon/nats-server';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { createReplica, type CreateReplicaOptions } from '../start/create-replica.js';
import type { Replica } from '../replica/replica.js';
import { startReplica } from '../start/start.js';

export type SqliteReplica = Replica<SqliteTransaction>;
export type StartOptions = Partial<CreateReplicaOptions<SqliteTransaction>> & { readonly file?: string };

/**
 * What a replica gets in place of the machine's clock, or between itself and the real log and
 * registry.
 */
export interface Around {
  readonly clock?: Clock;
  readonly log?: (log: Log) => Log;
  readonly registry?: (registry: Registry) => Registry;
  readonly bus?: (bus: Bus) => Bus;
  /** Its connection: without it, it has gone for all others. */
  readonly connected?: (nats: NatsHandle) => void;
  readonly lease?: (lease: Lease) => Lease;
  readonly publication?: (publication: Publication) => Publication;
}

export interface FixturePorts {
  readonly cluster: string;
  readonly log: Log;
  readonly bus: Bus;
  readonly registry: Registry;
  readonly clock: Clock;
}

/** A real nats-server and replicas on real files, in one process, for one test. */
export class ClusterFixture implements AsyncDisposable {
  readonly #replicas: SqliteReplica[] = [];
  readonly #handles: NatsHandle[] = [];

  private constructor(
    public server: NatsServer,
    readonly dir: string,
    readonly cluster: string,
  ) {}

  /** With what it had stored, after `server.stop()`; where it was. */
  async restartServer(): Promise<void> {
    const port = Number(new URL(this.server.url).port);
    this.server = await NatsServer.start({ storeDir: join(this.dir, 'nats'), port });
  }

  static async start(
    cluster = 'shop',
    settings: { readonly maxPayload?: number } = {},
  ): Promise<ClusterFixture> {
    const dir = mkdtempSync(join(tmpdir(), 'antiphon-replica-'));
    const server = await NatsServer.start({ storeDir: join(dir, 'nats'), ...settings });
    return new ClusterFixture(server, dir, cluster);
  }

  file(id: string): string {
    return join(this.dir, `${id}.db`);
  }

  /** Runs SQL on a database file as another program would. */
  sql(id: string, sql: string): void {
    const db = new DatabaseSync(this.file(id), { timeout: 5000 });
    try {
      db.exec(sql);
    } finally {
      db.close();
    }
  }

  /**
   * The same, beside replicas that write: a program in this process that waits for their lock would
   * keep them from giving it back. A migration does without foreign keys.
   */
  async sqlWhenFree(id: string, sql: string, { foreignKeys = true } = {}): Promise<void> {
    const db = new DatabaseSync(this.file(id), { timeout: 0, enableForeignKeyConstraints: foreignKeys });
    try {
      for (;;) {
        try {
          return db.exec(`BEGIN IMMEDIATE; ${sql}; COMMIT;`);
        } catch (error) {
          if (!/locked/.test(String(error))) throw error;
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
      }
    } finally {
      db.close();
    }
  }

  async replica(id: string, options: StartOptions = {}): Promise<SqliteReplica> {
    const { file = this.file(id), ...rest } = options;
    const servers = this.server.url;
    const replica = await createReplica({
      cluster: this.cluster,
      id,
      servers,
      store: sqlite({ file }),
      topology: { mode: 'multi-primary' },
      ...rest,
    });
    this.#replicas.push(replica);
    return replica;
  }

  /** A replica with something else around it than the real thing. */
  async replicaWith(around: Around, id: string, options: StartOptions = {}): Promise<SqliteReplica> {
    const { file = this.file(id), ...rest } = options;
    const nats = await connectNats({ servers: this.server.url });
    around.connected?.(nats);
    const { clock = systemClock(), log = (real: Log) => real, registry = (real: Registry) => real } = around;
    const { bus = (real: Bus) => real, lease = (real: Lease) => real } = around;
    const ports = {
      log: log(nats.log(this.cluster)),
      bus: bus(nats.bus()),
      registry: registry(nats.registry(this.cluster)),
      lease: lease(nats.lease(this.cluster)),
      clock,
    };
    const publication = this.#publication(nats, rest.publish);
    const wrapped = around.publication ?? ((real: Publication) => real);
    const base = {
      cluster: this.cluster,
      id,
      store: sqlite({ file }),
      topology: { mode: 'multi-primary' },
      ...rest,
    } as const;
    const release = (): Promise<void> => nats.close();
    try {
      const replica = await startReplica(
        { ...base, ...ports, ...(publication && { publication: wrapped(publication) }) },
        release,
      );
      this.#replicas.push(replica);
      return replica;
    } catch (error) {
      await release();
      throw error;
    }
  }

  #publication(nats: NatsHandle, publish: StartOptions['publish']): Publication | undefined {
    if (publish === undefined) return undefined;
    const { stream, subject, retention } = parsePublish(this.cluster, publish);
    return nats.publication({ cluster: this.cluster, stream, subjects: subject.wildcard, retention });
  }

  /** What a replica is made of, and what `verify` asks, over a connection of its own. */
  async ports(): Promise<FixturePorts> {
    const nats = await this.nats();
    return {
      cluster: this.cluster,
      log: nats.log(this.cluster),
      bus: nats.bus(),
      registry: nats.registry(this.cluster),
      clock: systemClock(),
    };
  }

  async closeReplica(id: string): Promise<void> {
    await Promise.all(
      this.#replicas.filter((replica) => replica.id === id).map((replica) => replica.close()),
    );
  }

  async nats(): Promise<NatsHandle> {
    const handle = await connectNats({ servers: this.server.url });
    this.#handles.push(handle);
    return handle;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#replicas.map((replica) => replica.close()));
    await Promise.all(this.#handles.map((handle) => handle.close()));
    await this.server.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function count(replica: SqliteReplica, table: string): Promise<number> {
  const [row] = await replica.query(`SELECT count(*) AS n FROM ${table}`);
  return Number(row?.['n']);
}

/** All rows, comparable. */
export async function rowsOf(replica: SqliteReplica, table: string): Promise<string> {
  const rows = await replica.query(`SELECT * FROM ${table} ORDER BY 1`);
  return JSON.stringify(rows, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
}
