import {
  AntiphonError,
  checkOptions,
  systemClock,
  type Clock,
  type OptionNames,
  type Registry,
  type RegistryEntry,
} from '@antiphon/core';
import { Faults } from '../../faults/faults.js';
import { Link } from '../link.js';

/** How a registry in memory behaves. */
export interface MemoryRegistryOptions {
  /**
   * Time and timers.
   * @defaultValue the real clock
   */
  readonly clock?: Clock;
  /**
   * What goes wrong.
   * @defaultValue nothing
   */
  readonly faults?: Faults;
}

const REGISTRY_OPTIONS: OptionNames<MemoryRegistryOptions> = { clock: true, faults: true };
const KEY = /^[A-Za-z0-9_.-]+$/;
/** As many as a bucket of Antiphon's keeps. */
const HISTORY = 5;

/**
 * Shared facts in memory, with compare-and-set: the in-memory adapter of a JetStream key-value
 * bucket.
 */
export class MemoryRegistry {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly #entries = new Map<string, RegistryEntry>();
  readonly #kept = new Map<string, readonly RegistryEntry[]>();
  #revision = 0;

  constructor(options: MemoryRegistryOptions = {}) {
    checkOptions(options, REGISTRY_OPTIONS, 'memoryRegistry()');
    this.clock = options.clock ?? systemClock();
    this.faults = options.faults ?? Faults.none();
  }

  connect(link: Link = new Link({ clock: this.clock, faults: this.faults })): Registry {
    return new MemoryRegistryConnection(this, link);
  }

  get(key: string): RegistryEntry | undefined {
    return this.#entries.get(key);
  }

  /** Newest first. */
  revisions(key: string): readonly RegistryEntry[] {
    return this.#kept.get(key) ?? [];
  }

  /** undefined when the newest revision is not the expected one; 0 expects that there is none. */
  put(key: string, value: Uint8Array, expectedRevision: number): RegistryEntry | undefined {
    if ((this.#entries.get(key)?.revision ?? 0) !== expectedRevision) return undefined;
    const entry: RegistryEntry = { key, value: value.slice(), revision: ++this.#revision };
    this.#entries.set(key, entry);
    this.#kept.set(key, [entry, ...this.revisions(key)].slice(0, HISTORY));
    return entry;
  }

  list(prefix: string): readonly RegistryEntry[] {
    const entries = [...this.#entries.values()].filter(({ key }) => key.startsWith(prefix));
    return entries.sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}

class MemoryRegistryConnection implements Registry {
  constructor(
    private readonly registry: MemoryRegistry,
    private readonly link: Link,
  ) {}

  async open(): Promise<void> {
    await this.link.call('open the registry', () => undefined);
  }

  async get(key: string): Promise<RegistryEntry | undefined> {
    assertKey(key);
    return this.link.call(`read ${key}`, () => this.registry.get(key));
  }

  async revisions(key: string): Promise<readonly RegistryEntry[]> {
    assertKey(key);
    return this.link.call(`read what is kept of ${key}`, () => this.registry.revisions(key));
  }

  async create(key: string, value: Uint8Array): Promise<RegistryEntry | undefined> {
    return this.#put(key, value, 0);
  }

  async update(key: string, value: Uint8Array, revision: number): Promise<RegistryEntry | undefined> {
    return this.#put(key, value, revision);
  }

  async list(prefix: string): Promise<readonly RegistryEntry[]> {
    return this.link.call(`list ${prefix}`, () => this.registry.list(prefix));
  }

  async close(): Promise<void> {
    this.link.close();
  }

  async #put(key: string, value: Uint8Array, revision: number): Promise<RegistryEntry | undefined> {
    assertKey(key);
    const copy = value.slice();
    return this.link.call(`write ${key}`, () => this.registry.put(key, copy, revision));
  }
}

function assertKey(key: string): void {
  if (KEY.test(key)) return;
  throw new AntiphonError(
    'BAD_OPTION',
    `${JSON.stringify(key)} is not a registry key. Use letters, digits, "_", "." and "-".`,
  );
}

/** A registry in memory; `connect()` gives each process its own connection. */
export function memoryRegistry(options?: MemoryRegistryOptions): MemoryRegistry {
  return new MemoryRegistry(options);
}
