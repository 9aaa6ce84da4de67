import { decodeEpochRecord, decodeLeaseRecord, type FailoverOptions } from '@antiphon/core';
import { clusterPrefix, connectNats, type NatsHandle } from '@antiphon/nats';
import type { UpdateOptions } from '@antiphon/replica';
import { BenchCluster, CLUSTER, FOLLOWERS, REPLICAS, WRITER, type ReplicaName } from './cluster.js';
import type { EpochRead, Noticed, Written } from './node/protocol.js';

/** Each process writes rows of its own. */
const IDS_OF_A_PROCESS = 100_000_000;
const NS_PER_MS = 1e6;
const POLL_MS = 5;
const TIMEOUT_MS = 60_000;

export interface Load {
  /** In the process of each replica. */
  readonly writers: number;
  readonly pauseMs: number;
}

/** When it was, in milliseconds after the primary went. */
export interface Takeover {
  /** Before it: negative. */
  readonly lastRenewal: number;
  readonly noticed: number;
  readonly leaseTaken: number;
  readonly claimed: number;
  /** The record, by the one whose it is. */
  readonly recordRead: number;
  /** Of a writer in the process of the next primary. */
  readonly firstOwn: number;
  /** Of a writer in the process of the other one. */
  readonly firstForwarded: number;
  /** In the two processes that are left. */
  readonly written: readonly Written[];
}

/** Three replicas with `failover`, and somebody who sees what they say to each other about it. */
export class FailoverCluster {
  private constructor(
    private readonly cluster: BenchCluster,
    private readonly wire: Wire,
  ) {}

  static async start(
    folder: string,
    update: UpdateOptions,
    failover: FailoverOptions,
  ): Promise<FailoverCluster> {
    const cluster = await BenchCluster.start(folder, 'primary-replica', update, failover);
    try {
      return new FailoverCluster(cluster, await Wire.open(cluster.server.url));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  async beginWrites(load: Load): Promise<void> {
    for (const name of REPLICAS) {
      const firstId = this.cluster.takeIds(IDS_OF_A_PROCESS);
      await this.cluster.process(name).call('beginWrites', { firstId, ...load });
    }
  }

  endWrites(names: readonly ReplicaName[] = REPLICAS): Promise<Written[]> {
    return Promise.all(names.map((name) => this.cluster.process(name).call<Written>('endWrites')));
  }

  /** The primary goes, under load, until writes are accepted again in both other processes. */
  async takeover(how: 'SIGKILL' | 'SIGSTOP'): Promise<Takeover> {
    const startedNs = process.hrtime.bigint();
    this.cluster.process(WRITER).signal(how);
    const since = (ns: bigint): number => Number(ns - startedNs) / NS_PER_MS;
    const next = await this.#nextPrimary();
    const other = FOLLOWERS.find((name) => name !== next.name) ?? WRITER;
    const request = { origin: next.name, timeoutMs: TIMEOUT_MS };
    const firstOf = (name: ReplicaName): Promise<bigint> =>
      this.cluster.process(name).call<bigint>('firstWritten', request);
    const [own, forwarded] = await Promise.all([firstOf(next.name), firstOf(other)]);
    const written = await this.endWrites(FOLLOWERS);
    await this.cluster.killReplica(WRITER);
    const { renewals, takes, claims } = this.wire;
    const at = (ns: bigint | undefined): number => (ns === undefined ? Number.NaN : since(ns));
    const first = (all: readonly Seen[]): number =>
      at(all.find(({ by, atNs }) => by !== WRITER && atNs > startedNs)?.atNs);
    return {
      lastRenewal: at(renewals.filter(({ by }) => by === WRITER).at(-1)?.atNs),
      noticed: since(next.electionNs),
      ...{ leaseTaken: first(takes), claimed: first(claims) },
      recordRead: since(next.epoch.atNs),
      firstOwn: at(own),
      firstForwarded: at(forwarded),
      written,
    };
  }

  /** Milliseconds, as the replica says that writes were held. */
  switchOver(to: ReplicaName, from: ReplicaName): Promise<number> {
    return this.cluster.process(from).call<number>('switchOver', { to });
  }

  /** Epochs that nobody asked for, and how often a replica found that the primary had gone. */
  async unwanted(): Promise<{ readonly failovers: number; readonly elections: number }> {
    const all = await Promise.all(REPLICAS.map((name) => this.#noticed(name)));
    const failovers = all.map(({ epochs }) => epochs.filter(({ why }) => why === 'failover').length);
    const elections = all.reduce((sum, { electionsNs }) => sum + electionsNs.length, 0);
    return { failovers: Math.max(...failovers), elections };
  }

  async stop(): Promise<void> {
    await this.wire.close();
    await this.cluster.stop();
  }

  #noticed(name: ReplicaName): Promise<Noticed> {
    return this.cluster.process(name).call<Noticed>('noticed');
  }

  async #nextPrimary(): Promise<Elected> {
    const deadline = performance.now() + TIMEOUT_MS;
    while (performance.now() < deadline) {
      for (const name of FOLLOWERS) {
        const { epochs, electionsNs } = await this.#noticed(name);
        const epoch = epochs.find(({ primary, why }) => why === 'failover' && primary === name);
        if (epoch !== undefined) return { name, epoch, electionNs: electionsNs[0] ?? epoch.atNs };
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new Error(`no other replica became the primary within ${TIMEOUT_MS} ms`);
  }
}

interface Elected {
  readonly name: ReplicaName;
  readonly epoch: EpochRead;
  readonly electionNs: bigint;
}

interface Seen {
  readonly by: string;
  readonly atNs: bigint;
}

/**
 * What passes on NATS, heard on a connection of its own. Never a subject that somebody is asked on:
 * whoever has ended would no longer be known to have.
 */
class Wire {
  readonly renewals: Seen[] = [];
  /** Of the lease, by somebody who has not had it. */
  readonly takes: Seen[] = [];
  readonly claims: Seen[] = [];
  #holder: string | undefined;

  private constructor(private readonly nats: NatsHandle) {}

  static async open(url: string): Promise<Wire> {
    const wire = new Wire(await connectNats({ servers: url, name: 'antiphon bench wire' }));
    const prefix = clusterPrefix(CLUSTER);
    wire.#on(`${prefix}.lease`, (data) => wire.#lease(data));
    wire.#on(`${prefix}.log._epoch`, (data) => {
      const record = decodeEpochRecord(data);
      if (record !== undefined) wire.claims.push(seen(record.primary));
    });
    await wire.nats.connection.flush();
    return wire;
  }

  close(): Promise<void> {
    return this.nats.close();
  }

  #lease(data: Uint8Array): void {
    const { holder } = decodeLeaseRecord(data) ?? {};
    if (holder === undefined) return;
    this.renewals.push(seen(holder));
    if (holder !== this.#holder) this.takes.push(seen(holder));
    this.#holder = holder;
  }

  #on(subject: string, heard: (data: Uint8Array) => void): void {
    const callback = (error: Error | null, { data }: { readonly data: Uint8Array }): void => {
      if (error === null) heard(data);
    };
    this.nats.connection.subscribe(subject, { callback });
  }
}

function seen(by: string): Seen {
  return { by, atNs: process.hrtime.bigint() };
}
