import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { NatsServer } from '@antiphon/nats-server';
import type { FailoverOptions } from '@antiphon/core';
import type { Topology, UpdateOptions } from '@antiphon/replica';
import { BenchProcess, processUsage, type ProcessUsage } from './node/process.js';
import type { Span, StartRequest } from './node/protocol.js';
import { SQLITE_TABLE } from './rows.js';

export const WRITER = 'writer';
export const FOLLOWERS = ['follower-1', 'follower-2'] as const;
export const REPLICAS = [WRITER, ...FOLLOWERS] as const;
export type ReplicaName = (typeof REPLICAS)[number];
export type TopologyName = 'primary-replica' | 'multi-primary';

const CATCH_UP_TIMEOUT_MS = 600_000;
const NS_PER_SECOND = 1e9;
export const CLUSTER = 'bench';

/** From the start of the first write until both followers had applied the last one. */
export interface Propagated {
  readonly seconds: number;
  /** Until the writer had committed the last one. */
  readonly committedSeconds: number;
}

/** A writer, two followers and nats-server, each a process of its own. */
export class BenchCluster {
  #nextId = 1;

  private constructor(
    private readonly folder: string,
    private readonly topology: Topology,
    private readonly update: UpdateOptions,
    private readonly failover: FailoverOptions | undefined,
    readonly server: NatsServer,
    private readonly processes: Map<ReplicaName, BenchProcess>,
  ) {}

  static async start(
    folder: string,
    topologyName: TopologyName,
    update: UpdateOptions = { mode: 'async' },
    failover?: FailoverOptions,
  ): Promise<BenchCluster> {
    mkdirSync(folder, { recursive: true });
    const server = await NatsServer.start({ storeDir: join(folder, 'nats') });
    const topology: Topology =
      topologyName === 'multi-primary' ? { mode: topologyName } : { mode: topologyName, primary: WRITER };
    const cluster = new BenchCluster(folder, topology, update, failover, server, new Map());
    try {
      createTable(cluster.file(WRITER));
      for (const name of REPLICAS) await cluster.startReplica(name);
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  file(name: ReplicaName): string {
    return join(this.folder, `${name}.db`);
  }

  process(name: ReplicaName): BenchProcess {
    const process = this.processes.get(name);
    if (process === undefined) throw new Error(`${name} does not run`);
    return process;
  }

  get followers(): readonly BenchProcess[] {
    return FOLLOWERS.map((name) => this.process(name));
  }

  /** The span is from the start of the process's replica until it had caught up. */
  async startReplica(name: ReplicaName): Promise<Span> {
    const process = BenchProcess.spawn(name, 'replica');
    this.processes.set(name, process);
    const { server, topology, update, failover } = this;
    const request: StartRequest = {
      cluster: CLUSTER,
      id: name,
      servers: server.url,
      file: this.file(name),
      topology,
      update,
      ...(failover !== undefined && { failover }),
    };
    return process.call<Span>('start', request);
  }

  /** With `kill -9`. */
  async killReplica(name: ReplicaName): Promise<void> {
    const process = this.processes.get(name);
    this.processes.delete(name);
    await process?.kill();
  }

  async stopReplica(name: ReplicaName): Promise<void> {
    await this.processes.get(name)?.stop();
    this.processes.delete(name);
  }

  /** Reserves ids that no row has yet. */
  takeIds(count: number): number {
    const first = this.#nextId;
    this.#nextId += count;
    return first;
  }

  /** `without`: a follower that is away and not waited for. */
  load(
    rows: number,
    rowsPerTransaction: number,
    { without }: { without?: ReplicaName } = {},
  ): Promise<Propagated> {
    const request = { firstId: this.takeIds(rows), rows, rowsPerTransaction };
    return this.#propagated(() => this.process(WRITER).call<Span>('load', request), without);
  }

  singles(transactions: number, writers: number): Promise<Propagated> {
    const request = { firstId: this.takeIds(transactions), transactions, writers };
    return this.#propagated(() => this.process(WRITER).call<Span>('singles', request));
  }

  async #propagated(write: () => Promise<Span>, without?: ReplicaName): Promise<Propagated> {
    const span = await write();
    const present = FOLLOWERS.filter((name) => name !== without).map((name) => this.process(name));
    const request = { origin: WRITER, counter: span.counter, timeoutMs: CATCH_UP_TIMEOUT_MS };
    const reached = await Promise.all(present.map((follower) => follower.call<bigint>('reached', request)));
    const lastNs = reached.reduce((latest, ns) => (ns > latest ? ns : latest), span.endedNs);
    return {
      seconds: Number(lastNs - span.startedNs) / NS_PER_SECOND,
      committedSeconds: Number(span.endedNs - span.startedNs) / NS_PER_SECOND,
    };
  }

  /** By process: the writer, the followers, nats-server. */
  usage(): ReadonlyMap<string, ProcessUsage> {
    const replicas = Array.from(this.processes, ([name, process]) => [name, process.usage()] as const);
    return new Map<string, ProcessUsage>([...replicas, ['nats-server', processUsage(this.server.pid ?? -1)]]);
  }

  /** Replicas first. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all(Array.from(this.processes.keys(), (name) => this.stopReplica(name)));
    await this.server.stop();
  }
}

/** With no rows yet. */
export function createTable(file: string): void {
  const database = new DatabaseSync(file);
  database.exec(SQLITE_TABLE);
  database.close();
}
