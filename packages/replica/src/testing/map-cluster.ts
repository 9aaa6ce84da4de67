import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Log, type Registry, systemClock } from '@antiphon/core';
import { connectNats, type NatsHandle } from '@antiphon/nats';
import { NatsServer } from '@antiphon/nats-server';
import type { ReplicaOptions } from '../config/options.js';
import type { Replica } from '../replica/replica.js';
import { startReplica } from '../start/start.js';
import { MapStore, type MapTransaction } from './map-store.js';

export type MapReplica = Replica<MapTransaction>;

type StartOptions = Partial<ReplicaOptions<MapTransaction>> & {
  readonly wrapLog?: (log: Log) => Log;
  readonly wrapRegistry?: (registry: Registry) => Registry;
};

/** Replicas of stores in memory on a real nats-server; every test has a cluster of its own. */
export class MapCluster implements AsyncDisposable {
  static #clusters = 0;
  readonly name = `test-${++MapCluster.#clusters}`;
  readonly #replicas: MapReplica[] = [];
  readonly #handles: NatsHandle[] = [];

  private constructor(
    readonly server: NatsServer,
    private readonly dir: string,
  ) {}

  static async start(): Promise<MapCluster> {
    const dir = mkdtempSync(join(tmpdir(), 'antiphon-map-'));
    return new MapCluster(await NatsServer.start({ storeDir: join(dir, 'nats') }), dir);
  }

  /** A store that can found the cluster, with these rows. */
  founder(rows: Readonly<Record<string, string>> = {}): MapStore {
    const store = new MapStore();
    store.founded = true;
    for (const [key, value] of Object.entries(rows)) store.rows.set(key, value);
    return store;
  }

  async connect(): Promise<NatsHandle> {
    const nats = await connectNats({ servers: this.server.url });
    this.#handles.push(nats);
    return nats;
  }

  async replica(id: string, store: MapStore, over: StartOptions = {}): Promise<MapReplica> {
    const nats = await this.connect();
    const { wrapLog = (log: Log) => log, wrapRegistry = (registry: Registry) => registry, ...rest } = over;
    const ports = {
      log: wrapLog(nats.log(this.name)),
      bus: nats.bus(),
      registry: wrapRegistry(nats.registry(this.name)),
      clock: systemClock(),
    };
    const replica = await startReplica({
      ...{ cluster: this.name, id, store, ...ports, topology: 'multi-primary' },
      ...rest,
    });
    this.#replicas.push(replica);
    return replica;
  }

  async closeReplica(id: string): Promise<void> {
    await Promise.all(
      this.#replicas.filter((replica) => replica.id === id).map((replica) => replica.close()),
    );
  }

  async ports() {
    const nats = await this.connect();
    return {
      cluster: this.name,
      log: nats.log(this.name),
      bus: nats.bus(),
      registry: nats.registry(this.name),
      clock: systemClock(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#replicas.map((replica) => replica.close()));
    await Promise.all(this.#handles.map((nats) => nats.close()));
    await this.server.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
