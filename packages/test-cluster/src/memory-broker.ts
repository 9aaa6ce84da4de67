import { Link, memoryBus, memoryLease, memoryLog, memoryRegistry } from '@antiphon/testing';
import type { Broker, BrokerConnection } from './broker.js';

/** Log, bus, registry and lease in memory: no process, no files, no setup. */
export class MemoryBroker implements Broker {
  readonly kind = 'memory';
  readonly url = undefined;
  readonly #log = memoryLog();
  readonly #bus = memoryBus();
  readonly #registry = memoryRegistry();
  readonly #lease = memoryLease();
  readonly #links = new Set<Link>();
  #running = true;

  connect(): Promise<BrokerConnection> {
    const link = new Link();
    if (!this.#running) link.disconnect();
    this.#links.add(link);
    return Promise.resolve({
      log: this.#log.connect(link),
      bus: this.#bus.connect(link),
      registry: this.#registry.connect(link),
      lease: this.#lease.connect(link),
      close: () => {
        this.#links.delete(link);
        link.close();
        return Promise.resolve();
      },
    });
  }

  stop(): Promise<void> {
    this.#running = false;
    for (const link of this.#links) link.disconnect();
    return Promise.resolve();
  }

  start(): Promise<void> {
    this.#running = true;
    for (const link of this.#links) link.reconnect();
    return Promise.resolve();
  }

  close(): Promise<void> {
    for (const link of this.#links) link.close();
    this.#links.clear();
    return Promise.resolve();
  }
}
