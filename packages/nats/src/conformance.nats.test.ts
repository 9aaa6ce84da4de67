import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bus, Lease, Log, Registry } from '@antiphon/core';
import {
  busConformance,
  leaseConformance,
  logConformance,
  registryConformance,
  type LeaseHarness,
  type LogHarness,
} from '@antiphon/testing/conformance';
import { afterAll } from 'vitest';
import { connectNats, streamName, type NatsHandle } from './index.js';
import { leaseStream, leaseSubject } from './subjects.js';
import { NatsServer } from '@antiphon/nats-server';

/** One server for the file; every test has a cluster of its own. */
class Server {
  static #shared: Promise<Server> | undefined;
  static #clusters = 0;

  private constructor(
    readonly nats: NatsServer,
    private readonly dir: string,
  ) {}

  static shared(): Promise<Server> {
    Server.#shared ??= Server.#start();
    return Server.#shared;
  }

  static async stop(): Promise<void> {
    const server = await Server.#shared;
    await server?.nats.stop();
    if (server !== undefined) rmSync(server.dir, { recursive: true, force: true });
  }

  static newCluster(): string {
    return `c${++Server.#clusters}`;
  }

  static async #start(): Promise<Server> {
    const dir = mkdtempSync(join(tmpdir(), 'antiphon-conformance-'));
    return new Server(await NatsServer.start({ storeDir: join(dir, 'store') }), dir);
  }
}

class NatsHarness {
  readonly #handles: NatsHandle[] = [];
  readonly cluster = Server.newCluster();

  protected constructor(protected readonly server: NatsServer) {}

  static async start(): Promise<NatsHarness> {
    return new NatsHarness((await Server.shared()).nats);
  }

  /** The server is killed, and started again on the same port and store. */
  async interrupt(whileDown: () => void = () => undefined): Promise<() => Promise<void>> {
    await this.server.kill();
    whileDown();
    // Clients notice on their own; what they do before they have is not what is asked about here.
    for (const handle of this.#handles) await untilStatus(handle, 'disconnected');
    return async () => {
      await this.server.restart();
      for (const handle of this.#handles) await untilStatus(handle, 'connected');
    };
  }

  async stall(): Promise<() => Promise<void>> {
    await this.server.pause();
    return () => Promise.resolve(this.server.resume());
  }

  async jetstream(operation: string, body?: object): Promise<Record<string, unknown>> {
    const { connection } = await this.handle();
    const data = new TextEncoder().encode(body === undefined ? '' : JSON.stringify(body));
    return (await connection.request(`$JS.API.${operation}`, data, { timeout: 5000 })).json();
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.close()));
  }

  async handle(): Promise<NatsHandle> {
    const handle = await connectNats({ servers: this.server.url });
    this.#handles.push(handle);
    return handle;
  }
}

class JetStreamHarness extends NatsHarness implements LogHarness {
  static override async start(): Promise<JetStreamHarness> {
    return new JetStreamHarness((await Server.shared()).nats);
  }

  async connect(): Promise<Log> {
    return (await this.handle()).log(this.cluster, { checkIntervalMs: 200, appendTimeoutMs: 2000 });
  }

  async recreate(): Promise<void> {
    await this.jetstream(`STREAM.DELETE.${streamName(this.cluster)}`);
    const other = await this.connect();
    await other.open({ create: true });
  }

  async trim(firstSeq: number): Promise<void> {
    await this.jetstream(`STREAM.PURGE.${streamName(this.cluster)}`, { seq: firstSeq });
  }

  /** The server is killed, and comes back on the store that it had. */
  async checkpoint(): Promise<() => Promise<void>> {
    const { storeDir } = this.server;
    const copy = `${storeDir}-${this.cluster}`;
    await (
      await this.interrupt(() => cpSync(storeDir, copy, { recursive: true }))
    )();
    return async () => {
      const putBack = (): void => {
        rmSync(storeDir, { recursive: true, force: true });
        cpSync(copy, storeDir, { recursive: true });
      };
      await (
        await this.interrupt(putBack)
      )();
    };
  }

  async deleteDurable(name: string): Promise<void> {
    await this.jetstream(`CONSUMER.DELETE.${streamName(this.cluster)}.${name}`);
  }

  async durableFloor(name: string): Promise<number | undefined> {
    const info = await this.jetstream(`CONSUMER.INFO.${streamName(this.cluster)}.${name}`);
    return (info['ack_floor'] as { stream_seq: number } | undefined)?.stream_seq;
  }
}

class JetStreamLeaseHarness extends NatsHarness implements LeaseHarness {
  static override async start(): Promise<JetStreamLeaseHarness> {
    return new JetStreamLeaseHarness((await Server.shared()).nats);
  }

  async connect(): Promise<Lease> {
    return (await this.handle()).lease(this.cluster);
  }

  async publish(data: Uint8Array): Promise<void> {
    const { connection } = await this.handle();
    await connection.request(leaseSubject(this.cluster), data, { timeout: 5000 });
  }

  async purge(): Promise<void> {
    await this.jetstream(`STREAM.PURGE.${leaseStream(this.cluster)}`);
  }

  async remove(): Promise<void> {
    await this.jetstream(`STREAM.DELETE.${leaseStream(this.cluster)}`);
  }
}

interface Harness<T> {
  connect(): Promise<T>;
  interrupt(): Promise<() => Promise<void>>;
  dispose(): Promise<void>;
}

async function harnessOf<T>(connect: (handle: NatsHandle, cluster: string) => T): Promise<Harness<T>> {
  const harness = await NatsHarness.start();
  return {
    connect: async () => connect(await harness.handle(), harness.cluster),
    interrupt: () => harness.interrupt(),
    dispose: () => harness.dispose(),
  };
}

async function untilStatus(handle: NatsHandle, status: NatsHandle['status']): Promise<void> {
  if (handle.status === status) return;
  await new Promise<void>((resolve) => {
    const stop = handle.onStatus((now) => {
      if (now !== status) return;
      stop();
      resolve();
    });
  });
}

afterAll(() => Server.stop());

logConformance('jetstream', () => JetStreamHarness.start());
busConformance('nats', () => harnessOf<Bus>((handle) => handle.bus()));
registryConformance('nats', () => harnessOf<Registry>((handle, cluster) => handle.registry(cluster)));
leaseConformance('nats', () => JetStreamLeaseHarness.start());
