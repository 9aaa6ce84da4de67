import type { Bus, Lease, Log, Registry } from '@antiphon/core';
import { Random } from '../clock/random.js';
import { Faults } from '../faults/faults.js';
import { memoryBus } from '../memory/bus/memory-bus.js';
import { Link } from '../memory/link.js';
import { memoryLease } from '../memory/lease/memory-lease.js';
import { memoryLog } from '../memory/log/memory-log.js';
import { memoryRegistry } from '../memory/registry/memory-registry.js';
import type { LeaseHarness } from './lease-conformance.js';
import type { LogHarness } from './log-harness.js';

/** The in-memory adapters of one server, with the links of everybody who is connected. */
const STALL_MS = 300;

class MemoryServer {
  readonly #faults = new Faults(new Random(1));
  readonly log = memoryLog();
  readonly bus = memoryBus();
  readonly registry = memoryRegistry();
  readonly lease = memoryLease();
  readonly #links: Link[] = [];

  link(): Link {
    const link = new Link({ timeoutMs: 500, faults: this.#faults });
    this.#links.push(link);
    return link;
  }

  interrupt(): Promise<() => Promise<void>> {
    for (const link of this.#links) link.disconnect();
    return Promise.resolve(() => {
      for (const link of this.#links) link.reconnect();
      return Promise.resolve();
    });
  }

  /** Not until told, but long: what is sent meanwhile arrives that much later, in order. */
  stall(): Promise<() => Promise<void>> {
    this.#faults.set({ minLatencyMs: STALL_MS, maxLatencyMs: STALL_MS });
    return Promise.resolve(() => {
      this.#faults.set({ minLatencyMs: 0, maxLatencyMs: 0 });
      return Promise.resolve();
    });
  }

  dispose(): Promise<void> {
    for (const link of this.#links) link.close();
    return Promise.resolve();
  }
}

export class MemoryLogHarness implements LogHarness {
  readonly #server = new MemoryServer();

  connect(): Promise<Log> {
    return Promise.resolve(this.#server.log.connect(this.#server.link()));
  }

  interrupt(): Promise<() => Promise<void>> {
    return this.#server.interrupt();
  }

  stall(): Promise<() => Promise<void>> {
    return this.#server.stall();
  }

  async recreate(): Promise<void> {
    this.#server.log.recreate();
    return Promise.resolve();
  }

  trim(firstSeq: number): Promise<void> {
    this.#server.log.trim(firstSeq);
    return Promise.resolve();
  }

  async checkpoint(): Promise<() => Promise<void>> {
    const { lastSeq } = this.#server.log.stream;
    return async () => {
      const mend = await this.#server.interrupt();
      this.#server.log.loseTail(this.#server.log.stream.lastSeq - lastSeq);
      await mend();
    };
  }

  deleteDurable(name: string): Promise<void> {
    this.#server.log.deleteDurable(name);
    return Promise.resolve();
  }

  durableFloor(name: string): Promise<number | undefined> {
    return Promise.resolve(this.#server.log.durableFloor(name));
  }

  dispose(): Promise<void> {
    return this.#server.dispose();
  }
}

export class MemoryLeaseHarness implements LeaseHarness {
  readonly #server = new MemoryServer();

  connect(): Promise<Lease> {
    return Promise.resolve(this.#server.lease.connect(this.#server.link()));
  }

  interrupt(): Promise<() => Promise<void>> {
    return this.#server.interrupt();
  }

  stall(): Promise<() => Promise<void>> {
    return this.#server.stall();
  }

  publish(data: Uint8Array): Promise<void> {
    this.#server.lease.publish(data);
    return Promise.resolve();
  }

  purge(): Promise<void> {
    this.#server.lease.purge();
    return Promise.resolve();
  }

  remove(): Promise<void> {
    this.#server.lease.remove();
    return Promise.resolve();
  }

  dispose(): Promise<void> {
    return this.#server.dispose();
  }
}

interface Harness<T> {
  connect(): Promise<T>;
  interrupt(): Promise<() => Promise<void>>;
  dispose(): Promise<void>;
}

export function memoryBusHarness(): Promise<Harness<Bus>> {
  return harnessOf((server) => server.bus.connect(server.link()));
}

export function memoryRegistryHarness(): Promise<Harness<Registry>> {
  return harnessOf((server) => server.registry.connect(server.link()));
}

function harnessOf<T>(connect: (server: MemoryServer) => T): Promise<Harness<T>> {
  const server = new MemoryServer();
  return Promise.resolve({
    connect: () => Promise.resolve(connect(server)),
    interrupt: () => server.interrupt(),
    dispose: () => server.dispose(),
  });
}
