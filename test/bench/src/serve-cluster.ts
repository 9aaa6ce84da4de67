import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { NatsServer } from '@antiphon/nats-server';
import type { PublishOptions } from '@antiphon/replica';
import { CLUSTER, createTable } from './cluster.js';
import { BenchProcess, processUsage } from './node/process.js';
import type { Span, StartRequest } from './node/protocol.js';

export const PRIMARY = 'primary';
export const READERS = ['replica-1', 'replica-2', 'replica-3', 'replica-4'] as const;

const ROWS_PER_TRANSACTION = 1000;
const CATCH_UP_TIMEOUT_MS = 600_000;

/** A primary, some replicas, an application without a database, and nats-server: each a process. */
export class ServeCluster {
  #nextId = 1;

  private constructor(
    private readonly folder: string,
    readonly server: NatsServer,
    readonly client: BenchProcess,
    private readonly replicas: Map<string, BenchProcess>,
  ) {}

  static async start(folder: string, names: readonly string[]): Promise<ServeCluster> {
    mkdirSync(folder, { recursive: true });
    const server = await NatsServer.start({ storeDir: join(folder, 'nats') });
    const cluster = new ServeCluster(folder, server, BenchProcess.spawn('client', 'client'), new Map());
    try {
      createTable(cluster.#file(PRIMARY));
      for (const name of [PRIMARY, ...names]) await cluster.startReplica(name);
      await cluster.client.call('connect', { cluster: CLUSTER, servers: server.url });
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  replica(name: string): BenchProcess {
    const replica = this.replicas.get(name);
    if (replica === undefined) throw new Error(`${name} does not run`);
    return replica;
  }

  async startReplica(name: string, publish?: PublishOptions): Promise<void> {
    const process = BenchProcess.spawn(name, 'replica');
    this.replicas.set(name, process);
    const request: StartRequest = {
      ...{ cluster: CLUSTER, id: name, servers: this.server.url, file: this.#file(name) },
      topology: { mode: 'primary-replica', primary: PRIMARY },
      ...(publish !== undefined && { publish }),
    };
    await process.call<Span>('start', request);
  }

  async stopReplica(name: string): Promise<void> {
    await this.replicas.get(name)?.stop();
    this.replicas.delete(name);
  }

  /** Reserves an id that no row has yet. */
  takeId(): number {
    return this.#nextId++;
  }

  /** Rows of the primary; all replicas have them when it resolves. */
  async load(rows: number): Promise<Span> {
    const request = { firstId: this.#nextId, rows, rowsPerTransaction: ROWS_PER_TRANSACTION };
    this.#nextId += rows;
    const span = await this.replica(PRIMARY).call<Span>('load', request);
    const reached = { origin: PRIMARY, counter: span.counter, timeoutMs: CATCH_UP_TIMEOUT_MS };
    await Promise.all(Array.from(this.replicas.values(), (replica) => replica.call('reached', reached)));
    return span;
  }

  /** Processor seconds of everybody but the client, the replicas' reading processes included. */
  serversCpuSeconds(): number {
    const replicas = Array.from(this.replicas.values(), (replica) => replica.familyCpuSeconds());
    return replicas.reduce((sum, seconds) => sum + seconds, processUsage(this.server.pid ?? -1).cpuSeconds);
  }

  /** The client first. Idempotent. */
  async stop(): Promise<void> {
    await this.client.stop();
    await Promise.all(Array.from(this.replicas.keys(), (name) => this.stopReplica(name)));
    await this.server.stop();
  }

  #file(name: string): string {
    return join(this.folder, `${name}.db`);
  }
}
